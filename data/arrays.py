"""Arrays on disk: made once, memory-mapped by all processes ever after."""

from __future__ import annotations

import io
import itertools
import math
import mmap
import os
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, SetupError, quoted
from .cache import cached, key_of

Array = npt.NDArray[Any]
_RELEASE_EVERY = 64  # reads of a memory-mapped array between two releases of its pages


class ArrayFile:
    """Rows of an array on disk. It travels to other processes as a path.

    Args:
        path: A `.npy` file.
        dtype: What rows are turned into when they are read; None: as they are stored.
    """

    def __init__(self, path: Path, dtype: type[np.generic] | None = None) -> None:
        self.path = path
        self._dtype = dtype
        mapped = np.load(path, mmap_mode="r")
        self._mmap: mmap.mmap = mapped._mmap
        self._array: Array = np.asarray(mapped)
        self._reads = 0

    def __reduce__(self) -> tuple[type[ArrayFile], tuple[Path, type[np.generic] | None]]:
        return ArrayFile, (self.path, self._dtype)

    def __len__(self) -> int:
        return len(self._array)

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return tuple(self._array.shape)

    def __getitem__(self, index: int | slice | npt.NDArray[np.int64] | list[int]) -> Array:
        """Return a copy of rows.

        Pages that were read stay mapped, and count as this process's memory until the system takes
        them back. They are let go of now and then (they stay in the system's cache), so that this
        can't grow to the size of the file.

        Args:
            index: Which ones.
        """
        self._reads += 1
        if self._reads % _RELEASE_EVERY == 0 and hasattr(mmap, "MADV_DONTNEED"):
            self._mmap.madvise(mmap.MADV_DONTNEED)
        return np.array(self._array[index], dtype=self._dtype)


def read_array(path: Path, label: str) -> Array:
    """Map a `.npy` file of anybody's into memory. Nothing of it is read, and none is executed.

    Args:
        path: The file.
        label: What messages call it.

    Returns:
        The array, which can't be written to.

    Raises:
        DataError: There is no such file, or it is no whole `.npy` file of plain values.
    """
    try:
        # Not np.load, which would open archives and pickles, too.
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a damaged header is parsed as Python, which may warn
            return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise DataError(f"{label} can't be read: {error.strerror or error}.") from error
    # The header is a literal of Python, and damaged ones raise whatever its parser does.
    except Exception as error:
        reason = quoted(" ".join(str(error).split()) or type(error).__name__, 200)
        raise DataError(f"{label} is no .npy file: {reason}.") from error


