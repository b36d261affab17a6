"""Tables of labels: a row for each segment, for each frame, or a column for each class."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from ....errors import DataError, quoted, some
from .segments import Annotation, LabelSegment, Unit
from .tables import Column, Rows, columns_of, is_time, time_of

_ONE_HOT = {"0": 0, "1": 1, "-1": -1, "0.0": 0, "1.0": 1, "-1.0": -1, "false": 0, "true": 1}
_EXPECTED = "expected a first line frame,label or start,end,label"


def read_plain(
    path: Path,
    rows: Rows,
    *,
    columns: Mapping[str, str] | None = None,
    unit: Literal["auto", "frames", "seconds"] = "auto",
    ends: Literal["auto", "excluded", "included"] = "auto",
) -> list[Annotation]:
    """Return what a table of segments, of frames, or of a column a class says.

    Args:
        path: The file.
        rows: Its rows.
        columns: Names of columns by what they are for.
        unit: Of start and end; `auto`: what the header or the numbers say.
        ends: Whether a segment's last frame belongs to it; `auto`: is to be found out.

    Returns:
        One for each video that the table names, one where it names none.

    Raises:
        DataError: It is no such table, or a row is wrong.
    """
    header = rows[0][1] if rows else []
    if header and not any(value for value in header):
        header = []
    known = _headerless(header) if not columns else None
    body = rows[1:] if known is None else rows
    if known is None:
        known = columns_of(header, columns)
    if "label" in known and "start" in known and ("end" in known or "duration" in known):
        return _segments(path, body, known, unit, ends)
    if "label" in known and "frame" in known:
        return _frames(path, body, known)
    if "label" in known and "video" in known and "start" not in known:
        return [
            Annotation(
                path,
                "a row a video",
                "frames",
                [LabelSegment(0, math.inf, _values(row, known, "label")[0], line)],
                video=_values(row, known, "video")[0],
            )
            for line, row in body
        ]
    if not columns and len(header) > 1 and body and _is_one_hot(header, body):
        return [_one_hot(path, header, body)]
    raise DataError(
        f"'{path}' has the columns {some(header) or 'of nothing'}; {_EXPECTED}, a column of 0 and "
        "1 for each class, or what BORIS, ELAN or VIA write.\nSay which column is which: "
        "--data.columns start=NAME,end=NAME,label=NAME."
    )


def _headerless(row: list[str]) -> dict[str, Column] | None:
    """Return the columns of a table whose first row is one of values; None for a header."""
    if len(row) >= 3 and is_time(row[0]) and is_time(row[1]) and not is_time(row[2]):
        return {role: Column(n, role, "") for n, role in enumerate(("start", "end", "label"))}
    if len(row) == 2 and row[0].isdecimal() and row[1] and not is_time(row[1]):
        return {role: Column(n, role, "") for n, role in enumerate(("frame", "label"))}
    return None


def _values(row: list[str], known: Mapping[str, Column], *roles: str) -> list[str]:
    return [row[known[role].place] if known[role].place < len(row) else "" for role in roles]


def _by_video(rows: Rows, known: Mapping[str, Column]) -> dict[str, Rows]:
    found: dict[str, Rows] = defaultdict(list)
    for line, row in rows:
        found[_values(row, known, "video")[0] if "video" in known else ""].append((line, row))
    return dict(found) or {"": []}


def _segments(
    path: Path,
    rows: Rows,
    known: Mapping[str, Column],
    unit: Literal["auto", "frames", "seconds"],
    ends: Literal["auto", "excluded", "included"],
) -> list[Annotation]:
    last = "end" if "end" in known else "duration"
    said = known["start"].unit or known[last].unit
    read = [(line, row, _values(row, known, "start", last, "label")) for line, row in rows]
    timed: Unit
    if unit != "auto":
        timed = unit
    elif said:
        timed = "frames" if said == "frames" else "seconds"
    else:  # frames are whole numbers
        timed = "seconds" if any(_fraction(v) for _, _, vs in read for v in vs[:2]) else "frames"
    milliseconds = "milliseconds" if said == "milliseconds" and unit == "auto" else ""

    def of(some_rows: Rows) -> Iterator[LabelSegment]:
        for line, row in some_rows:
            values = _values(row, known, "start", last, "label")
            try:
                start, end = (time_of(value, milliseconds) for value in values[:2])
                if timed == "frames" and not (start.is_integer() and end.is_integer()):
                    raise ValueError
            except ValueError:
                raise DataError(
                    f"'{path}', line {line}: expected start,{last},label, got "
                    f"{quoted(','.join(values))}."
                ) from None
            end += start if last == "duration" else 0
            single = timed == "frames" and ends != "excluded" and last == "end"
            if start < 0 or end < start or (end == start and not single):
                what, rule = "time", "s); times begin at 0."
                if timed == "frames":
                    what, rule = "frame", "not included); frames begin at 0."
                raise DataError(
                    f"'{path}', line {line}: no {what} lies in {quoted(values[0])} to "
                    f"{quoted(values[1])} ({rule}"
                )
            tier = _values(row, known, "tier")[0] if "tier" in known else ""
            yield LabelSegment(start, end, values[2], line, tier)

    found = []
    for video, its_rows in _by_video(rows, known).items():
        segments = sorted(of(its_rows))
        if not segments:
            raise DataError(f"'{path}' holds no labels.")
        open_ends: Literal["excluded", "included", "unsaid"] = "excluded"
        if timed == "frames" and last == "end":
            open_ends = "unsaid" if ends == "auto" else ends
        form = f"segments in {timed}"
        found.append(Annotation(path, form, timed, segments, ends=open_ends, video=video))
    return found


def _fraction(value: str) -> bool:
    try:
        return ":" in value or not time_of(value).is_integer()
    except ValueError:
        return False


def _frames(path: Path, rows: Rows, known: Mapping[str, Column]) -> list[Annotation]:
    found = []
    for video, its_rows in _by_video(rows, known).items():
        segments = []
        for line, row in its_rows:
            frame, label = _values(row, known, "frame", "label")
            try:
                start = time_of(frame)
                if ":" in frame or not start.is_integer():
                    raise ValueError
            except ValueError:
                raise DataError(
                    f"'{path}', line {line}: expected frame,label, got "
                    f"{quoted(f'{frame},{label}')}."
                ) from None
            if start < 0:
                raise DataError(f"'{path}', line {line}: frames begin at 0, got {frame}.")
            tier = _values(row, known, "tier")[0] if "tier" in known else ""
            segments.append(LabelSegment(start, start + 1, label, line, tier))
        if not segments:
            raise DataError(f"'{path}' holds no labels.")
        segments.sort()
        there = {int(segment.start) for segment in segments}
        last = int(segments[-1].start)
        counted = "a row a frame"
        if 0 not in there and len(there) == last:
            counted = "a row a frame, counted from 1"
            segments = [one._replace(start=one.start - 1, end=one.end - 1) for one in segments]
        elif len(there) <= last:
            missing = next(frame for frame in range(last + 1) if frame not in there)
            raise DataError(
                f"'{path}' has no row for frame {missing}; a row for every frame is expected, "
                "from 0."
            )
        found.append(Annotation(path, counted, "frames", segments, True, video=video))
    return found


def _is_one_hot(header: list[str], rows: Rows) -> bool:
    """Say whether the columns after the first, or all of them, hold 0, 1 and -1 only."""
    return all(
        value.lower() in _ONE_HOT for _, row in rows for value in row[_first(header) : len(header)]
    ) and all(len(row) == len(header) for _, row in rows)


def _first(header: list[str]) -> int:
    """Return the number of the first class's column: those before count frames and seconds."""
    if header[0].lower() not in ("", "frame", "frames", "index", "unnamed: 0"):
        return 0
    return 2 if len(header) > 2 and header[1].lower() == "time" else 1


