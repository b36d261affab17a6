"""LMDB databases of anybody's, read as plain data: keys, and the bytes that belong to them.

The database's own library takes every number in a file at its word: it ends the process where a
copy was cut short. So the pages are walked here, each number looked at; nothing is written, no
lock is taken. The format is that of LMDB 0.9 (http://www.lmdb.tech/doc/), as machines with 64 bits
and little-endian numbers write it, which are nearly all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ...errors import DataError, quoted

INSIDE = "data.mdb"
"""What the file in a database's folder is called."""

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_HEADER, _NODE, _TREE = 16, 8, 48  # bytes of a page's header, of a node's, of a tree's record
_BRANCH, _LEAF, _OVERFLOW = 0x01, 0x02, 0x04  # kinds of pages
_LARGE, _TREE_WITHIN, _SEVERAL = 0x01, 0x02, 0x04  # kinds of nodes
_NOTHING = (1 << 64) - 1  # the root of an empty tree
_PAGE_SIZES = [1 << power for power in range(8, 17)]
_MOST_KEYS = 10_000_000


class _Place(NamedTuple):
    """Where a value lies in the file."""

    start: int
    size: int


def database(path: Path) -> Path | None:
    """Return the file of a database, or None where a path is none.

    Args:
        path: A folder with `data.mdb`, or the file itself, `.lmdb` or `.mdb`.
    """
    if path.is_dir():
        return path / INSIDE if (path / INSIDE).is_file() else None
    return path if path.suffix.lower() in (".lmdb", ".mdb") else None


class Database:
    """The values of an LMDB database, by their keys. It travels to other processes as a path.

    Args:
        path: Its folder, or its file.

    Attributes:
        keys: All keys, in the order of their bytes. Those of a named database within are
            `NAME/KEY`.

    Raises:
        DataError: It is no such database, is damaged, or is cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = database(path) or path
        self._places: dict[str, _Place] = {}
        try:
            with self._file.open("rb") as file:
                _Walk(file, self._file.stat().st_size).into(self._places)
        except OSError as error:
            raise DataError(f"'{path}' can't be read: {error.strerror or error}.") from error
        except (ValueError, struct.error) as error:
            why = error if isinstance(error, ValueError) else "a page points out of itself"
            raise DataError(
                f"'{path}' is no whole LMDB database: {why}. Was its copy cut short?"
            ) from error
        self.keys = list(self._places)

    def __reduce__(self) -> tuple[type[Database], tuple[Path]]:
        return Database, (self.path,)

    def size(self, key: str) -> int:
        """Return how many bytes a value has.

        Args:
            key: Its key.
        """
        return self._places[key].size

    def read(self, key: str, most: int | None = None) -> bytes:
        """Return a value.

        Args:
            key: Its key.
            most: So many bytes of its beginning; None: all.

        Raises:
            DataError: The file can't be read any more, or has become shorter.
        """
        start, size = self._places[key]
        wanted = size if most is None else min(size, most)
        try:
            with self._file.open("rb") as file:
                file.seek(start)
                content = file.read(wanted)
        except OSError as error:
            raise DataError(f"'{self.path}' can't be read: {error.strerror or error}.") from error
        if len(content) < wanted:
            raise DataError(f"'{self.path}' became shorter while it was read.")
        return content


class _Walk:
    """The way through a file's pages, from the root of the tree to all of its leaves."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._page_size, self._root = self._newest()
        self._seen: set[int] = set()

    def _bytes(self, start: int, count: int) -> bytes:
        if start + count > self._size:
            raise ValueError(f"it has {self._size:,} bytes, and points behind them")
        self._file.seek(start)
        return self._file.read(count)

    def _newest(self) -> tuple[int, int]:
        """Return the pages' size, and the root as the last change left it."""
        found = []
        first = self._bytes(0, _HEADER + 24 + 2 * _TREE + 16)
        for start in (0, struct.unpack_from("<I", first, _HEADER + 24)[0]):
            meta = self._bytes(start, len(first))[_HEADER:]
            magic, version = struct.unpack_from("<II", meta)
            if magic != _MAGIC:
                raise ValueError("it does not begin as one")
            if version != _VERSION:
                raise ValueError(f"it is of version {version}, not {_VERSION}")
            page_size = struct.unpack_from("<I", meta, 24)[0]
            root = struct.unpack_from("<Q", meta, 24 + 2 * _TREE - 8)[0]
            change = struct.unpack_from("<Q", meta, 24 + 2 * _TREE + 8)[0]
            if page_size not in _PAGE_SIZES:
                raise ValueError(f"it has pages of {page_size:,} bytes")
            found.append((change, page_size, root))
        return max(found)[1:]

    def into(self, places: dict[str, _Place]) -> None:
        """Note where all values lie."""
        for name, place in self._leaves(self._root, ""):
            if len(places) >= _MOST_KEYS:
                raise ValueError(f"it has more than {_MOST_KEYS:,} keys")
            places[name] = place

    def _leaves(self, root: int, prefix: str) -> Iterator[tuple[str, _Place]]:
        if root == _NOTHING:
            return
        waiting = [root]
        while waiting:
            number = waiting.pop()
            if number in self._seen:
                raise ValueError(f"it comes back to page {number:,}")
            self._seen.add(number)
            start = number * self._page_size
            page = self._bytes(start, self._page_size)
            flags, lower = struct.unpack_from("<HH", page, 10)
            nodes = struct.unpack_from(f"<{max(0, lower - _HEADER) // 2}H", page, _HEADER)
            if flags & _BRANCH:
                # the last first: the first is the next to be taken
                waiting += [self._child(page, node) for node in reversed(nodes)]
            elif flags & _LEAF:
                for node in nodes:
                    yield from self._value(page, start, node, prefix)
            else:
                raise ValueError(f"its page {number:,} is neither branch nor leaf")

    def _child(self, page: bytes, node: int) -> int:
        low, middle, high = struct.unpack_from("<HHH", page, node)
        return int(low | middle << 16 | high << 32)

    def _value(
        self, page: bytes, start: int, node: int, prefix: str
    ) -> Iterator[tuple[str, _Place]]:
        low, high, flags, length = struct.unpack_from("<HHHH", page, node)
        size, data = low | high << 16, node + _NODE + length
        key = page[node + _NODE : data].decode("utf-8", "backslashreplace")
        if len(page) < data:
            raise ValueError(f"the key '{quoted(key)}' is cut")
        if flags & _SEVERAL:
            raise ValueError(f"the key '{quoted(key)}' has several values, which are not read")
        if flags & _TREE_WITHIN:
            if prefix:
                raise ValueError(f"'{quoted(prefix + key)}' is a database within one within")
            root = struct.unpack_from("<Q", page, data + _TREE - 8)[0]
            yield from self._leaves(root, f"{prefix}{key}/")
            return
        place = start + data
        if flags & _LARGE:
            number = struct.unpack_from("<Q", page, data)[0]
            place = number * self._page_size + _HEADER
            kind, pages = struct.unpack_from("<HI", self._bytes(place - _HEADER, _HEADER), 10)
            if not kind & _OVERFLOW or size > pages * self._page_size - _HEADER:
                raise ValueError(f"the value of '{quoted(key)}' is not where it should be")
        elif data + size > len(page):
            raise ValueError(f"the value of '{quoted(key)}' is cut")
        if place + size > self._size:
            raise ValueError(f"the value of '{quoted(key)}' lies behind its {self._size:,} bytes")
        yield f"{prefix}{key}", _Place(place, size)
