"""Text files line by line, and the tables in them: CSV and JSON lines."""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, quoted
from .formats.packed import read_blocks

MAX_LINE = 1 << 26
"""Bytes of a line, or a field of a table, at most; a file without line ends is no table."""

MAX_FILE = 1 << 31
"""Bytes at most of a file that is read as a whole."""

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_MARK = 4  # bytes of the longest


def lines(blocks: Iterable[bytes], label: str) -> Iterator[str]:
    """Yield the lines of a text of any size, without their ends.

    Args:
        blocks: The text, in pieces of any size.
        label: What messages call it.

    Raises:
        DataError: It can't be read, a line has more than `MAX_LINE` bytes, or is not UTF-8; line
            and byte are named.
    """
    for line in lines_or_errors(blocks, label):
        if isinstance(line, DataError):
            raise line
        yield line


def whole_text(blocks: Iterable[bytes], label: str) -> str:
    """Return a text whose lines end with line feeds, in whichever encoding it says.

    Args:
        blocks: The text, in pieces of any size.
        label: What messages call it.

    Raises:
        DataError: As `lines`.
    """
    text = b"".join(_in_utf8(blocks, label))
    return "\n".join(lines([text], label)) + "\n" * text.endswith(b"\n")


def lines_or_errors(blocks: Iterable[bytes], label: str) -> Iterator[str | DataError]:
    """Yield the lines of a text of any size, and an error in the place of each that is none.

    Args:
        blocks: The text, in pieces of any size.
        label: What messages call it.

    Raises:
        DataError: It can't be read.
    """
    # a line whose end has not come, in pieces: joining them at every block would be quadratic
    blocks = _in_utf8(blocks, label)
    begun: list[bytes] = []
    number = waiting = 0
    passing = False  # over the rest of a line that is too long
    for block in itertools.chain(blocks, [None]):
        if block is not None:
            if passing:
                _, end, block = block.partition(b"\n")
                if not end:
                    continue
                passing = False
            begun.append(block)
            waiting += len(block)
            if b"\n" not in block:
                if waiting > MAX_LINE:
                    number += 1
                    yield DataError(
                        f"{label}, line {number} has more than {MAX_LINE:,} bytes, which is "
                        "more than is read of a line."
                    )
                    begun, waiting, passing = [], 0, True
                continue
        *whole, rest = b"".join(begun).split(b"\n")
        begun, waiting = [rest], len(rest)
        for line in [*whole, rest] if block is None and rest else whole:
            number += 1
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = f"byte 0x{line[error.start]:02x} at its position {error.start + 1}"
                likely = "utf-16" if b"\0" in line else "latin1"
                wrong = DataError(
                    f"{label}, line {number} is not UTF-8: {byte} ({error.reason}).\n"
                    f"Convert the file, with iconv -t utf-8 -f {likely} (or whichever encoding it "
                    "has)."
                )
                wrong.__cause__ = error
                yield wrong
                continue
            yield (text.removeprefix("\ufeff") if number == 1 else text).removesuffix("\r")


def _in_utf8(blocks: Iterable[bytes], label: str) -> Iterator[bytes]:
    """Yield a text as UTF-8 whose byte-order mark says that it is UTF-16 or UTF-32."""
    encoding, blocks = by_mark(blocks)
    if encoding is None:
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DataError(f"{label} is damaged: it begins as {encoding}, and is not.") from error


def by_mark(blocks: Iterable[bytes]) -> tuple[str | None, Iterator[bytes]]:
    """Return the encoding that a text's byte-order mark names, and the text from its beginning.

    Args:
        blocks: The text, in pieces of any size.

    Returns:
        `utf-16` or `utf-32`, None of UTF-8 and where there is no mark; the same bytes, in pieces.
    """
    rest = iter(blocks)
    first = next(rest, b"")
    while len(first) < _MARK and (more := next(rest, b"")):
        first += more
    return _marked(first), itertools.chain([first], rest)


