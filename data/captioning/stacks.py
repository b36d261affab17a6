"""Features of all images in one array, a row an image, and who says which row is whose.

Shapes: N images; what follows is a row's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DataError, quoted
from ..arrays import Array, ArrayArchive, check_size, read_array
from ..formats.hdf5 import ArrayStore
from ..tables import json_value, read_lines
from .databases import OWN

_WHOLE = 1 << 28  # numbers of an array that has to be read as a whole: 1 GB of them
_ROW = 1 << 24  # of an image
_ANY = 1 << 48  # of one whose rows are read one by one
IDS = ("ids", "image_ids", "image_id", "img_ids", "names", "image_names", "filenames", "keys")
"""What says whose rows are whose may be called."""

_ARRAYS = (*OWN, "image_features")
_CALLED = re.compile(r"features?|feats?")
_ENDS = (".txt", ".json", ".npy")


class Stack(NamedTuple):
    """An array of all images.

    Attributes:
        arrays: Its rows, by their images' names.
        told: Who says which row is whose, as a sentence without its end.
    """

    arrays: StackRows
    told: str


class StackRows:
    """The rows of an array (N, ...), by their names. It travels to other processes as a path.

    Args:
        path: The file: `.npy`, `.npz`, `.h5`, `.hdf5`.
        array: The array's name in the file; None in a `.npy` file.
        names: The rows' names.
        label: What says so, for messages.

    Raises:
        DataError: The array has another number of rows, or two rows have one name.
    """

    def __init__(self, path: Path, array: str | None, names: Sequence[str], label: str) -> None:
        self.path, self._array, self.names, self._label = path, array, list(names), label
        if isinstance(self._rows, ArrayStore):
            shape = self._rows.shape(str(array))
        else:
            shape = self._rows.shape
        if not shape or shape[0] != len(self.names):
            raise DataError(
                f"'{path}' has {shape[0] if shape else 0:,} rows, and {label} names "
                f"{len(self.names):,} images."
            )
        self._shape = shape[1:]
        try:
            check_size(self._shape, _ROW)
        except ValueError as error:
            raise DataError(f"'{path}', a row: {error}.") from error
        self._number = {name: number for number, name in enumerate(self.names)}
        if len(self._number) < len(self.names):
            twice = next(n for i, n in enumerate(self.names) if self._number[n] != i)
            raise DataError(f"{label} names '{quoted(twice)}' twice.")

    def __reduce__(self) -> tuple[type[StackRows], tuple[Path, str | None, list[str], str]]:
        return StackRows, (self.path, self._array, self.names, self._label)

    @cached_property
    def _rows(self) -> Array | ArrayStore:
        if self._array is None:
            return read_array(self.path, f"'{self.path}'")
        if self.path.suffix.lower() == ".npz":
            return ArrayArchive(self.path, _WHOLE).read(self._array)
        return ArrayStore(self.path, _ANY)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a row's shape; all have one.

        Args:
            name: The row's name.
        """
        return self._shape

    def read(self, name: str) -> Array:
        """Return a row.

        Args:
            name: Its name.

        Raises:
            DataError: It can't be read.
        """
        number = self._number[name]
        if isinstance(self._rows, ArrayStore):
            return self._rows.read(str(self._array), number)
        return np.asarray(self._rows[number])


def stack_of(path: Path, *, alone: bool = False) -> Stack | None:
    """Return the rows of a file that holds one array of all images, or None if it does not.

    Args:
        path: A `.npy` file with the images' names beside it, as `names_beside` finds them; or an
            `.npz` or HDF5 file with an array called `features` and one called `ids`.
        alone: As in `names_beside`.

    Raises:
        DataError: The numbers of rows and names differ, or it is damaged.
    """
    if path.suffix.lower() == ".npy":
        if (beside := names_beside(path, alone=alone)) is None:
            return None
        return Stack(
            StackRows(path, None, _names_in(beside), f"'{beside}'"),
            f"Which row of '{path.name}' is whose says '{beside.name}'",
        )
    npz = path.suffix.lower() == ".npz"
    opened = ArrayArchive(path, _WHOLE) if npz else ArrayStore(path, _ANY)
    ids = next((name for name in IDS if name in opened.names), None)
    array = next((name for name in _ARRAYS if name in opened.names), None)
    if ids is None or array is None:
        return None
    if isinstance(opened, ArrayStore):
        names = ArrayStore(path, _WHOLE).texts(ids)
    else:
        names = _texts(opened.read(ids), f"'{path}', '{ids}'")
    return Stack(
        StackRows(path, array, names, f"its array '{ids}'"),
        f"Which row of '{array}' is whose says '{ids}' beside it",
    )


def names_beside(path: Path, *, alone: bool = False) -> Path | None:
    """Return the file that says whose the rows of a `.npy` file are, if one lies beside it.

    `val_features.npy` has `val_features_ids.txt`, `val_ids.txt` or `val_features.txt`, or these as
    `.json` or `.npy`.

    Args:
        path: The `.npy` file.
        alone: No other array lies there, so that `ids.txt` or `names.json` can mean no other.
    """
    stem = path.stem
    called = [f"{stem}{between}{name}" for name in IDS for between in "_."]
    if _CALLED.search(stem):
        called = [stem, *called, *(_CALLED.sub(name, stem, count=1) for name in IDS)]
    if alone:
        called += IDS
    beside = (path.with_name(f"{name}{end}") for name in called for end in _ENDS)
    return next((one for one in beside if one != path and one.is_file()), None)


def _names_in(path: Path) -> list[str]:
    """Return what a file of names says, a row a name."""
    label = f"'{path}'"
    if path.suffix.lower() == ".txt":
        return [line.strip() for line in read_lines(path) if line.strip()]
    if path.suffix.lower() == ".npy":
        return _texts(read_array(path, label), label)
    found = json_value("\n".join(read_lines(path)), label)
    if isinstance(found, Mapping):
        if sorted(map(str, found.values())) == sorted(map(str, range(len(found)))):
            return sorted(found, key=lambda name: int(found[name]))  # as name -> row
        if len(found) == 1:
            found = next(iter(found.values()))
    if not isinstance(found, list) or not all(isinstance(one, str | int) for one in found):
        raise DataError(f"{label}: expected a list of images' names, or each name's row (from 0).")
    return [str(one) for one in found]


def _texts(array: Array, label: str) -> list[str]:
    if array.dtype.kind not in "USiu":
        raise DataError(f"{label} holds {array.dtype}, no names.")
    return [
        one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one)
        for one in array.reshape(-1).tolist()
    ]
