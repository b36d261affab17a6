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

from ...errors import DataError
from ..tables import read_lines


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
        DataError: A feature is no finite number.
    """
    stored = np.load(path, mmap_mode="r")
    frames = (stored.T if transposed else stored)[begin:end:stride]
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
        if not first.isdecimal() or not name.strip():
            raise DataError(
                f"{path}, line {number}: '{line}' is not a class number and a name, as in '0 "
                "background'."
            )
        if int(first) in names or name.strip() in names.values():
            raise DataError(
                f"{path}, line {number}: '{line}' names a class number or a class for the second "
                "time."
            )
        names[int(first)] = name.strip()
    if sorted(names) != list(range(len(names))):
        raise DataError(
            f"{path}: the class numbers are {sorted(names)}; they have to be 0 to {len(names) - 1}."
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
        raise DataError(f"{path} names {len(twice)} video(s) more than once: {', '.join(twice)}.")
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
        told = ", ".join(f"'{name}' ({count} x)" for name, count in unknown.items())
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
    try:
        features = np.load(path, mmap_mode="r")
    except FileNotFoundError as error:
        raise DataError(f"Video {name} has no features: there is no {path}.") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no file of numpy's (.npy): {error}.") from error
    if features.ndim != 2 or not np.issubdtype(features.dtype, np.number):
        raise DataError(
            f"{path} holds {features.dtype} {features.shape}; it has to be numbers, frames by "
            "features."
        )
    return tuple(features.shape)
