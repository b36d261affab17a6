"""What something yields, kept in a file: it is read once, and then as often as a file is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError, quoted
from ..cache import cached, workplace


def kept_rows(rows: Iterable[Mapping[str, str]], folder: Path) -> Path:
    """Write rows as JSON lines into the cache, under a name that says what they are.

    Args:
        rows: The rows.
        folder: The cache.

    Returns:
        The file; rows that are the same are in the same file.
    """
    digest = hashlib.sha256()
    with workplace(folder, "rows") as place:
        written = place / "rows"
        with written.open("wb") as file:
            for row in rows:
                line = json.dumps(dict(row)).encode() + b"\n"
                digest.update(line)
                file.write(line)
        name = f"rows-{digest.hexdigest()[:32]}.jsonl"
        return cached(folder / name, lambda made: written.replace(made))


def text_rows(
    texts: Iterable[Any], tokenizer: Callable[[str], Sequence[str]] | None
) -> Iterator[dict[str, str]]:
    """Yield the rows of texts, or of pairs of a label and a text.

    Args:
        texts: What somebody's iterable yields.
        tokenizer: Splits a text into the words that are put together with blanks; None: it stays.

    Raises:
        DataError: An item is neither.
    """
    for number, item in enumerate(texts):
        text = item[-1] if isinstance(item, tuple | list) and item else item
        if not isinstance(text, str):
            raise DataError(
                f"Item {number} of the texts is {quoted(item)}; it has to be a text, or a label "
                "and a text."
            )
        yield {"text": text if tokenizer is None else " ".join(tokenizer(text))}
