"""Compressed files and archives, read in blocks, within bounds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import DataError, quoted

BLOCK_BYTES = 1 << 20
_MOST_TIMES = 200  # text becomes three to five times as large, a table of numbers ten or twenty
_SUSPECT = 1 << 26  # bytes; what is smaller is harmless, however it was compressed
_XZ_MEMORY = 1 << 28  # bytes for a dictionary; `xz -9` makes one of 64 MB
_MEMBERS = 10_000  # of a zip archive
_ENCRYPTED = 1


def _open_xz(file: BinaryIO) -> lzma.LZMAFile:
    # the header says how much memory the rest will take
    lzma.LZMADecompressor(memlimit=_XZ_MEMORY).decompress(file.read(1 << 12), 1)
    file.seek(0)
    return lzma.open(file)


def _open_zst(file: BinaryIO) -> Any:
    import pyarrow  # half a second; its decoder takes no window above 128 MB

    return pyarrow.CompressedInputStream(file, "zstd")


COMPRESSED: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": _open_xz,
    ".zst": _open_zst,
}


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file that nothing else closes.

    An error keeps the readers that it came through, and their files, in its frames. Whoever
    collects them may reach the file before its reader, and a file that closes itself then warns.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def plain_name(path: Path) -> str:
    """Return a file's name without the ending of a compressed file.

    Args:
        path: The file.
    """
    return path.stem if path.suffix.lower() in COMPRESSED else path.name


def kind_of(path: Path) -> str:
    """Return how a file's name ends, in lower case, without the ending of a compressed file.

    Args:
        path: The file.
    """
    return Path(plain_name(path)).suffix.lower()


def read_blocks(path: Path, label: str) -> Iterator[bytes]:
    """Yield a file's content in blocks, decompressed where its name says so.

    Args:
        path: The file.
        label: What messages call it.

    Raises:
        DataError: It can't be read, or expands to more than `_MOST_TIMES` its size.
    """
    suffix = path.suffix.lower()
    try:
        with _opened(path) as raw, COMPRESSED.get(suffix, nullcontext)(raw) as file:
            size = path.stat().st_size
            yield from _bounded(file, size if suffix in COMPRESSED else None, label)
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise DataError(f"{label} is damaged or no {suffix} file: {error}") from error
    except OSError as error:
        if suffix in COMPRESSED and error.strerror is None:  # of bzip2 and zstd
            raise DataError(f"{label} is damaged or no {suffix} file: {error}") from error
        raise DataError(f"{label} can't be read: {error.strerror or error}") from error


def _bounded(file: Any, size: int | None, label: str) -> Iterator[bytes]:
    """Yield the blocks of a stream that was compressed to `size` bytes; None: it was not."""
    read = 0
    while block := file.read(BLOCK_BYTES):
        read += len(block)
        if size is not None:
            _expect(read, size, label)
        yield block


def _expect(expanded: int, size: int, label: str) -> None:
    """Raise a DataError where `size` compressed bytes expand like no text."""
    if expanded > (most := max(_SUSPECT, _MOST_TIMES * size)):
        raise DataError(
            f"{label} has {size:,} bytes and expands to more than {most:,}, as no text does: "
            "decompress it yourself if it is one."
        )


def members(path: Path, label: str) -> list[str]:
    """Return the names of the files in a zip archive.

    Args:
        path: The archive.
        label: What messages call it.

    Raises:
        DataError: It is no zip archive, or has more than `_MEMBERS` files.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{label} is damaged or no zip archive: {quoted(str(error))}.") from error
    if len(names) > _MEMBERS:
        raise DataError(f"{label} holds {len(names):,} files; more than {_MEMBERS:,} are not read.")
    return names


def member_blocks(path: Path, name: str, label: str) -> Iterator[bytes]:
    """Yield the content of a file in a zip archive in blocks; nothing is unpacked to the disk.

    Args:
        path: The archive.
        name: The file in it.
        label: What messages call it.

    Raises:
        DataError: It is damaged or encrypted, or expands to more than `_MOST_TIMES` its size.
    """
    try:
        with _opened(path) as raw, zipfile.ZipFile(raw) as archive:
            info = archive.getinfo(name)
            if info.flag_bits & _ENCRYPTED:
                raise DataError(f"{label} is encrypted: unpack it yourself.")
            _expect(info.file_size, info.compress_size, label)  # before its lines are taken apart
            with archive.open(info) as file:
                yield from _bounded(file, info.compress_size, label)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        KeyError,
        NotImplementedError,
        OSError,
        ValueError,
    ) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{label} is damaged: {quoted(str(error))}.") from error
