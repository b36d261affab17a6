"""Features of images that another program made: a file an image, or one file for all.

Shapes: P places (regions, or those of a grid row by row), D features, h and w of a grid.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from ...errors import DataError, UsageError, quoted, some
from ..arrays import Array, ArrayArchive, check_size, read_array
from ..cache import stamps
from ..formats.folders import files_in, path_of, refuse_address
from ..formats.hdf5 import ArrayStore
from ..formats.lmdb import database
from .databases import DatabaseArrays, own
from .regions import arranged, rows_of
from .stacks import IDS, Stack, names_beside, stack_of

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".lmdb", ".mdb")
FILES = (".npz", ".h5", ".hdf5", ".lmdb", ".mdb")
"""Those that may hold the features of many images."""
_MOST = 1 << 24  # numbers of an image
# 42_features beside 42_boxes, as detectors' files have it
_NAMED = re.compile(r"(.+)[/_](?:features|feats|feature|feat)")


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
            return arrays.read(own(arrays.names, f"'{self.path}'"))
        array = read_array(self.path, f"'{self.path}'")
        try:
            check_size(array.shape, _MOST)
        except ValueError as error:
            raise DataError(f"'{self.path}' can't be read: {error}.") from error
        return array


def opened(path: Path) -> Arrays:
    """Open a file that holds the features of many images.

    Args:
        path: An `.npz`, `.h5` or `.hdf5` file, or an LMDB database.

    Raises:
        DataError: It is damaged.
    """
    if database(path) is not None:
        return DatabaseArrays(path, _MOST)
    if path.suffix.lower() == ".npz":
        return ArrayArchive(path, _MOST)
    return ArrayStore(path, _MOST)


class FeatureSource(NamedTuple):
    """Where features of images lie.

    Attributes:
        path: The folder or file.
        arrays: Each key's array: what holds it, and its name there.
        others: What was left alone, as the boxes beside the features.
        files: Each key's file, in a folder of them.
        told: Who says whose features are whose, where their own names do not.
    """

    path: Path
    arrays: dict[str, tuple[Arrays, str]]
    others: list[str]
    files: dict[str, Path]
    told: str = ""


def several(path: Path) -> bool:
    """Say whether a file or folder may hold the features of many images, and is there.

    Args:
        path: The file.
    """
    if path.is_dir():
        return True
    suffix = path.suffix.lower()
    named = suffix == ".npy" and names_beside(path) is not None
    return path.is_file() and (named or suffix in FILES)


def open_source(path: Path) -> FeatureSource:
    """Look what features a folder or a file has, by the keys that name their images.

    A folder's key is a file's path in it without the suffix. A file's is an array's name; where
    some are called `KEY_features` or `KEY/features`, these are, and the others are left alone. A
    file with one array of all images has names for its rows, in it or beside it. A database has
    its own keys.

    Args:
        path: A folder of `.npy` and `.npz` files, an `.npz`, `.h5` or `.hdf5` file, a `.npy` file
            with a file of names, or an LMDB database.

    Raises:
        DataError: There are none, or two files of one name.
    """
    refuse_address(str(path))
    suffix = path.suffix.lower()
    if path.is_dir() and database(path) is None:
        source = _in_folder(path)
    elif not path.exists():
        raise DataError(f"There is no file '{path}'.")
    elif suffix not in SUFFIXES and not path.is_dir():
        raise DataError(
            f"'{path}' is no folder of .npy files, no LMDB and no {', '.join(SUFFIXES)} file."
        )
    elif database(path) is None and (stack := stack_of(path, alone=_alone(path))) is not None:
        source = _of_stack(path, stack)
    elif suffix == ".npy":
        raise DataError(
            f"'{path}' is one array, and nothing says whose its rows are: write the images' names "
            f"into '{path.stem}_ids.txt' beside it, one a line, in the order of the rows."
        )
    else:
        arrays = opened(path)
        named = {name: match[1] for name in arrays.names if (match := _NAMED.fullmatch(name))}
        found = {key: (arrays, name) for name, key in named.items()}
        found = found or {name: (arrays, name) for name in arrays.names}
        others = [name for name in arrays.names if named and name not in named]
        source = FeatureSource(path, found, others, {})
    if not source.arrays:
        raise DataError(f"'{path}' holds no features: expected .npy files, or arrays.")
    return source


def _of_stack(path: Path, stack: Stack) -> FeatureSource:
    rows = stack.arrays
    return FeatureSource(path, {name: (rows, name) for name in rows.names}, [], {}, stack.told)


def _alone(path: Path) -> bool:
    """Say whether a file is the only `.npy` of its folder, but for one of names."""
    if path.suffix.lower() != ".npy":
        return False
    others = (one for one in path.parent.iterdir() if one.suffix.lower() == ".npy" and one != path)
    return not any(one.stem not in IDS for one in others)


def _in_folder(path: Path) -> FeatureSource:
    """Return what a folder of files has, one an image, or one for all with their names beside."""
    inside = list(files_in(path))
    arrays = [one for one in inside if one.suffix.lower() == ".npy" and one.stem not in IDS]
    if len(arrays) == 1 and (stack := stack_of(arrays[0], alone=True)) is not None:
        return _of_stack(arrays[0], stack)
    found: dict[str, tuple[Arrays, str]] = {}
    files, others = {}, []
    for file in inside:
        key = file.relative_to(path).with_suffix("").as_posix()
        if file.suffix.lower() not in (".npy", ".npz"):
            others.append(file.name)
        elif key in found:
            raise DataError(f"'{path}' has features of '{quoted(key)}' in two files.")
        else:
            found[key] = _Single(file), file.stem
            files[key] = file
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
        path = path_of(given).absolute()
        if not path.exists():
            raise DataError(f"--data.features '{given}': there is no such file or folder.")
        return path
    base = root if root.is_dir() else root.parent
    usual = [base / "features", *(base / f"features{suffix}" for suffix in SUFFIXES)]
    there = [path for path in usual if path.exists()]
    if not there:
        there = sorted(
            path for path in base.iterdir() if path.suffix.lower() in FILES or database(path)
        )
    if not there and any(path.suffix.lower() == ".npy" for path in base.iterdir()):
        there = [base]
    if len(there) != 1:
        what = f"there are {some((path.name for path in there), 4)}" if there else "none is there"
        raise UsageError(
            f"Features are looked for in '{base}' as features/ (.npy files), features.npz, "
            f"features.h5 or features.lmdb, and {what}. Name them with --data.features."
        )
    return there[0]


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