def _one_hot(path: Path, header: list[str], rows: Rows) -> Annotation:
    """Read DeepEthogram's table: a row a frame, a column a class; -1 where nobody has looked."""
    first = _first(header)
    if first:
        from_one = bool(rows) and rows[0][1][0] in ("1", "1.0")
        for number, (line, row) in enumerate(rows, int(from_one)):
            if row[0] not in (str(number), f"{number}.0"):
                raise DataError(
                    f"'{path}', line {line}: expected the row of frame {number}, got "
                    f"{quoted(row[0])}; a row for every frame is expected, from 0."
                )
    segments = []
    for column, name in enumerate(header[first:], first):
        begin = None
        for number, (_, row) in enumerate([*rows, (0, ["0"] * len(header))]):
            there = _ONE_HOT[row[column].lower()] == 1
            if there and begin is None:
                begin = number
            elif not there and begin is not None:
                segments.append(LabelSegment(begin, number, name, rows[begin][0]))
                begin = None
    for number, (line, row) in enumerate(rows):
        if any(_ONE_HOT[value.lower()] == -1 for value in row[first:]):
            segments.append(LabelSegment(number, number + 1, "", line))
    # a video without any label has as many frames all the same
    end = max((segment.end for segment in segments), default=0)
    if end < len(rows):
        segments.append(LabelSegment(len(rows), len(rows), "", rows[-1][0]))
    names = tuple(header[first:])
    return Annotation(path, "a column a class", "frames", sorted(segments), True, classes=names)
