"""Rows that name their columns: JSON, JSON lines, Parquet and Arrow files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError, some
from ..tables import MAX_FILE, json_rows, json_value, lines
from .hub import COLUMNAR, JSON_LINES, batches, load_dataset
from .packed import kind_of, read_blocks

OBJECTS = (*JSON_LINES, ".json", *COLUMNAR)
"""How the names of files end that `objects` reads."""


def objects(path: Path, label: str) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a file, each with the words by which a message finds it.

    Args:
        path: The file; compressed text is read as it is.
        label: What messages call it.

    Raises:
        DataError: It is damaged, or holds no rows.
    """
    kind = kind_of(path)
    if kind in JSON_LINES:
        found = json_rows(lines(read_blocks(path, label), label), label)
        yield from ((f"{label}, line {number}", row) for number, line, row in found if line.strip())
    elif kind == ".json":
        rows = _rows_of(whole_json(path, label), label)
        yield from ((f"{label}, row {number}", row) for number, row in enumerate(rows, 1))
    else:
        yield from _columnar(path, kind, label)


def whole_json(path: Path, label: str) -> Any:
    """Return what a JSON file says, compressed or not.

    Args:
        path: The file.
        label: What messages call it.

    Raises:
        DataError: It can't be read, is too large, or no JSON.
    """
    pieces, size = [], 0
    for block in read_blocks(path, label):
        pieces.append(block)
        if (size := size + len(block)) > MAX_FILE:
            raise DataError(f"{label} has more than {MAX_FILE:,} bytes, which are not read.")
    return json_value(b"".join(pieces).removeprefix(b"\xef\xbb\xbf"), label)


def _rows_of(content: Any, label: str) -> list[Any]:
    """Return the rows of a JSON file: its list, or the only list of objects in its object."""
    if isinstance(content, list):
        return content
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        if len(lists) == 1 and all(isinstance(row, dict) for row in lists[0]):
            return lists[0]
        columns = list(content.values())
        if lists and len(lists) == len(columns) and len({len(one) for one in lists}) == 1:
            return [dict(zip(content, row, strict=True)) for row in zip(*lists, strict=True)]
    holds = f"the keys {some(content)}" if isinstance(content, dict) else type(content).__name__
    raise DataError(f"{label} holds {holds}; expected is a list of objects, one a row.")


def _columnar(path: Path, kind: str, label: str) -> Iterator[tuple[str, Any]]:
    rows = load_dataset(str(path), None, "train", label=label)
    number = 0
    for batch in batches(rows, label):
        names = list(batch)
        for values in zip(*batch.values(), strict=True):
            yield f"{label}, row {number}", dict(zip(names, values, strict=True))
            number += 1
