"""One reader for every table: what its columns are is found out, and said.

A table is a text file: lines of columns. Its first line names them, or it has no header and a task
knows its columns by what is in them. A header whose names don't fit is an error, never data.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import DataError, UsageError, did_you_mean, quoted, some
from ..tables import MAX_LINE, lines
from .dialects import SAMPLE, SEPARATORS, Dialect, dialects
from .packed import kind_of, read_blocks

# What Anki writes above its tables of notes.
_ANKI = re.compile(
    r"#(separator|html|tags|columns|notetype|deck|guid|if matches)( column)?:", re.IGNORECASE
)

Matcher = Callable[[str, str], bool]
Guess = Callable[[list[list[str]]], Mapping[str, int] | None]


class Field(NamedTuple):
    """What a task looks for in a table.

    Attributes:
        name: What it is called in messages and in `--data.columns`.
        names: What columns that hold it are called, the commonest first.
        required: Whether there has to be such a column.
    """

    name: str
    names: tuple[str, ...]
    required: bool = True


def chosen_columns(text: str | None, fields: Sequence[Field]) -> dict[str, str]:
    """Return which column the user says each field is in, by its name or its number from 1.

    Args:
        text: `field=column,field=column`; None for nothing.
        fields: The fields there are.

    Raises:
        UsageError: It is no such text, or names another field.
    """
    known = [field.name for field in fields]
    found: dict[str, str] = {}
    for part in (text or "").split(",") if text else []:
        name, equals, column = (one.strip() for one in part.partition("="))
        if not equals or not column or name not in known:
            example = ",".join(f"{one}={number}" for number, one in enumerate(known[:2], 1))
            raise UsageError(
                f"--data.columns '{text}': expected {example}, the names being {some(known)} and "
                "the columns' names or numbers from 1 following."
            )
        found[name] = column
    return found


def same_name(cell: str, name: str) -> bool:
    """Say whether a column's name is a known one: capitals, blanks and hyphens don't count.

    Args:
        cell: What the header says.
        name: The known name.
    """
    return normal(cell) == normal(name)


def normal(name: str) -> str:
    """Return a column's name as it is compared: in small letters, with `_` for blanks and hyphens.

    Args:
        name: What the header says.
    """
    return re.sub(r"[\s_-]+", "_", name.strip().strip("\"'").casefold())


class Table:
    """A table whose columns are known.

    Args:
        path: The file; compressed ones are read as they are.
        fields: What is looked for.
        label: What messages call it.
        columns: What the user says of the columns: names, or numbers from 1.
        guess: Says in which columns the fields are, from 0, where there is no header; None of rows
            that it can't tell.
        matches: Says whether a column's name is a known one.
        longest: Bytes of a column at most.
        strict: Whether a quote that stands wrong is an error.
        joined: A field that, in the last column, may hold separators of its own without quotes.

    Attributes:
        header: The columns' names; None where the first row is data.
        places: In which column each field is, from 0.
        told: What was understood, as a sentence without its end.

    Raises:
        DataError: It is no table, or which column is what can't be told.
    """

    def __init__(
        self,
        path: Path,
        fields: Sequence[Field],
        *,
        label: str,
        columns: Mapping[str, str] | None = None,
        guess: Guess | None = None,
        matches: Matcher = same_name,
        longest: int = MAX_LINE,
        strict: bool = False,
        joined: str | None = None,
    ) -> None:
        self.path, self.label, self.fields = path, label, list(fields)
        self._longest, self._strict, self._joined = longest, strict, joined
        self._matches = matches
        self.comments: list[str] = []
        columns = columns or {}
        sample = list(itertools.islice(self._lines(), SAMPLE))
        if not any(map(str.strip, sample)):
            raise DataError(f"{label} is empty.")
        self.header: list[str] | None = None
        self.dialect, self.places = self._understood(sample, columns, guess)
        first = next(iter(self._sampled(self.dialect, sample)), [])
        self._width = len(self.header if self.header is not None else _trimmed(first))
        self.told = self._told()
        if self.comments:
            count, first_line = len(self.comments), quoted(self.comments[0])
            self.told += f"; {count:,} line(s) above the table, as '{first_line}', are left out"

    def _lines(self) -> Iterator[str]:
        found = lines(read_blocks(self.path, self.label), self.label)
        above = list(itertools.takewhile(lambda line: line.startswith("#"), head := _Head(found)))
        begin = [line for line in above if not _ANKI.match(line)]
        if head.last is not None and all(_is_comment(line, head.last) for line in begin):
            self.comments, begin = begin, []
        yield from (*begin, *([] if head.last is None else [head.last]))
        yield from found

    def _understood(
        self, sample: list[str], columns: Mapping[str, str], guess: Guess | None
    ) -> tuple[Dialect, dict[str, int]]:
        """Return how rows are split and where each field is; notes the header."""
        ways = dialects(sample, kind_of(self.path))
        tables = []
        for way in ways:
            try:
                rows = self._sampled(way, sample)
            except DataError:
                continue
            if rows and max(map(len, rows)) > 1:
                tables.append((way, rows))
        for way, rows in tables:
            if (places := self._by_header(rows, columns)) is not None:
                self.header = _trimmed(rows[0])
                return way, places
        if not tables:
            # whoever reads it says what is wrong with its rows
            way = ways[0] if ways else Dialect(",", True)
            tables = [(way, self._sampled(way, sample))]
        way, rows = tables[0]
        numbers = {name: int(column) - 1 for name, column in columns.items() if column.isdecimal()}
        required = [field.name for field in self.fields if field.required]
        if set(required) <= numbers.keys() and not columns.keys() - numbers.keys():
            self._check_numbers(numbers, max(map(len, rows), default=0))
            return way, numbers
        # the first way whose rows a task takes for data
        for other, found in tables:
            if guess and rows and not columns and (guessed := guess(found)) is not None:
                return other, dict(guessed)
        raise DataError(self._unknown(rows[0] if rows else [], columns))

    def _sampled(self, way: Dialect, sample: list[str]) -> list[list[str]]:
        # no longer than allowed: an open quote takes in what follows
        rows = way.rows(sample, self.label, longest=self._longest)
        return [row for _, raw in rows if any(row := [cell.strip() for cell in raw])]

    def _by_header(
        self, rows: list[list[str]], columns: Mapping[str, str]
    ) -> dict[str, int] | None:
        """Return where each field is if the first row is the header, else None."""
        row = rows[0]
        places: dict[str, int] = {}
        for field in self.fields:
            if (column := columns.get(field.name)) is not None and not column.isdecimal():
                numbers = [n for n, cell in enumerate(row) if same_name(cell, column)]
            elif column is not None:
                numbers = [int(column) - 1] if int(column) <= len(row) else []
            else:
                numbers = next(filter(None, (self._cells(row, name) for name in field.names)), [])
            if len(numbers) > 1:
                called = some(row[number] for number in numbers)
                raise DataError(
                    f"{self.label} has {len(numbers)} columns that may be the {field.name}: "
                    f"{called}. Choose with --data.columns {field.name}=NUMBER (from 1)."
                )
            if numbers:
                places[field.name] = numbers[0]
            elif field.required:
                return None
        # numbers alone say nothing about what the first row is
        named = any(
            not columns.get(field.name, "").isdecimal()
            or any(self._cells([row[places[field.name]]], name) for name in field.names)
            for field in self.fields
            if field.name in places
        )
        # a tag that comes in every row, as a language's code, is no name of its column
        tags = len(rows) > 1 and any(
            all(len(other) > place and other[place] == row[place] for other in rows[1:4])
            for place in places.values()
        )
        return places if named and not tags else None

    def _cells(self, row: list[str], name: str) -> list[int]:
        exact = [n for n, cell in enumerate(row) if same_name(cell, name)]
        return exact or [n for n, cell in enumerate(row) if self._matches(cell, name)]

    def _check_numbers(self, numbers: Mapping[str, int], width: int) -> None:
        for name, number in numbers.items():
            if not 0 <= number < width:
                raise DataError(
                    f"{self.label} has {width} columns, and --data.columns says that the {name} is "
                    f"in column {number + 1}."
                )

    def _unknown(self, row: list[str], columns: Mapping[str, str]) -> str:
        header = some(_trimmed(row)) or "nothing"
        for name, column in columns.items():
            if not column.isdecimal() and not any(same_name(cell, column) for cell in row):
                return (
                    f"{self.label}, line 1 has no column '{column}' for the {name}, only {header}."
                    f"{did_you_mean(column, row)}"
                )
        expected = ",".join(field.name for field in self.fields if field.required)
        known = "; ".join(
            f"{field.name} may be called {', '.join(field.names)}"
            for field in self.fields
            if field.required and len(field.names) > 1
        )
        example = ",".join(
            f"{field.name}={number}"
            for number, field in enumerate((f for f in self.fields if f.required), 1)
        )
        return (
            f"{self.label}, line 1: expected the names of the columns, '{expected}', found "
            f"'{quoted(','.join(_trimmed(row)))}'{f' ({known})' if known else ''}.\n"
            f"Say which column is which: --data.columns {example} (numbers from 1, or names)."
        )

    def _told(self) -> str:
        if self.header is None:
            between = f"{SEPARATORS[self.dialect.separator]} between columns, no header"
            named = [f"{name} is column {place + 1}" for name, place in self._in_order()]
            return f"{self.label}: {between}; {', '.join(named)}"
        named = [
            f"{name} is column {place + 1} '{quoted(self.header[place])}'"
            for name, place in self._in_order()
        ]
        others = [cell for n, cell in enumerate(self.header) if n not in self.places.values()]
        left = f"; left alone: {some(others)}" if any(others) else ""
        between = f"{SEPARATORS[self.dialect.separator]} between columns, a header"
        return f"{self.label}: {between}; {', '.join(named)}{left}"

    def _in_order(self) -> list[tuple[str, int]]:
        return sorted(self.places.items(), key=lambda item: item[1])

    def rows(self) -> Iterator[tuple[int, list[str | None] | None]]:
        """Yield each row's number of lines so far, and its fields in their order.

        A field without a column is None; so is a row without anything.

        Raises:
            DataError: A row has too few columns, or more than can be told apart.
        """
        rows = self.dialect.rows(
            self._lines(), self.label, longest=self._longest, strict=self._strict
        )
        places = [self.places.get(field.name) for field in self.fields]
        header = self.header is not None
        for line, row in rows:
            if not any(map(str.strip, row)):
                yield line, None
                continue
            if header:
                header = False
                continue
            row = self._fitted(row, line)
            yield line, [None if place is None else row[place].strip() for place in places]

    def _fitted(self, row: list[str], line: int) -> list[str]:
        """Return a row with as many columns as the table has."""
        if any(map(str.strip, row[self._width :])):
            last, separator = self._width - 1, self.dialect.separator
            if self.places.get(self._joined or "") == last:
                # a comma in a caption without quotes
                return [*row[:last], separator.join(row[last:])]
            if separator != "\t":
                raise DataError(self._columns(row, line))
        if len(row) <= max(self.places.values()):
            raise DataError(self._columns(row, line))
        return row

    @property
    def _expected(self) -> int:
        return max(self._width, max(self.places.values()) + 1)

    def _columns(self, row: list[str], line: int) -> str:
        return (
            f"{self.label}, line {line}: expected {self._expected} columns, found {len(row)}, with "
            f"{SEPARATORS[self.dialect.separator]} between them; a column with such a sign in it "
            "needs quotes."
        )


class _Head(Iterator[str]):
    """Lines, the last of which is remembered."""

    def __init__(self, found: Iterator[str]) -> None:
        self._found = found
        self.last: str | None = None

    def __next__(self) -> str:
        self.last = None
        self.last = next(self._found)
        return self.last


def _is_comment(line: str, below: str) -> bool:
    """Say whether a line above a table is none of its rows: it has fewer of what parts columns."""
    parting = [mark for mark in "\t|;," if mark in below]
    return bool(parting) and all(line.count(mark) < below.count(mark) for mark in parting)


def _trimmed(row: list[str]) -> list[str]:
    """Return a row without empty columns at its end."""
    row = list(row)
    while row and not row[-1]:
        row.pop()
    return row
