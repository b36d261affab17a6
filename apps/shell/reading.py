"""Records that commands read: what `--format` and `--out` write, and what others write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...data.formats.table import normal
from ...data.tables import MAX_FILE, check_size, csv_rows, json_rows, json_value, read_lines
from ...errors import DataError, quoted, some
from .records import Format, format_of

_SIGNS = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a table or of JSON, whichever the file's name says.

    Args:
        path: A file of the form .tsv, .csv (a first line names the columns), .json (a list) or
            .jsonl.

    Raises:
        DataError: It can't be read, or holds no records.
    """
    format = format_of(path)
    if format is None:
        raise DataError(f"'{path}' is no table: expected .tsv, .csv, .json or .jsonl.")
    records = list(_records(path, format))
    if not records:
        raise DataError(f"'{path}' holds no records.")
    return records


def read_json(path: Path, largest: int = MAX_FILE) -> Any:
    """Return what a file of JSON says.

    Args:
        path: The file.
        largest: Bytes that it may have.

    Raises:
        DataError: It can't be read, or is no JSON.
    """
    try:
        check_size(path, largest)
        return json_value(path.read_bytes(), f"'{path}'")
    except OSError as error:
        raise DataError(f"'{path}' can't be read: {error.strerror or error}.") from error


def column(records: Sequence[dict[str, Any]], names: Sequence[str], path: Path, what: str) -> str:
    """Return which of several columns records have; the first counts.

    Args:
        records: The records.
        names: The columns' possible names, in lower case.
        path: Where the records are from.
        what: What the column says, for the message.

    Raises:
        DataError: They have none of them.
    """
    there = {normal(name): name for name in records[0]}
    for name in map(normal, names):
        if name in there:
            return there[name]
    raise DataError(
        f"'{path}' has no column with {what}: it has {some(records[0]) or 'none'}; expected one of "
        f"{', '.join(names)}."
    )


def text_of(record: dict[str, Any], name: str, path: Path) -> str | None:
    """Return a record's text; None where it has none, as of what has failed.

    Args:
        record: The record.
        name: The column.
        path: Where the record is from.

    Raises:
        DataError: There is something else than text.
    """
    value = record.get(name)
    if value is None or (record.get("error") and not value):
        return None
    if not isinstance(value, str):
        raise DataError(f"'{path}': expected text as {name}, found {quoted(value)}.")
    return value


def _records(path: Path, format: Format) -> Iterator[dict[str, Any]]:
    if format == "json":
        content = read_json(path)
        if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
            raise DataError(f"'{path}' holds no list of records, [{{...}}, ...].")
        yield from content
    elif format == "jsonl":
        for number, line, value in json_rows(read_lines(path), f"'{path}'"):
            if not line.strip():
                continue
            if not isinstance(value, dict):
                raise DataError(f"'{path}', line {number} is no record, {{...}}.")
            yield value
    else:
        yield from _rows(path, format)


def _rows(path: Path, format: Format) -> Iterator[dict[str, Any]]:
    lines = [line.removesuffix("\r") for line in read_lines(path)]
    rows: Iterator[tuple[int, list[str]]]
    if format == "csv":
        first = lines[0] if lines else ""
        # what the suffix says, unless the first line has none of it: spreadsheets write others too
        separator = next((sign for sign in (",", ";", "\t", "|") if sign in first), ",")
        rows = csv_rows(lines, f"'{path}'", delimiter=separator)
    else:
        split = ([_undone(field) for field in line.split("\t")] if line else [] for line in lines)
        rows = iter(enumerate(split, 1))
    _, head = next(rows, (1, []))
    head = [name.strip() for name in head]
    for number, row in rows:
        if not row:
            continue
        if len(row) != len(head):
            raise DataError(
                f"'{path}', line {number}: {len(row)} fields, and the first line names {len(head)} "
                "columns."
            )
        yield dict(zip(head, row, strict=True))


def _undone(field: str) -> str:
    """Return a field of TSV without the signs for what would end it."""
    if "\\" not in field:
        return field
    parts = iter(field)
    text = ""
    for sign in parts:
        after = next(parts, "") if sign == "\\" else ""
        text += _SIGNS.get(after, sign + after) if sign == "\\" else sign
    return text
