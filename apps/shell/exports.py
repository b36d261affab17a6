"""Labels that were written, once more for the programs in which people correct them."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from ...data.video.annotations.export import Stretch, write_boris, write_eaf
from ...errors import DataError

_RATE = 25.0  # frames a second where nothing says when frames are shown, as in the overlay


def export_labels(
    table: Path, video: Path, classes: Sequence[str], programs: Sequence[str]
) -> list[Path]:
    """Write a video's labels for other programs, beside the table of its frames.

    Args:
        table: The table that `label` has written: frame, time, and label or a column a class.
        video: The video.
        classes: The classes.
        programs: `boris`, `elan`, or both.

    Returns:
        The files.

    Raises:
        DataError: It has no frames.
    """
    with table.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if not rows:
        raise DataError(f"'{table}' holds no frames.")
    times = [float(row[1]) if row[1] else number / _RATE for number, row in enumerate(rows)]
    lasting = (
        statistics.median(after - before for before, after in pairwise(times))
        if (len(times) > 1)
        else 1 / _RATE
    )
    times.append(times[-1] + lasting)
    several = header[2:] != ["label", "probability"]
    if several:
        runs = [
            run
            for number, name in enumerate(header[2:], 2)
            for run in _runs([name if row[number] == "1" else "" for row in rows], times)
        ]
    else:
        runs = list(_runs([row[2] for row in rows], times))
    runs.sort()
    written = []
    if "boris" in programs:
        written.append(table.with_suffix(".boris"))
        write_boris(written[-1], video, runs, classes, 1 / lasting if lasting > 0 else _RATE)
    if "elan" in programs:
        written.append(table.with_suffix(".eaf"))
        write_eaf(written[-1], video, runs, classes if several else ())
    return written


def _runs(labels: Sequence[str], times: Sequence[float]) -> Iterator[Stretch]:
    begin = 0
    for number in range(1, len(labels) + 1):
        if number == len(labels) or labels[number] != labels[begin]:
            if labels[begin]:
                yield Stretch(times[begin], times[number], labels[begin])
            begin = number
