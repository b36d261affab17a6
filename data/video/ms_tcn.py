"""Reads the layout of MS-TCN: features, labels, splits and the mapping of the classes.

Shapes: T frames of a video, D features.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError, quoted, some
from ..arrays import read_array
from ..tables import read_lines

_DIGITS = 9  # of a class number at most


class Video(NamedTuple):
    """A video's files, read as far as is cheap.

    Attributes:
        name: Its name.
        features: The file of its features.
        shape: The shape of what is in there.
        labels: Its class numbers (T,) int64.
    """

    name: str
    features: Path
    shape: tuple[int, ...]
    labels: np.ndarray


def read_features(path: Path, begin: int, end: int, *, transposed: bool, stride: int = 1) -> Tensor:
    """Read some frames' features.

    Args:
        path: The file.
        begin: The first frame.
        end: The frame after the last; it may lie past the video's end.
        transposed: Whether the file holds (D, T).
        stride: Read one of so many.

    Returns:
        (n, D) float32.

    Raises:
        DataError: The file is damaged, or a feature is no finite number.
    """
    stored = read_array(path, str(path))
    frames = (stored.T if transposed else stored)[begin:end:stride]
    with np.errstate(over="ignore"):  # what is too large for float32 is found to be infinite
        features = np.array(frames, dtype=np.float32)  # a copy in memory, frame after frame
    if not np.isfinite(features).all():
        frame = begin + stride * int(np.flatnonzero(~np.isfinite(features).all(1))[0])
        raise DataError(
            f"{path}: frame {frame} (counted from 0) has a feature that is not finite (NaN, "
            "infinity).\n"
            "Make the file anew, or take the video out of the split."
        )
    return torch.from_numpy(features)


def read_mapping(path: Path) -> list[str]:
    """Read the classes' names, in the order of their numbers.

    Args:
        path: A file with a number and a name on each line.

    Raises:
        DataError: It is missing, a line is something else, or the numbers are not 0, 1, 2, ...
    """
    names: dict[int, str] = {}
    for number, line in enumerate(_lines(path), 1):
        first, _, name = line.partition(" ")
        if not first.isdecimal() or len(first) > _DIGITS or not name.strip():
            raise DataError(
                f"{path}, line {number}: '{quoted(line)}' is not a class number and a name, as in "
                "'0 background'."
            )
        if int(first) in names or name.strip() in names.values():
            raise DataError(
                f"{path}, line {number}: '{quoted(line)}' names a class number or a class for the "
                "second time."
            )
        names[int(first)] = name.strip()
    if sorted(names) != list(range(len(names))):
        raise DataError(
            f"{path}: the class numbers are [{some(sorted(names))}]; they have to be 0 to "
            f"{len(names) - 1}."
        )
    return [names[number] for number in range(len(names))]


def read_bundle(folder: Path, part: str, split: int) -> list[str]:
    """Read the names of a split's videos.

    Args:
        folder: Where the bundles are.
        part: `train` or `test`.
        split: The split's number.

    Raises:
        DataError: The bundle is missing or empty, or names a video twice.
    """
    path = folder / f"{part}.split{split}.bundle"
    if not path.is_file():
        there = sorted(found.name for found in folder.glob(f"{part}.split*.bundle"))
        raise DataError(
            f"There is no {path}; there are: {', '.join(there) or 'none'}. Choose with "
            "--data.split."
        )
    names = [Path(line).stem if line.endswith((".txt", ".npy")) else line for line in _lines(path)]
    if not names:
        raise DataError(f"{path} names no video.")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path} names {len(twice)} video(s) more than once: {some(twice)}.")
    return names


def read_labels(path: Path, numbers: dict[str, int]) -> np.ndarray:
    """Read a video's labels.

    Args:
        path: A file with a class name on each line.
        numbers: Number of each class.

    Returns:
        Class numbers (T,) int64.

    Raises:
        DataError: A line is no class name, or there is none.
    """
    lines = _lines(path)
    unknown = Counter(line for line in lines if line not in numbers)
    if unknown:
        first = next(number for number, line in enumerate(lines, 1) if line not in numbers)
        told = some(f"'{quoted(name, 40)}' ({count} x)" for name, count in unknown.items())
        raise DataError(f"{path}, line {first}: no such class in mapping.txt: {told}.")
    if not lines:
        raise DataError(f"{path} has no labels.")
    return np.array([numbers[line] for line in lines], dtype=np.int64)


def _lines(path: Path) -> list[str]:
    """Return a text file's lines without white space around them, and without empty ones."""
    missing = f"There is no {path}; the folder has to be in the layout of MS-TCN."
    return [line.strip() for line in read_lines(path, missing=missing) if line.strip()]


def feature_shape(path: Path, name: str) -> tuple[int, ...]:
    """Return the shape of a feature file without reading the features.

    Args:
        path: The file.
        name: The video's name.

    Raises:
        DataError: It is missing, damaged, or holds something else.
    """
    if not path.exists():
        raise DataError(f"Video {name} has no features: there is no {path}.")
    features = read_array(path, str(path))
    if features.ndim != 2 or features.dtype.kind not in "fiu":
        raise DataError(
            f"{path} holds {features.dtype} {features.shape}; it has to be numbers, frames by "
            "features."
        )
    return tuple(features.shape)
