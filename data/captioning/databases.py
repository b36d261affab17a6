"""Features in an LMDB database: a value an image, as detectors and navigators write them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, SetupError, not_installed, quoted, some
from ..arrays import Array, ArrayArchive, check_size, plain_shape
from ..formats.lmdb import Database

OWN = ("features", "feats", "feature", "feat", "x", "arr_0")
"""What an image's features are called among other things of it."""

_HEADER = 1 << 14  # bytes that hold the header of any array of numbers
_ZIP, _NPY, _LZ4 = b"PK\x03\x04", b"\x93NUMPY", b"\x04\x22\x4d\x18"
_ABOUT = {
    "__keys__",
    "keys",
    "__len__",
    "len",
    "length",
    "__length__",
    "num_samples",
    "num-samples",
}


class DatabaseArrays:
    """The arrays of an LMDB database, by their keys. It travels to other processes as a path.

    A value is a `.npy` or `.npz` file as bytes, or a map of msgpack with numpy's arrays in it.
    Pickles are refused: whoever reads one runs it.

    Args:
        path: The database's folder or file.
        most: Numbers of an array at most; one that claims more is not read.

    Raises:
        DataError: It is no whole database.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path, self._most = path, most
        self._database = Database(path)
        self.names = [key for key in self._database.keys if key not in _ABOUT]

    def __reduce__(self) -> tuple[type[DatabaseArrays], tuple[Path, int]]:
        return DatabaseArrays, (self.path, self._most)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape; of a `.npy` value only its beginning is read.

        Args:
            name: Its key.

        Raises:
            DataError: It is damaged, too large, or no array of plain values.
        """
        head = self._database.read(name, _HEADER)
        if not head.startswith(_NPY):
            return self.read(name).shape
        try:
            return plain_shape(io.BytesIO(head), self._most)
        except Exception as error:  # whatever Python's parser raises on a damaged header
            raise self._wrong(name, error) from error

    def read(self, name: str) -> Array:
        """Return an array.

        Args:
            name: Its key.

        Raises:
            DataError: It is damaged, too large, or no array of plain values.
            SetupError: It needs msgpack, which is not installed.
        """
        content = self._database.read(name)
        try:
            return self._array(name, content)
        except (DataError, SetupError):
            raise
        except Exception as error:  # whatever numpy and msgpack raise on damaged bytes
            raise self._wrong(name, error) from error

    def _array(self, name: str, content: bytes) -> Array:
        if not content:
            raise ValueError("it is empty")
        if content.startswith(_NPY):
            file = io.BytesIO(content)
            plain_shape(file, self._most)
            file.seek(0)
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
        if content.startswith(_ZIP):
            archive = ArrayArchive(self.path, self._most, content)
            return archive.read(own(archive.names, f"'{self.path}', '{quoted(name)}',"))
        if content[:1] == b"\x80" and content[1:2] in (b"\2", b"\3", b"\4", b"\5"):
            raise ValueError(
                "it is a pickle, which is not read, for reading one runs it; save values as .npy"
            )
        if content.startswith(_LZ4):
            raise ValueError("it is compressed by lz4, which is not read; save values as .npy")
        if content[:1] in b"\xde\xdf" or 0x80 <= content[0] <= 0x8F:
            return self._unpacked(name, content)
        raise ValueError("it is no .npy, .npz or msgpack; save values as .npy")

    def _unpacked(self, name: str, content: bytes) -> Array:
        """Return what msgpack-numpy wrote: a map of an array, or of several by their names."""
        try:
            import msgpack
        except ImportError as error:
            raise not_installed("msgpack", None, f"'{self.path}'") from error
        found = _named(msgpack.unpackb(content, raw=True))
        if "nd" not in found:
            found = _named(found[own(list(found), f"'{self.path}', '{quoted(name)}',")])
        shape, kind = tuple(map(int, found["shape"])), np.dtype(_text(found["type"]))
        check_size(shape, self._most)
        return np.frombuffer(found["data"], kind).reshape(shape)

    def _wrong(self, name: str, error: Exception) -> DataError:
        reason = quoted(" ".join(str(error).split()) or type(error).__name__, 200)
        return DataError(f"'{self.path}', '{quoted(name)}', can't be read: {reason}.")


def _named(found: Any) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise ValueError("it is no array of msgpack-numpy")
    return {_text(key): value for key, value in found.items()}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def own(names: list[str], label: str) -> str:
    """Return which of an image's arrays are its features: the only one, or the one called so.

    Args:
        names: What there is.
        label: What messages call the file.

    Raises:
        DataError: It can't be told.
    """
    named = [one for one in OWN if one in names]
    if len(names) != 1 and not named:
        raise DataError(
            f"{label} holds {some(names)}: expected one array, or one that is called features."
        )
    return (named or names)[0]
