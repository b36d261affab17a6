"""What something yields, kept in a file: it is read once, and then as often as a file is."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..cache import cached


def kept_rows(rows: Iterable[Mapping[str, str]], folder: Path) -> Path:
    """Write rows as JSON lines into the cache, under a name that says what they are.

    Args:
        rows: The rows.
        folder: The cache.

    Returns:
        The file; rows that are the same are in the same file.
    """
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as place:
        written = Path(place, "rows")
        with written.open("wb") as file:
            for row in rows:
                line = json.dumps(dict(row)).encode() + b"\n"
                digest.update(line)
                file.write(line)
        name = f"rows-{digest.hexdigest()[:32]}.jsonl"
        return cached(folder / name, lambda made: written.replace(made))
