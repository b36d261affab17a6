"""Labels of frames in CSV files, as the built-in clips have them."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .annotations.reading import read_frame_labels as read_frame_labels


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
        writer.writerow(("start", "end", "label"))
        writer.writerows(
            (start, end, classes[labels[start]]) for start, end in itertools.pairwise(bounds)
        )
