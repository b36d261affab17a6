"""Arrays in HDF5 files of anybody's: looked at before they are read; other files are left alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, not_installed, quoted
from ..arrays import Array, check_size

_DEEP = 3  # groups within groups


class ArrayStore:
    """The arrays of an HDF5 file, by their names. It travels to other processes as a path.

    Links to other files are not followed, nor are arrays read that lie in others.

    Args:
        path: The file.
        most: Numbers of an array at most; one that claims more is not read.

    Raises:
        DataError: It is no HDF5 file.
        SetupError: h5py is not installed.
    """

    def __init__(self, path: Path, most: int) -> None:
        try:
            import h5py
        except ImportError as error:
            raise not_installed("h5py", "hdf5", f"'{path}'") from error
        self.path = path
        self._most = most
        self._h5py: Any = h5py
        self._opened: tuple[int, Any] | None = None
        self.names: list[str] = self._within(lambda: list(self._arrays(self._file, "", 0)))

    def __reduce__(self) -> tuple[type[ArrayStore], tuple[Path, int]]:
        return ArrayStore, (self.path, self._most)

    @property
    def _file(self) -> Any:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), self._h5py.File(self.path, "r")
        return self._opened[1]

    def _arrays(self, group: Any, prefix: str, depth: int) -> Iterator[str]:
        for name in group:
            if isinstance(group.get(name, getlink=True), self._h5py.ExternalLink):
                continue
            item = group[name]
            if item.file.filename != self._file.filename:  # by a link to a link
                continue
            if isinstance(item, self._h5py.Dataset):
                yield f"{prefix}{name}"
            elif depth < _DEEP:
                yield from self._arrays(item, f"{prefix}{name}/", depth + 1)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape; none of its numbers are read.

        Args:
            name: The array's name.

        Raises:
            DataError: It is too large, or no array of plain values.
        """

        def look() -> tuple[int, ...]:
            data = self._file[name]
            if lies_elsewhere(data, self._file):
                raise ValueError("it lies in other files, which are not read")
            if data.shape is None or data.dtype.hasobject:
                raise ValueError("it holds no plain numbers")
            check_size(data.shape, self._most)
            return tuple(map(int, data.shape))

        shape: tuple[int, ...] = self._within(look, name)
        return shape

    def read(self, name: str) -> Array:
        """Return an array.

        Args:
            name: Its name.

        Raises:
            DataError: It is damaged, too large, or no array of plain values.
        """
        self.shape(name)
        return np.asarray(self._within(lambda: self._file[name][()], name))

    def _within(self, look: Callable[[], Any], name: str = "") -> Any:
        try:
            return look()
        except (
            *(OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError),
            OverflowError,
        ) as error:
            inside = f", '{quoted(name)}'," if name else ""
            raise DataError(
                f"'{self.path}'{inside} is no whole HDF5 file: {quoted(str(error), 100)}."
            ) from error


def lies_elsewhere(item: Any, file: Any) -> bool:
    """Say whether a group or an array lies in another file: by a link, as a whole or in parts.

    Args:
        item: The group or the array.
        file: The open file in which its name was found.
    """
    linked = item.file.filename != file.filename
    return bool(linked or getattr(item, "is_virtual", False) or getattr(item, "external", None))
