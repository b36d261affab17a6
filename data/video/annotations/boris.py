"""Labels as BORIS writes them: tabular and aggregated events, and its project files.

Friard and Gamba 2016, https://doi.org/10.1111/2041-210X.12584. Times are seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ....errors import DataError, quoted, some
from .segments import Annotation, LabelSegment
from .tables import Rows, time_of

_BEFORE = 200  # rows above the header at most: what the observation says of itself


class Event(NamedTuple):
    """What BORIS notes: a behaviour starts, stops, or happens in a moment.

    Attributes:
        time: In seconds.
        subject: Whose behaviour; may be empty.
        name: The behaviour.
        kind: START, STOP, POINT, or nothing: whichever it has to be.
        line: Where the file says so.
    """

    time: float
    subject: str
    name: str
    kind: str
    line: int


def header_of(rows: Rows) -> int | None:
    """Return where the header of a table of BORIS is; None for another table.

    Args:
        rows: The table's rows.
    """
    for place, (_, row) in enumerate(rows[:_BEFORE]):
        names = {name.lower() for name in row}
        if "behavior" in names and (
            "start (s)" in names or ("time" in names and names & {"status", "behavior type"})
        ):
            return place
    return None


def read_boris(path: Path, rows: Rows, header: int) -> list[Annotation]:
    """Return what a table of events says, tabular or aggregated.

    Args:
        path: The file.
        rows: Its rows.
        header: Which of them names the columns.

    Raises:
        DataError: A row is wrong, or a behaviour that starts doesn't stop.
    """
    names = [name.lower() for name in rows[header][1]]
    places = {name: place for place, name in reversed([*enumerate(names)])}

    def value(row: list[str], *columns: str) -> str:
        for column in columns:
            if column in places and places[column] < len(row) and row[places[column]]:
                return row[places[column]]
        return ""

    aggregated = "start (s)" in places
    events: dict[str, list[Event]] = defaultdict(list)
    segments: dict[str, list[LabelSegment]] = defaultdict(list)
    points: dict[str, list[str]] = defaultdict(list)
    for line, row in rows[header + 1 :]:
        video = value(row, "media file name", "media file", "media file path", "observation id")
        label = value(row, "behavior")
        subject = value(row, "subject")
        subject = "" if subject.lower() == "no focal subject" else subject
        try:
            if not aggregated:
                kind = value(row, "status", "behavior type").upper()
                at = time_of(value(row, "time"))
                events[video].append(Event(at, subject, label, kind, line))
                continue
            start = time_of(value(row, "start (s)"))
            end = time_of(value(row, "stop (s)") or value(row, "start (s)"))
        except ValueError:
            raise DataError(
                f"'{path}', line {line}: expected a time in seconds, got "
                f"{quoted(','.join(row), 80)}."
            ) from None
        if end < start:
            raise DataError(f"'{path}', line {line}: {quoted(label)} stops before it starts.")
        if start == end:
            points[video].append(label)
        else:
            segments[video].append(LabelSegment(start, end, label, line, subject))
    for video, found in events.items():
        segments[video], points[video] = paired(path, found)
    form = f"BORIS, {'aggregated' if aggregated else 'tabular'} events"
    return _annotations(path, form, segments, points)


def _annotations(
    path: Path, form: str, segments: dict[str, list[LabelSegment]], points: dict[str, list[str]]
) -> list[Annotation]:
    if not any(segments.values()):
        moments = some(sorted({name for names in points.values() for name in names}))
        raise DataError(
            f"'{path}' holds no behaviour that lasts, from a start to a stop; moments: "
            f"{moments or 'none'}."
        )
    return [
        Annotation(path, form, "seconds", sorted(its), video=video, points=tuple(points[video]))
        for video, its in segments.items()
    ]


def paired(path: Path, events: Iterable[Event]) -> tuple[list[LabelSegment], list[str]]:
    """Return the segments between starts and stops, and the names of moments.

    Args:
        path: The file.
        events: What it notes of one video.

    Raises:
        DataError: A behaviour stops that has not started, or starts and never stops.
    """
    running: dict[tuple[str, str], Event] = {}
    segments, points = [], []
    # a stop before a start at the same time
    for event in sorted(events, key=lambda event: (event.time, event.kind != "STOP")):
        key = (event.subject, event.name)
        if event.kind == "POINT":
            points.append(event.name)
        elif event.kind == "STOP" or (not event.kind and key in running):
            if key not in running:
                raise DataError(
                    f"'{path}', line {event.line}: {quoted(event.name)} stops at {event.time} s "
                    "and had not started."
                )
            begun = running.pop(key)
            if event.time > begun.time:
                segments.append(
                    LabelSegment(begun.time, event.time, event.name, begun.line, event.subject)
                )
        elif key in running:
            raise DataError(
                f"'{path}', line {event.line}: {quoted(event.name)} starts at {event.time} s and "
                f"had started at {running[key].time} s."
            )
        elif event.kind in ("", "START"):
            running[key] = event
        else:
            raise DataError(
                f"'{path}', line {event.line}: expected START, STOP or POINT, got "
                f"{quoted(event.kind)}."
            )
    if running:
        event = next(iter(running.values()))
        raise DataError(
            f"'{path}', line {event.line}: {quoted(event.name)} starts at {event.time} s and never "
            "stops.\nClose it in BORIS (Observations > Close open behaviors), or add its stop."
        )
    return segments, points


def read_project(path: Path, project: Any) -> list[Annotation]:
    """Return what a project file (.boris) says of each of its observations.

    Args:
        path: The file.
        project: Its JSON.

    Raises:
        DataError: It is no such project, or has no events.
    """
    try:
        states = {
            str(behaviour["code"]): "state" in str(behaviour["type"]).lower()
            for behaviour in project["behaviors_conf"].values()
        }
        segments: dict[str, list[LabelSegment]] = {}
        points: dict[str, list[str]] = {}
        for number, (name, observation) in enumerate(project["observations"].items()):
            events = [
                Event(
                    float(event[0]),
                    str(event[1]),
                    str(event[2]),
                    "" if states.get(str(event[2]), True) else "POINT",
                    0,
                )
                for event in observation["events"]
            ]
            files = [str(file) for file in (observation.get("file") or {}).get("1") or []]
            if len(files) > 1:
                raise DataError(
                    f"'{path}': the observation {quoted(name)} has {len(files)} videos one after "
                    "the other; make one of each."
                )
            key = files[0] if files else str(name)
            if key in segments:
                key = str(name) if str(name) not in segments else f"{name}#{number}"
            segments[key], points[key] = paired(path, events)
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise DataError(f"'{path}' is no project of BORIS: {quoted(repr(error), 100)}.") from error
    return _annotations(path, "BORIS, a project", segments, points)
