r"""Where a command's results go: lines for people, or a record for each input in a file's format.

TSV has one line a record: a tab, line end or backslash in a value is written as `\t`, `\n`, `\r`
or `\\`. In TSV and CSV what is missing is empty, and lists are JSON.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO, TypeAlias

from ...errors import DataError, UsageError, one_line, printable
from ..run.folder.disk import writing

Format: TypeAlias = Literal["tsv", "json", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("tsv", "json", "jsonl", "csv")
_NAMED = 10  # failures that are told of one by one
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


class Output:
    """What a command writes: records where a format is asked for, else lines.

    Standard output or a file; a file is opened by `with`, so that one that is there survives what
    goes wrong before. A list of JSON is closed also where the command breaks off.

    Args:
        columns: The names of a record's fields, in their order; `error` is the last of them.
        format: The format; None: as the file's name says, else lines.
        out: The file; None or `-`: standard output.
        inputs: Files that must not be overwritten: what is read, the checkpoints too.
        flag: What the user names the file with.
        errors: Whether what has failed has a record, which says why.

    Attributes:
        lines: Whether lines are written, not records.
        failures: How many inputs have failed.

    Raises:
        UsageError: The file can't be written there.
    """

    def __init__(
        self,
        columns: Sequence[str],
        format: Format | None = None,
        out: str | None = None,
        inputs: Iterable[str | os.PathLike[str]] = (),
        flag: str = "--out",
        errors: bool = True,
    ) -> None:
        self._columns = (*columns, "error") if errors else tuple(columns)
        self._errors = errors
        self._place = None if out in (None, "-") else Path(str(out))
        self._format = format or (format_of(self._place) if self._place else None)
        self.lines = self._format is None
        self.failures = 0
        self._written = 0
        self._file: TextIO = sys.stdout
        if self._place:
            _check(self._place, inputs, flag)

    def __enter__(self) -> Self:
        if self._place:
            with writing(self._place):
                self._file = self._place.open(
                    "w", encoding="utf-8", errors="backslashreplace", newline=""
                )
        if self._format in ("tsv", "csv"):
            self.text(f"{row(self._columns, self._format)}\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._format == "json" and not isinstance(error, BrokenPipeError):
                self.text("\n]\n" if self._written else "[]\n")
        finally:
            if self._place:
                with writing(self._place):
                    self._file.close()
                self._file = sys.stdout

    def put(self, record: Mapping[str, Any], line: Sequence[object] | None = None) -> None:
        """Write what there is to say of an input.

        Args:
            record: Its fields; those that are left out are null.
            line: What a line says, with tabs in between; None: there is none.
        """
        if self._format is None:
            if line is not None:
                self.text("\t".join(map(self._shown, line)) + "\n")
            return
        said = self._shown(encoded(record, self._columns, self._format))
        if self._format == "json":
            self.text(f",\n{said}" if self._written else f"[\n{said}")
        else:
            self.text(f"{said}\n")
        self._written += 1

    def failed(
        self, record: Mapping[str, Any], error: Exception, line: Sequence[object] | None = None
    ) -> None:
        """Say on standard error what went wrong with an input, and keep its place in the results.

        Only the first of many are told of there; their number is told by `finish`.

        Args:
            record: What is known of it.
            error: What went wrong.
            line: As for `put`.
        """
        self.failures += 1
        if self.failures <= _NAMED:
            print(f"unrolled: {printable(str(error))}", file=sys.stderr, flush=True)
        if self._errors:
            self.put({**record, "error": str(error)}, line)

    def text(self, text: str | bytes) -> None:
        """Write text as it is, or bytes as they are.

        Args:
            text: The text, with its line ends.
        """
        if self._place is None:
            self._add(text)
            return
        with writing(self._place):
            self._add(text)

    def flush(self) -> None:
        """Let everybody see what was written so far."""
        if self._place is None:
            self._file.flush()
            return
        with writing(self._place):
            self._file.flush()

    def finish(self, total: int, noun: str, done: str) -> None:
        """Say how many inputs have failed, when all others are done.

        Args:
            total: How many there were.
            noun: What they are, in the plural.
            done: What could not be done with them, as a participle.

        Raises:
            DataError: Some have failed.
        """
        if self.failures:
            others = f"; the others are {done}" if self.failures < total else ""
            more = ""
            if self.failures > _NAMED and self.lines:
                more = f"\nThe first {_NAMED} are named above; --format tsv has the error of each."
            raise DataError(
                f"{self.failures:,} of {total:,} {noun} could not be {done}{others}.{more}"
            )

    def _add(self, text: str | bytes) -> None:
        if isinstance(text, str):
            self._file.write(text)
            return
        self._file.flush()  # what was written as text comes before
        self._file.buffer.write(text)

    def _shown(self, value: object) -> str:
        return str(value) if self._place else one_line(value)


def format_of(path: Path) -> Format | None:
    """Return the format that a file's name says; None: none of them.

    Args:
        path: The file.
    """
    suffix = path.suffix.lower().removeprefix(".")
    return next((format for format in FORMATS if format == suffix), None)


def _check(place: Path, inputs: Iterable[str | os.PathLike[str]], flag: str) -> None:
    if place.is_dir():
        raise UsageError(f"{flag} '{place}' is a folder: name a file.")
    if not place.parent.is_dir():
        raise UsageError(f"{flag} '{place}': there is no folder '{place.parent}'.")
    for path in inputs:
        if place.exists() and os.path.exists(path) and place.samefile(path):
            raise UsageError(f"{flag} '{place}' would overwrite what is read: name another file.")


def encoded(record: Mapping[str, Any], columns: Sequence[str], format: Format) -> str:
    """Return a record as a row of a table, or as JSON, without a line end.

    Args:
        record: Its fields; those that are left out are null.
        columns: The names of the fields, in their order.
        format: The format.
    """
    if unknown := record.keys() - set(columns):
        raise KeyError(f"{sorted(unknown)} are no columns")
    values = {name: _plain(record.get(name)) for name in columns}
    if format in ("json", "jsonl"):
        return json.dumps(values, ensure_ascii=False)
    return row(values.values(), format)


def row(values: Iterable[Any], format: Format) -> str:
    """Return a row of a table, without a line end.

    Args:
        values: What its fields say.
        format: `tsv` or `csv`.
    """
    texts = [_field(value) for value in values]
    if format == "tsv":
        return "\t".join(text.translate(_ESCAPED) for text in texts)
    line = io.StringIO()
    # whatever is in the line end is quoted in fields, too
    csv.writer(line, lineterminator="\r\n").writerow(texts)
    return line.getvalue().removesuffix("\r\n")


def table(records: Iterable[Mapping[str, Any]], columns: Sequence[str], format: Format) -> str:
    """Return records as the whole text of a file.

    Args:
        records: The records.
        columns: The names of the fields, in their order.
        format: The format.
    """
    rows = [encoded(record, columns, format) for record in records]
    if format == "json":
        return "[\n" + ",\n".join(rows) + "\n]\n" if rows else "[]\n"
    head = [row(columns, format)] if format in ("tsv", "csv") else []
    return "".join(f"{line}\n" for line in [*head, *rows])


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: it knows neither NaN nor infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, os.PathLike) else value