def _marked(begin: bytes) -> str | None:
    """Return the encoding that a byte-order mark names, None of UTF-8 and where there is none."""
    for mark, encoding in _MARKS.items():  # UTF-16's is the beginning of UTF-32's
        if begin.startswith(mark):
            return encoding
    return None


def read_lines(path: Path, *, missing: str | None = None) -> list[str]:
    """Return the lines of a file that fits in memory, without their ends, of whatever system.

    Args:
        path: The file; compressed ones are read as they are.
        missing: What to say where there is no such file.

    Raises:
        DataError: It can't be read, or is not UTF-8.
    """
    try:
        check_size(path)
        content = b"".join(read_blocks(path, f"'{path}'"))
        text = content.decode(_marked(content) or "utf-8-sig")
        # not splitlines: it knows ends inside of captions
        return re.sub("\r\n?", "\n", text).removesuffix("\n").split("\n")
    except FileNotFoundError as error:
        raise DataError(missing or f"'{path}' does not exist.") from error
    except UnicodeDecodeError as error:
        likely = "utf-16" if b"\0" in content[:100] else "latin1"
        raise DataError(
            f"'{path}' is not UTF-8: {error.reason} at byte {error.start}.\nConvert the file, with "
            f"iconv -t utf-8 -f {likely} (or whichever encoding it has)."
        ) from error
    except OSError as error:
        raise DataError(f"'{path}' can't be read: {error.strerror or error}.") from error


def check_size(path: Path, largest: int = MAX_FILE) -> None:
    """Refuse a file that is too large to be read as a whole.

    Args:
        path: The file.
        largest: Bytes that it may have.

    Raises:
        DataError: It has more.
        OSError: There is none.
    """
    if (size := path.stat().st_size) > largest:
        raise DataError(f"'{path}' has {size:,} bytes; more than {largest:,} are not read.")


def csv_rows(
    lines: Iterable[str], label: str, *, longest: int = MAX_LINE, **dialect: Any
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file, each with the number of the line it ends in.

    Args:
        lines: Its lines, without their ends. A quoted field may have several.
        label: What messages call it.
        longest: Bytes of a field at most: a quote that is not closed takes in what follows, and is
            found by that.
        dialect: More of what `csv.reader` takes.

    Raises:
        DataError: A row is no CSV; its line is named.
    """
    # Set each time, for it is the whole process's.
    csv.field_size_limit(longest)
    read: list[str] = []  # the lines of a row

    def noted() -> Iterator[str]:
        for line in lines:
            read.append(f"{line}\n")
            yield read[-1]

    rows = csv.reader(noted(), **dialect)
    try:
        for row in rows:
            if len(read) > 1:  # a quote took in what follows: it has to end where a column does
                next(csv.reader(read, **{**dialect, "strict": True}))
            read.clear()
            yield rows.line_num, row
    except csv.Error as error:
        raise DataError(
            f"{label}, line {rows.line_num}: expected a row of CSV ({error}); is a quote before it "
            "not closed?"
        ) from error


def json_rows(lines: Iterable[str], label: str) -> Iterator[tuple[int, str, Any]]:
    """Yield what the lines of a JSON lines file hold: number, line and value, None of an empty one.

    Args:
        lines: Its lines.
        label: What messages call it.

    Raises:
        DataError: A line is no JSON.
    """
    for number, line in enumerate(lines, 1):
        yield number, line, json_value(line, f"{label}, line {number}") if line.strip() else None


def json_value(text: str | bytes, label: str) -> Any:
    """Return what a text of JSON says.

    Args:
        text: The text.
        label: What messages call it.

    Raises:
        DataError: It is no JSON, or holds what no reader takes: a number of thousands of digits, a
            nest of thousands of lists.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DataError(f"{label} is no JSON: it is nested too deeply.") from error
    except ValueError as error:  # no narrower one: of digits, of bytes that are no UTF-8
        raise DataError(f"{label} is no JSON: {quoted(str(error), 200)}.") from error
