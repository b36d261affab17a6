"""The cache: what is made once and kept. Entries appear whole or not at all; any may be deleted.

Beside each entry lie the lengths and checksums of its files, `NAME.sums`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import platformdirs
from filelock import FileLock

from ..errors import SetupError
from .formats.folders import path_of

_LARGE = 1 << 24  # bytes of a file that is not added up again while nobody writes to it
_TICK = 10**9  # nanoseconds; file systems' clocks are finer, but for FAT's
_whole: dict[Path, dict[str, list[int]]] = {}  # entries that this process found whole


def cache_folder(given: str | None = None, *, kind: str = "text") -> Path:
    """Return the folder for encoded texts (or whatever else), made if need be.

    Args:
        given: Where to keep them; None for the environment variable UNROLLED_CACHE or else the
            user's cache folder.
        kind: What is kept there, the name of the folder's last part.

    Raises:
        SetupError: If it can't be made.
    """
    root = (
        given
        or os.environ.get("UNROLLED_CACHE")
        or platformdirs.user_cache_dir("unrolled", appauthor=False)
    )
    folder = path_of(root).absolute() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(unusable(folder, error.strerror)) from error
    return folder


def unusable(folder: Path, reason: str | None) -> str:
    """Return the message that the cache can't be written.

    Args:
        folder: The cache.
        reason: Why not.
    """
    return (
        f"The cache can't be written: {folder}: {reason}.\n"
        "Name another folder by --data.cache_dir or the environment variable UNROLLED_CACHE."
    )


def key_of(*identity: Any) -> str:
    """Return a short name for plain data, the part of an entry's name that changes with them.

    Args:
        identity: Everything that the entry's content depends on, the version of its format
            included.
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def stamps(*paths: Path) -> list[list[Any]]:
    """Return plain data that change whenever a file does: its path, size and time of change.

    Args:
        paths: The files. Of one that can't be found, whose reader will say so, it is the path.
    """
    found: list[list[Any]] = []
    for path in paths:
        found.append([str(path.absolute())])
        try:
            stat = path.stat()
        except OSError:
            continue
        found[-1] += [stat.st_size, stat.st_mtime_ns]
    return found


def cached(path: Path, make: Callable[[Path], object]) -> Path:
    """Return the path of an entry; where there is none, one process makes it, the others wait.

    An entry that is not what was written, by its checksums, is made again, with a warning.

    Args:
        path: The entry, a file or a folder, in a folder that exists.
        make: Writes the entry to the path that it is given. What is there is moved to `path` when
            `make` returns; of what is interrupted, nothing is taken for an entry.

    Raises:
        SetupError: If the cache can't be written.
    """
    if not _fault(path):
        return path
    lock = _lock(path)
    try:
        with FileLock(lock):
            if fault := _fault(path):
                if path.exists():
                    warnings.warn(f"In the cache {fault}: the entry is made again.", stacklevel=2)
                _make(path, make)
            # who waits for it finds the entry, and so does who comes later
            lock.unlink(missing_ok=True)
    except OSError as error:
        if fault := _fault(path):  # else another machine was faster
            found = f"In the cache {fault}.\n" if os.path.lexists(path) else ""
            raise SetupError(found + unusable(path.parent, _reason(error, path))) from error
    return path


def _reason(error: OSError, path: Path) -> str:
    reason = error.strerror or str(error)
    own = str(error.filename or "") in (str(_sums(path)), str(_lock(path)))
    return f"{Path(error.filename).name}: {reason}" if own else reason


def cached_json(path: Path, make: Callable[[], Any]) -> Any:
    """Return plain data from a `.json` file of the cache, made now if there is none.

    Args:
        path: The file.
        make: Makes the data.

    Raises:
        SetupError: If the cache can't be written.
    """
    file = cached(path, lambda made: made.write_text(json.dumps(make()), encoding="utf-8"))
    return json.loads(file.read_text(encoding="utf-8"))


