"""Features of images that another program made: a file an image, or one file for all.

Shapes: P places (regions, or those of a grid row by row), D features, h and w of a grid.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from ...errors import DataError, UsageError, quoted, some
from ..arrays import Array, ArrayArchive, check_size, read_array
from ..cache import stamps
from ..formats.folders import files_in, refuse_address
from ..formats.hdf5 import ArrayStore
from .entries import Entry
from .regions import arranged, rows_of

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")
FILES = (".npz", ".h5", ".hdf5")
"""Those that may hold the features of many images."""
_MOST = 1 << 24  # numbers of an image
# 42_features beside 42_boxes, as detectors' files have it
_NAMED = re.compile(r"(.+)[/_](?:features|feats|feature|feat)")
_OWN = ("features", "feats", "feature", "feat", "x", "arr_0")


class Arrays(Protocol):
    """Arrays by name."""

    names: list[str]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape; a DataError says what is wrong with it."""

    def read(self, name: str) -> Array:
        """Return an array; a DataError says what is wrong with it."""


class _Single:
    """The one array of a file of one image."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = [path.stem]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._array().shape

    def read(self, name: str) -> Array:
        return self._array()

    def _array(self) -> Array:
        if self.path.suffix.lower() != ".npy":
            arrays = opened(self.path)
            named = [one for one in _OWN if one in arrays.names]
            if len(arrays.names) != 1 and not named:
                raise DataError(
                    f"'{self.path}' holds {some(arrays.names)}: expected one array, or one that is "
                    "called features."
                )
            return arrays.read((named or arrays.names)[0])
        array = read_array(self.path, f"'{self.path}'")
        try:
            check_size(array.shape, _MOST)
        except ValueError as error:
            raise DataError(f"'{self.path}' can't be read: {error}.") from error
        return array


def opened(path: Path) -> Arrays:
    """Open a file that holds the features of many images.

    Args:
        path: An `.npz`, `.h5` or `.hdf5` file.

    Raises:
        DataError: It is damaged.
    """
    if path.suffix.lower() == ".npz":
        return ArrayArchive(path, _MOST)
    return ArrayStore(path, _MOST)


class FeatureSource(NamedTuple):
    """Where features of images lie.

    Attributes:
        path: The folder or file.
        arrays: Each key's array: what holds it, and its name there.
        others: What was left alone, as the boxes beside the features.
        files: Each key's file.
    """

    path: Path
    arrays: dict[str, tuple[Arrays, str]]
    others: list[str]
    files: dict[str, Path]


def several(path: Path) -> bool:
    """Say whether a file may hold the features of many images, and is there.

    Args:
        path: The file.
    """
    return path.suffix.lower() in FILES and path.is_file()


def open_source(path: Path) -> FeatureSource:
    """Look what features a folder or a file has, by the keys that name their images.

    A folder's key is a file's path in it without the suffix. A file's is an array's name; where
    some are called `KEY_features` or `KEY/features`, these are, and the others are left alone.

    Args:
        path: A folder of `.npy` and `.npz` files, or an `.npz`, `.h5` or `.hdf5` file.

    Raises:
        DataError: There are none, or two files of one name.
    """
    refuse_address(str(path))
    if path.is_dir():
        found: dict[str, tuple[Arrays, str]] = {}
        files, others = {}, []
        for file in files_in(path):
            key = file.relative_to(path).with_suffix("").as_posix()
            if file.suffix.lower() not in (".npy", ".npz"):
                others.append(file.name)
            elif key in found:
                raise DataError(f"'{path}' has features of '{quoted(key)}' in two files.")
            else:
                found[key] = _Single(file), file.stem
                files[key] = file
    elif path.suffix.lower() in FILES:
        if not path.is_file():
            raise DataError(f"There is no file '{path}'.")
        arrays = opened(path)
        named = {name: match[1] for name in arrays.names if (match := _NAMED.fullmatch(name))}
        found = {key: (arrays, name) for name, key in named.items()}
        found = found or {name: (arrays, name) for name in arrays.names}
        files = dict.fromkeys(found, path)
        others = [name for name in arrays.names if named and name not in named]
    else:
        raise DataError(
            f"'{path}' is no folder of .npy files and no {', '.join(FILES)} file. LMDB is not "
            "read: write an .h5 file from it."
        )
    if not found:
        raise DataError(f"'{path}' holds no features: expected .npy files, or arrays.")
    return FeatureSource(path, found, others, files)


def find_source(root: Path, given: str | None) -> Path:
    """Return where features lie: what is named, or what lies in a folder under a usual name.

    Args:
        root: The folder of the captions, or a file in it.
        given: What the user named.

    Raises:
        UsageError: Nothing, or several, lie there.
    """
    if given is not None:
        refuse_address(given)
        path = Path(given).expanduser().absolute()
        if not path.exists():
            raise DataError(f"--data.features '{given}': there is no such file or folder.")
        return path
    base = root if root.is_dir() else root.parent
    usual = [base / "features", *(base / f"features{suffix}" for suffix in FILES)]
    there = [path for path in usual if path.exists()]
    if not there:
        there = sorted(path for path in base.iterdir() if path.suffix.lower() in FILES)
    if not there and any(path.suffix.lower() == ".npy" for path in base.iterdir()):
        there = [base]
    if len(there) != 1:
        what = f"there are {some((path.name for path in there), 4)}" if there else "none is there"
        raise UsageError(
            f"Features are looked for in '{base}' as features/ (.npy files), features.npz or "
            f"features.h5, and {what}. Name them with --data.features."
        )
    return there[0]


class Matched(NamedTuple):
    """Which features belong to which images.

    Attributes:
        keys: Of each image, None where it has none.
        wrong: What is wrong with those.
        told: How they were found, as a sentence without its end.
    """

    keys: list[str | None]
    wrong: dict[int, str]
    told: str


def match(source: FeatureSource, entries: Sequence[Entry], called: str) -> Matched:
    """Find the features of images: by their names; by their numbers where no name is known.

    Args:
        source: The features.
        entries: The images.
        called: What names the images, for messages.

    Raises:
        DataError: No image has features.
    """
    index: dict[str, set[str]] = {}
    for key in source.arrays:
        for form in {key, PurePosixPath(key).name}:
            index.setdefault(form, set()).add(key)
    how, found = "names", [_found(index, _names(entry)) for entry in entries]
    if not any(found):
        how, found = "numbers", [_found(index, _numbers(entry)) for entry in entries]
    if not any(found):
        first, key = entries[0].image if entries else "", next(iter(source.arrays))
        raise DataError(
            f"None of the {len(entries):,} images that {called} names, as '{quoted(first)}', has "
            f"features in '{source.path}', whose are called '{quoted(key)}' and so on."
        )
    keys = [next(iter(one)) if len(one) == 1 else None for one in found]
    wrong = {
        number: f"may be {some(sorted(one), 3)}" if one else "has no features"
        for number, one in enumerate(found)
        if len(one) != 1
    }
    first_of: dict[str, int] = {}
    for number, one in enumerate(keys):
        if one is not None and first_of.setdefault(one, number) != number:
            other = entries[first_of[one]].image
            wrong[number] = f"has no features of its own; '{quoted(one)}' are '{quoted(other)}'s"
            keys[number] = None
    told = f"Features in '{source.path}' are found by the images' {how}"
    return Matched(keys, wrong, told)


def _names(entry: Entry) -> list[str]:
    path = PurePosixPath(entry.image.replace("\\", "/").lstrip("/"))
    if not path.parts:
        return []
    return [str(path), str(path.with_suffix("")), path.name, path.stem]


def _numbers(entry: Entry) -> list[str]:
    return [] if entry.id is None else [str(entry.id), f"{entry.id:012d}"]


def _found(index: Mapping[str, set[str]], forms: Sequence[str]) -> set[str]:
    return next((index[form] for form in forms if form in index), set())


def read_features(image: Any, size: int) -> Tensor:
    """Return an image's features as rows (P, D) float32.

    Args:
        image: The path of a `.npy` file, or of an `.npz` or HDF5 file of one image; an array or a
            tensor as `arranged` says.
        size: D.

    Raises:
        DataError: It can't be read, or has other sizes.
    """
    if isinstance(image, str | Path):
        path = Path(image)
        refuse_address(str(path))
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"'{path}' is no file of features ({', '.join(SUFFIXES)}), which this model takes "
                "instead of pictures."
            )
        if not path.exists():
            raise DataError(f"There is no file '{path}'.")
        return rows_of(_Single(path).read(path.stem), size, f"'{path}'")
    array = image.detach().cpu().float().numpy() if isinstance(image, Tensor) else np.asarray(image)
    return rows_of(array, size, "the array")


class FeatureImages:
    """Images of which there are features only; `Images`, opened as rows (P, D).

    Args:
        source: The features.
        keys: Which of them, in their order.
        size: D.
    """

    def __init__(self, source: FeatureSource, keys: Sequence[str], size: int) -> None:
        self._path = source.path
        self._arrays = [source.arrays[key] for key in keys]
        self._keys = list(keys)
        self._size = size

    @cached_property
    def identity(self) -> list[Any]:
        """The place, and the keys."""
        return [*stamps(self._path), self._keys, self._size]

    def __len__(self) -> int:
        return len(self._keys)

    def open(self, number: int, size: int) -> Tensor:
        """Return an image's features (P, D) float32.

        Args:
            number: Its number.
            size: Not asked for: there is no picture.
        """
        arrays, name = self._arrays[number]
        return rows_of(
            arrays.read(name), self._size, f"'{self._path}', '{quoted(self._keys[number])}'"
        )


def sizes(
    source: FeatureSource, keys: Sequence[str | None], size: int | None
) -> tuple[int, dict[int, str], Counter[int]]:
    """Look at the shapes of all features, of which nothing else is read.

    Args:
        source: The features.
        keys: Which of them; None: none.
        size: D, where it is known; None: that of most.

    Returns:
        D; what is wrong with those that are wrong; how many images have so many places.
    """
    shapes: dict[int, tuple[int, ...]] = {}
    wrong: dict[int, str] = {}
    counts: Counter[int] = Counter()
    for number, key in enumerate(keys):
        if key is None:
            continue
        arrays, name = source.arrays[key]
        try:
            shapes[number] = arrays.shape(name)
            if size is None:
                counts[arranged(shapes[number])[1]] += 1
        except (DataError, ValueError) as error:
            if number not in shapes:  # what can't be read
                wrong[number] = str(error)
    most = size if size is not None else max(counts, key=lambda one: counts[one], default=0)
    places: Counter[int] = Counter()
    for number, shape in shapes.items():
        try:
            places[arranged(shape, most or None)[0]] += 1
        except ValueError as error:
            wrong[number] = str(error)
    return most, wrong, places
