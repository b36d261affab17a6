"""Labels of frames in CSV files: a row for each frame, or a row for each segment.

`frame,label`: a row for every frame of the video, frame 0 to the last, in any order.
`start,end,label`: a row for every segment, from frame `start` up to but not including frame `end`;
segments don't overlap, and a frame in none of them has no label.

A frame's number is how many frames the decoder gives before it, from 0. An empty label is none.
Other columns are left alone, so what `unrolled label` writes can be read.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import DataError, did_you_mean, quoted, some
from ..tables import csv_rows, read_lines
from .dataset import IGNORED

_LAYOUTS = (("start", "end", "label"), ("frame", "label"))


class Segment(NamedTuple):
    """Frames with one label.

    Attributes:
        start: The first frame.
        end: The frame after the last.
        label: The name of the class; empty for none.
        line: Where the file says so.
    """

    start: int
    end: int
    label: str
    line: int


class FrameLabels(NamedTuple):
    """The content of a file.

    Attributes:
        path: The file.
        segments: In the order of their first frames; they don't overlap.
        every_frame: Whether there is a row for each frame, so that the last one says how long the
            video is.
    """

    path: Path
    segments: list[Segment]
    every_frame: bool

    def names(self) -> set[str]:
        """Return the names of the classes that occur."""
        return {segment.label for segment in self.segments} - {""}

    def numbers(self, classes: Mapping[str, int], frames: int) -> npt.NDArray[np.int64]:
        """Return the class of every frame (frames,), -100 where it has none.

        Args:
            classes: Numbers by name.
            frames: How many frames the video has.

        Raises:
            DataError: The labels are of fewer or more frames, or name an unknown class.
        """
        end = self.segments[-1].end
        if end > frames or (self.every_frame and end < frames):
            few = "many" if end > frames else "few"
            raise DataError(
                f"'{self.path}' labels {end} frames, too {few}: the video has {frames}."
            )
        numbers = np.full(frames, IGNORED, dtype=np.int64)
        for segment in self.segments:
            if segment.label:
                if segment.label not in classes:
                    near = did_you_mean(segment.label, classes)
                    raise DataError(
                        f"'{self.path}', line {segment.line}: there is no class "
                        f"'{quoted(segment.label)}'.{near}"
                    )
                numbers[segment.start : segment.end] = classes[segment.label]
        return numbers


def read_frame_labels(path: Path) -> FrameLabels:
    """Return what a file of labels says.

    Args:
        path: The file.

    Raises:
        DataError: The file is missing, is no such CSV, or its rows contradict each other; the line
            is named.
    """
    lines = read_lines(path, missing=f"There is no file of labels '{path}'.")
    rows = csv_rows(lines, f"'{path}'", skipinitialspace=True, strict=True)
    header = [name.strip().lower() for name in next(rows, (1, []))[1]]
    columns = next((layout for layout in _LAYOUTS if set(layout) <= set(header)), None)
    if columns is None:
        raise DataError(
            f"'{path}' has the columns {some(header) or 'of nothing'}; expected a first line "
            "frame,label or start,end,label."
        )
    places = [header.index(column) for column in columns]
    segments = sorted(_segments(path, rows, columns, places))
    if not segments:
        raise DataError(f"'{path}' holds no labels.")
    every_frame = columns == ("frame", "label")
    end = 0
    for segment in segments:
        if segment.start < end:
            raise DataError(
                f"'{path}', line {segment.line}: frame {segment.start} has a label already."
            )
        if every_frame and segment.start > end:
            raise DataError(
                f"'{path}' has no row for frame {end}; a row for every frame is expected, from 0."
            )
        end = segment.end
    return FrameLabels(path, segments, every_frame)


def _segments(
    path: Path,
    rows: Iterator[tuple[int, list[str]]],
    columns: tuple[str, ...],
    places: list[int],
) -> Iterator[Segment]:
    for line, row in rows:
        if not row:
            continue
        values = [row[place].strip() if place < len(row) else "" for place in places]
        try:
            start = int(values[0])
            end = start + 1 if len(columns) == 2 else int(values[1])
        except ValueError:
            raise DataError(
                f"'{path}', line {line}: expected {','.join(columns)}, got "
                f"{quoted(','.join(values))}."
            ) from None
        if start < 0 or end <= start:
            raise DataError(
                f"'{path}', line {line}: no frame lies in {start} to {end} (not included); frames "
                "begin at 0."
            )
        yield Segment(start, end, values[-1], line)


def write_segments(path: Path, labels: npt.NDArray[np.int64], classes: tuple[str, ...]) -> None:
    """Write the class of every frame as segments.

    Args:
        path: The file.
        labels: Numbers of classes (T,).
        classes: Their names.
    """
    bounds = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_LAYOUTS[0])
        writer.writerows(
            (start, end, classes[labels[start]]) for start, end in itertools.pairwise(bounds)
        )
