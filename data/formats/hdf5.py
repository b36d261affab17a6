"""Arrays in HDF5 files of anybody's: looked at before they are read; other files are left alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        self.path = path
        self._most = most
        self._h5py = _library(path)
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
            data = _within_file(self._file[name], self.path)
            if data.shape is None or data.dtype.hasobject:
                raise ValueError("it holds no plain numbers")
            check_size(data.shape, self._most)
            return tuple(map(int, data.shape))

        shape: tuple[int, ...] = self._within(look, name)
        return shape

    def read(self, name: str, row: int | None = None) -> Array:
        """Return an array.

        Args:
            name: Its name.
            row: One of its rows; None: all.

        Raises:
            DataError: It is damaged, too large, or no array of plain values.
        """
        self.shape(name)
        what = () if row is None else row
        return np.asarray(self._within(lambda: self._file[name][what], name))

    def texts(self, name: str) -> list[str]:
        """Return an array of texts, or of numbers as texts.

        Args:
            name: Its name.

        Raises:
            DataError: It is damaged, too large, or holds something else.
        """

        def look() -> list[str]:
            data = _within_file(self._file[name], self.path)
            check_size(data.shape or (), self._most)
            if self._h5py.check_string_dtype(data.dtype) is not None:
                data = data.asstr("utf-8", "replace")
            elif data.dtype.kind not in "iu":
                raise ValueError("it holds no texts")
            return [str(one) for one in np.asarray(data[()]).reshape(-1).tolist()]

        found: list[str] = self._within(look, name)
        return found

    def _within(self, look: Callable[[], Any], name: str = "") -> Any:
        with _told(self.path, name):
            return look()


@contextmanager
def open_file(path: Path) -> Iterator[Any]:
    """Open a file for whoever knows its layout; whatever goes wrong within is told as its damage.

    Args:
        path: The file.

    Raises:
        DataError: It is no HDF5 file, or is damaged.
        SetupError: h5py is not installed.
    """
    library = _library(path)
    with _told(path), library.File(path, "r") as file:
        links = (file.get(name, getlink=True) for name in file)
        if any(isinstance(link, library.ExternalLink) for link in links):
            raise ValueError("it has links to other files, which are not read")
        yield file


def whole_array(path: Path, data: Any, most: int) -> Array:
    """Return an array of an open file whose size was looked at first.

    Args:
        path: The file.
        data: The array in it.
        most: Numbers of 8 bytes at most.

    Raises:
        ValueError: It claims more, or lies in other files.
    """
    check_size((*data.shape, max(1, _within_file(data, path).dtype.itemsize // 8)), most)
    return np.asarray(data[()])


def _library(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise not_installed("h5py", "hdf5", f"'{path}'") from error
    return h5py


def _within_file(data: Any, path: Path) -> Any:
    """Return an array that lies in the file: not, by a link to a link or in parts, in another."""
    if data.file.filename != str(path) or data.is_virtual or data.external:
        raise ValueError("it lies in other files, which are not read")
    return data


@contextmanager
def _told(path: Path, name: str = "") -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except (
        *(OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError),
        OverflowError,
    ) as error:
        inside = f", '{quoted(name)}'," if name else ""
        raise DataError(
            f"'{path}'{inside} is no whole HDF5 file: {quoted(str(error), 100)}."
        ) from error
