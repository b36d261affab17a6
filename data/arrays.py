"""Arrays on disk: made once, memory-mapped by all processes ever after."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SetupError
from .cache import locked, published


class ArrayFile:
    """Rows of an array on disk. It travels to other processes as a path.

    Args:
        path: A `.npy` file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._array: npt.NDArray[Any] = np.load(path, mmap_mode="r")

    def __reduce__(self) -> tuple[type[ArrayFile], tuple[Path]]:
        return ArrayFile, (self.path,)

    def __len__(self) -> int:
        return len(self._array)

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return tuple(self._array.shape)

    def __getitem__(
        self, index: int | slice | npt.NDArray[np.int64] | list[int]
    ) -> npt.NDArray[Any]:
        """Return a copy of rows.

        Args:
            index: Which ones.
        """
        return np.array(self._array[index])


def digest(identity: Any) -> str:
    """Return a short name for plain data: the key of a cached file.

    Args:
        identity: Everything that the file's content depends on.
    """
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]


def cached_array(
    path: Path, length: int, blocks: Callable[[], Iterable[npt.NDArray[Any]]]
) -> ArrayFile:
    """Return an array that is made where it does not exist; one process makes it, the others wait.

    Memory holds one block. The file appears when it is whole.

    Args:
        path: The `.npy` file.
        length: Number of rows, at least one.
        blocks: Makes the rows, a few at a time; all of one shape and type.

    Raises:
        SetupError: If there is no room for them.
    """
    if not path.exists():
        with locked(path):
            if not path.exists():
                _write(path, length, blocks())
    return ArrayFile(path)


def _write(path: Path, length: int, blocks: Iterable[npt.NDArray[Any]]) -> None:
    rest = iter(blocks)
    first = next(rest)
    needed, free = first.nbytes // len(first) * length, shutil.disk_usage(path.parent).free
    if needed > free:
        raise SetupError(
            f"{path.parent} has {free / 1e9:.1f} GB left, and {needed / 1e9:.1f} GB are to be kept there.\n"
            "Name another folder by --data.cache_dir or the environment variable UNROLLED_CACHE, or keep less."
        )
    header = {"descr": first.dtype.str, "fortran_order": False, "shape": (length, *first.shape[1:])}
    with published(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        rows = 0
        for block in itertools.chain([first], rest):
            file.write(np.ascontiguousarray(block).data)
            rows += len(block)
        if rows != length:
            raise AssertionError(f"{rows} rows were made, not {length}")
