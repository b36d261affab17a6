"""The tables in which labels come: their rows, and what their columns are for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ....errors import DataError, UsageError, quoted, some
from ...tables import csv_rows, read_lines
from .strangers import refuse_stranger

Rows = list[tuple[int, list[str]]]
_DELIMITERS = "\t,;|"
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?(?:e-?\d+)?", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)")

_WORDS = {
    "start": {"start", "begin", "onset", "from", "beginning", "started", "begins"},
    "end": {"end", "stop", "offset", "to", "until", "finish", "ending", "ended", "ends"},
    "duration": {"duration", "length", "dur"},
    "label": {
        *("label", "labels", "class", "behavior", "behaviour", "behaviors", "behaviours"),
        *("action", "activity", "annotation", "state", "code", "phase", "gesture", "verb", "text"),
        *("event", "trialtype"),  # BIDS: onset, duration, trial_type
    },
    "frame": {"frame", "frames", "framenumber"},
    "video": {"video", "file", "filename", "media", "clip", "videoname", "videofile", "path"},
    "tier": {"tier", "subject", "animal", "participant", "individual", "person", "track"},
}
_UNITS = {
    "seconds": {"s", "sec", "secs", "second", "seconds", "time"},
    "milliseconds": {"ms", "msec", "millisecond", "milliseconds"},
    "frames": {"frame", "frames", "f", "index", "idx"},
}
# As JIGSAWS (`30 120 G1`) and Breakfast (`1-30 SIL`) have segments.
_BLANKS = (
    re.compile(r"\s*(\d+(?:\.\d+)?) +(\d+(?:\.\d+)?) +([^\s\d][^\t,;|]*?)\s*"),
    re.compile(r"\s*(\d+)-(\d+)[ \t]+([^\s\d][^\t,;|]*?)\s*"),
)


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        place: Its number, from 0.
        name: What the table calls it.
        unit: `seconds`, `milliseconds` or `frames`, where its name says so.
    """

    place: int
    name: str
    unit: str


def read_rows(path: Path) -> Rows:
    """Return the rows of a table that are not empty, each with its line.

    The delimiter is the one of tab, comma, semicolon and | that the first lines have most of;
    lines that begin with # are comments.

    Args:
        path: The file.

    Raises:
        DataError: It can't be read, or is no such table.
    """
    lines = read_lines(path, missing=f"There is no file of labels '{path}'.")
    if not any(map(str.strip, lines)):
        raise DataError(f"'{path}' is empty: it holds no labels.")
    refuse_stranger(path, lines)
    lines = _separated(lines)
    head = "\n".join(line for line in lines[:50] if not line.startswith("#"))
    delimiter = max(_DELIMITERS, key=lambda mark: (_outside_quotes(head, mark), mark == ","))
    # what VIA says of its columns is a comment; a line of it must stay one for the numbers
    kept = ["" if line.startswith("#") else line for line in lines]
    rows = csv_rows(
        kept, f"'{path}'", skipinitialspace=delimiter != "\t", strict=True, delimiter=delimiter
    )
    return [
        (line, [value.strip() for value in row])
        for line, row in rows
        if any(value.strip() for value in row)
    ]


def _separated(lines: list[str]) -> list[str]:
    """Put tabs between times and labels that blanks part, and leave out Audacity's frequencies."""
    lines = ["" if line.startswith("\\\t") else line for line in lines]
    for form in _BLANKS:
        found = [form.fullmatch(line) for line in lines]
        if any(found) and all(
            one or not line.strip() for one, line in zip(found, lines, strict=True)
        ):
            return ["\t".join(one.groups()) if one else "" for one in found]
    return lines


def _outside_quotes(text: str, mark: str) -> int:
    return sum(part.count(mark) for part in text.split('"')[::2])


def chosen_columns(text: str | None) -> dict[str, str] | None:
    """Return which column the user says is for what, by its name or its number from 1.

    Args:
        text: `start=NAME,label=NAME`; None for nothing.

    Raises:
        UsageError: It is no such text.
    """
    if not text:
        return None
    found = {}
    for part in text.split(","):
        role, equals, column = (one.strip() for one in part.partition("="))
        if not equals or not column or role not in _WORDS:
            raise UsageError(
                f"--data.columns '{text}': expected start=NAME,end=NAME,label=NAME, of "
                f"{', '.join(_WORDS)}, got '{part}'."
            )
        found[role] = column
    return found


def columns_of(header: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, Column]:
    """Find out what the columns of a table are for, by their names.

    Args:
        header: The names.
        given: Names by what they are for (`start`, `end`, `label`, ...), which go before.

    Returns:
        Columns by what they are for.

    Raises:
        DataError: A column that was given is not there.
    """
    found: dict[str, Column] = {}
    lower = [name.strip().lower() for name in header]
    for role, name in (given or {}).items():
        place = int(name) - 1 if name.isdecimal() and len(name) < 4 else -1
        if 0 <= place < len(header):
            found[role] = Column(place, header[place], _unit(header[place]))
            continue
        if name.strip().lower() not in lower:
            raise DataError(
                f"There is no column '{name}' for {role} (--data.columns); there are "
                f"{some(header)}."
            )
        place = lower.index(name.strip().lower())
        found[role] = Column(place, header[place], _unit(header[place]))
    for role, words in _WORDS.items():
        if role in found:
            continue
        places = [place for place, name in enumerate(header) if _role(name) == role]
        exact = [place for place in places if lower[place] in words]
        if places:
            place = (exact or places)[0]
            if (count := lower.count(lower[place])) > 1:
                raise DataError(
                    f"{count} columns are called '{quoted(header[place])}'. Choose with "
                    f"--data.columns {role}=NUMBER (from 1)."
                )
            found[role] = Column(place, header[place], _unit(header[place]))
    return found


def _role(name: str) -> str:
    words = _split(name)
    for role in ("start", "end", "duration", "label", "video", "tier", "frame"):
        if words & _WORDS[role]:
            return role
    return ""


def _split(name: str) -> set[str]:
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    words = re.findall(r"[a-z]+", parted.lower())
    return {*words, "".join(words)}


def _unit(name: str) -> str:
    words = _split(name)
    return next(
        (unit for unit in ("milliseconds", "frames", "seconds") if words & _UNITS[unit]), ""
    )


def is_time(value: str) -> bool:
    """Say whether a value is a number, or hours, minutes and seconds.

    Args:
        value: The value.
    """
    return bool(_NUMBER.fullmatch(value) or _CLOCK.fullmatch(value))


def time_of(value: str, unit: str = "") -> float:
    """Return a number, or the seconds of a clock as `1:02:03.5`.

    Args:
        value: The value.
        unit: `milliseconds` are made seconds.

    Raises:
        ValueError: It is neither.
    """
    if clock := _CLOCK.fullmatch(value):
        hours, minutes, seconds = (
            float((part or "0").replace(",", ".")) for part in clock.groups()
        )
        return 3600 * hours + 60 * minutes + seconds
    if not _NUMBER.fullmatch(value):
        raise ValueError(value)
    number = float(value.replace(",", "."))
    return number / 1000 if unit == "milliseconds" else number