class ArrayArchive:
    """A `.npz` file of anybody's. Nothing in it is executed; it travels to other processes.

    Args:
        path: The file.
        most: Numbers of an array at most; one that claims more is not read.
        content: What the file would hold, where it lies in another; None: it is a file.

    Raises:
        DataError: It is no `.npz` file.
    """

    def __init__(self, path: Path, most: int, content: bytes | None = None) -> None:
        self.path = path
        self._most, self._content = most, content
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        names = [name for name in self._zip.namelist() if name.endswith(".npy")]
        self.names = [name.removesuffix(".npy") for name in names]

    def __reduce__(self) -> tuple[type[ArrayArchive], tuple[Path, int, bytes | None]]:
        return ArrayArchive, (self.path, self._most, self._content)

    @property
    def _zip(self) -> zipfile.ZipFile:
        # processes that share a file's handle would move each other's place in it
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                file = self.path if self._content is None else io.BytesIO(self._content)
                self._opened = os.getpid(), zipfile.ZipFile(file)
            except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
                raise self._damaged(error) from error
        return self._opened[1]

    def _damaged(self, error: Exception, name: str = "") -> DataError:
        reason = quoted(" ".join(str(error).split()) or type(error).__name__, 200)
        inside = f", '{quoted(name)}'," if name else ""
        return DataError(f"'{self.path}'{inside} is no whole .npz file: {reason}.")

    def shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape, of which its first bytes are read.

        Args:
            name: The array's name.

        Raises:
            DataError: It is damaged, too large, or no array of plain values.
        """
        shape: tuple[int, ...] = self._look(name, lambda file, shape: shape)
        return shape

    def read(self, name: str) -> Array:
        """Return an array.

        Args:
            name: Its name.

        Raises:
            DataError: It is damaged, too large, or no array of plain values.
        """

        def whole(file: IO[bytes], shape: tuple[int, ...]) -> Array:
            file.seek(0)
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))

        return np.asarray(self._look(name, whole))

    def _look(self, name: str, take: Callable[[IO[bytes], tuple[int, ...]], Any]) -> Any:
        try:
            with self._zip.open(f"{name}.npy") as file:
                return take(file, plain_shape(file, self._most))
        except DataError:
            raise
        except Exception as error:  # whatever zipfile, zlib and numpy raise on damaged bytes
            raise self._damaged(error, name) from error


def plain_shape(file: IO[bytes], most: int) -> tuple[int, ...]:
    """Return the shape that a `.npy` file claims, of which its header is read.

    Args:
        file: The file, at its beginning.
        most: Numbers at most.

    Raises:
        ValueError: It has more, or no plain numbers. Damaged ones raise whatever Python's parser
            does.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a damaged header is parsed as Python
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of the format is of no plain numbers")
        read = np.lib.format.read_array_header_1_0
        if version == (2, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not read")
        check_size(shape, most)
        return tuple(shape)


def check_size(shape: tuple[int, ...], most: int) -> None:
    """Refuse an array that would be too large.

    Args:
        shape: What it claims to be.
        most: Numbers at most.

    Raises:
        ValueError: It has more.
    """
    if math.prod(shape) > most:
        raise ValueError(f"it claims {math.prod(shape):,} numbers; more than {most:,} are not read")


@contextmanager
def array_writer(
    path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...] = ()
) -> Iterator[Callable[[Array], object]]:
    """Open a `.npy` file for rows, of whose number nothing need be known before its end.

    Args:
        path: The file.
        dtype: The rows' type.
        shape: The shape of a row.

    Returns:
        A function that appends rows.
    """
    dtype = np.dtype(dtype)
    count = 0

    def header() -> None:
        """Write the header; numpy leaves room in it for the longest number there is."""
        descr = np.lib.format.dtype_to_descr(dtype)
        fields = {"descr": descr, "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(file, fields)

    def add(rows: Array) -> None:
        nonlocal count
        file.write(np.ascontiguousarray(rows, dtype).data)
        count += len(rows)

    with path.open("wb") as file:
        header()
        yield add
        file.seek(0)
        header()


def write_array(path: Path, length: int, blocks: Iterable[Array]) -> None:
    """Write a `.npy` file. Memory holds one block.

    Args:
        path: The file.
        length: Number of rows, at least one.
        blocks: The rows, a few at a time; all of one shape and type.

    Raises:
        SetupError: If there is no room for them.
    """
    rest = iter(blocks)
    first = next(rest)
    needed, free = first.nbytes // len(first) * length, shutil.disk_usage(path.parent).free
    if needed > free:
        raise SetupError(
            f"In the cache {_bytes(free)} are left, and '{path.name}' has {_bytes(needed)} "
            f"({path.parent.parent}).\nName another folder by --data.cache_dir or the environment "
            "variable UNROLLED_CACHE, or keep less."
        )
    rows = 0
    with array_writer(path, first.dtype, first.shape[1:]) as add:
        for block in itertools.chain([first], rest):
            add(block)
            rows += len(block)
    if rows != length:
        raise AssertionError(f"{rows} rows were made, not {length}")


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 10**8 else f"{count / 1e3:,.0f} kB"


def kept_features(
    folder: Path,
    identity: list[Any],
    length: int,
    blocks: Callable[[], Iterable[Array]],
) -> ArrayFile:
    """Return what a frozen backbone makes of pictures, made now if it is not in the cache.

    Args:
        folder: The cache's folder, the same for images and videos.
        identity: Plain data that change whenever the pictures, or what makes the features, do.
        length: Number of pictures, at least one.
        blocks: Makes the features, a few pictures' at a time.

    Raises:
        SetupError: If there is no room for them.
    """
    return cached_array(folder / f"features-{key_of(*identity)}.npy", length, blocks)


def cached_array(
    path: Path,
    length: int,
    blocks: Callable[[], Iterable[Array]],
    dtype: type[np.generic] | None = None,
) -> ArrayFile:
    """Return an array of the cache, made now if it is not there.

    Args:
        path: The `.npy` file.
        length: Number of rows, at least one.
        blocks: Makes the rows, a few at a time; all of one shape and type.
        dtype: What rows are turned into when they are read; None: as they are stored.

    Raises:
        SetupError: If there is no room for them.
    """
    return ArrayFile(cached(path, lambda made: write_array(made, length, blocks())), dtype)