@contextmanager
def workplace(folder: Path, name: str) -> Iterator[Path]:
    """Make a folder for what is not whole yet, and remove it in the end.

    Those that killed processes of this machine have left for the same are removed as well.

    Args:
        folder: Where to make it.
        name: What is made there.
    """
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    prefix = f"{name}-{host}-"
    for entry in os.listdir(folder):
        number = entry.removeprefix(prefix).partition("-")[0]
        if entry.startswith(prefix) and not _may_live(number):
            shutil.rmtree(folder / entry, ignore_errors=True)  # links are not followed
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"{prefix}{os.getpid()}-") as place:
        yield Path(place)


def _may_live(number: str) -> bool:
    """Say whether a process may be there; Windows has no harmless way to ask."""
    if os.name == "nt" or not (number.isascii() and number.isdigit()):
        return True
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _make(path: Path, make: Callable[[Path], object]) -> None:
    # A name of its own: locks may not reach other machines that share the folder.
    with workplace(path.parent, path.name) as folder:
        made = folder / path.name
        make(made)
        if not _fault(path):  # another machine was faster
            return
        files = _files(made)
        # The checksums first: an entry is not whole without them.
        _write_sums(path, {name: [stamp[0], _sum(made / name)] for name, stamp in files.items()})
        if path.exists():  # moved, not removed: other processes may be reading it
            os.replace(path, folder / "damaged")
        os.replace(made, path)


def _fault(path: Path) -> str:
    """Return what is wrong with an entry: nothing if it is there, with the bytes it was given.

    A process adds up an entry once. Large files are not read again while the file system says that
    nobody wrote to them since they were found whole: a kept data set may have 100 GB.
    """
    try:
        files = _files(path)
        if files == _whole.get(path):
            return ""
        sums, seen = _read_sums(path)
        if sums.keys() != files.keys():
            return f"'{path}' has other files than were written"
        for name, stamp in files.items():
            size, total = sums[name]
            if stamp[0] != size:
                return f"'{path / name}' has {stamp[0]:,} bytes in place of {size:,}"
            spared = size > _LARGE and seen.get(name) == stamp
            if not spared and _sum(path / name) != total:
                return f"'{path / name}' has other bytes than were written (its checksum differs)"
    except FileNotFoundError as error:
        return f"'{error.filename}' is missing"
    except OSError as error:
        return f"'{path}' can't be read ({error.strerror or error})"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return f"'{_sums(path)}' is damaged"
    # what was written this instant may be written again in the same tick of the file system's clock
    if any(stamp[2] > time.time_ns() - _TICK for stamp in files.values()):
        return ""
    _whole[path] = files
    large = {name: stamp for name, stamp in files.items() if stamp[0] > _LARGE}
    if any(seen.get(name) != stamp for name, stamp in large.items()):
        with suppress(OSError):  # a cache that can only be read is added up each time
            _write_sums(path, sums, large)
    return ""


def _files(path: Path) -> dict[str, list[int]]:
    """Return the files of an entry, by their names in it, with what changes when one is written."""
    found = {}
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        stat = file.stat()
        if not S_ISDIR(stat.st_mode):
            # the time of the last change to the inode can't be set, that of the content can
            stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
            found[file.relative_to(path).as_posix()] = stamp
    return found


def _sum(file: Path) -> int:
    total, block = 0, memoryview(bytearray(1 << 18))
    with file.open("rb", buffering=0) as opened:
        while count := opened.readinto(block):
            total = zlib.crc32(block[:count], total)
    return total


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _sums(path: Path) -> Path:
    return path.with_name(f"{path.name}.sums")


def _read_sums(path: Path) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Return size and checksum of an entry's files, and the stamps of those once found whole."""
    if not S_ISREG(_sums(path).stat().st_mode):  # a pipe would be waited for
        raise ValueError
    read = json.loads(_sums(path).read_bytes())
    return read["files"], read["seen"]


def _write_sums(
    path: Path, files: dict[str, list[int]], seen: dict[str, list[int]] | None = None
) -> None:
    with workplace(path.parent, path.name) as folder:
        file = folder / "sums"
        file.write_text(json.dumps({"files": files, "seen": seen or {}}), encoding="utf-8")
        os.replace(file, _sums(path))
