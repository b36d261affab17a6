"""One run at a time in a folder: who writes there has its lock."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ....errors import DataError, UsageError, printable
from .disk import writing

NAME = ".lock"
BEAT = 20.0  # seconds between two signs of life, for hosts that the system's locks don't reach

# The system's locks are a process's: within one they do not exclude.
_held: set[str] = set()


class RunLock:
    """The right to write into a run's folder; the first rank has it for all.

    The system locks the file for as long as the process lives, so that a killed run leaves nothing
    that has to be cleared. On file systems where that holds for one host only, the other hosts see
    whether the file is touched.

    Args:
        run: The run's folder.

    Raises:
        UsageError: Another run writes there; it names host and process.
        DataError: The lock's name is something else than a file.
        SetupError: The folder can't be written to.
    """

    def __init__(self, run: Path) -> None:
        self._path = Path(os.path.realpath(run)) / NAME
        self._file = -1
        with writing(self._path):
            self._acquire()
        self._ended = threading.Event()
        threading.Thread(target=self._live, daemon=True).start()

    def _acquire(self) -> None:
        silent: dict[str, Any] | None = None  # who gave no sign of life
        while True:
            if str(self._path) in _held:
                raise _taken(self._path, {"host": socket.gethostname(), "pid": os.getpid()})
            file = _open(self._path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                owner = _living_owner(file)
                os.close(file)
                raise _taken(self._path, owner) from None
            owner = _owner(file)
            if not _is_at(file, self._path):  # its holder has ended and removed it just now
                os.close(file)
            elif owner and owner.get("host") != socket.gethostname() and owner != silent:
                os.close(file)
                _watch(self._path, owner)
                silent = owner
            else:
                break
        os.ftruncate(file, 0)
        me = {"host": socket.gethostname(), "pid": os.getpid()}
        os.pwrite(file, json.dumps(me).encode(), 0)
        _held.add(str(self._path))
        self._file = file

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):
                os.utime(self._file)

    def release(self) -> None:
        """Let others write."""
        if self._file < 0:
            return
        self._ended.set()
        with suppress(OSError):
            if _is_at(self._file, self._path):
                self._path.unlink()
        os.close(self._file)
        self._file = -1
        _held.discard(str(self._path))


def refuse_locked(run: Path) -> None:
    """Refuse a folder that a run is writing to, without taking the lock.

    Args:
        run: The run's folder.

    Raises:
        UsageError: A run has its lock.
    """
    path = Path(os.path.realpath(run)) / NAME
    if str(path) in _held:  # closing a second handle would give the system's lock away
        raise _taken(path, {"host": socket.gethostname(), "pid": os.getpid()})
    try:
        file = _open(path, os.O_RDWR)
    except OSError:
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise _taken(path, _living_owner(file)) from None
    finally:
        os.close(file)


def _open(path: Path, flags: int) -> int:
    try:
        file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError:
        if path.is_symlink():
            raise DataError(f"'{path}' is a link and no run's lock: remove it.") from None
        raise
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(file)
        raise DataError(f"'{path}' is another thing than a run's lock: remove it.")
    return file


def _owner(file: int) -> dict[str, Any]:
    """Return who says that a lock is theirs; nothing where the file doesn't say."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(os.pread(file, 1000, 0))
        if isinstance(found, dict):
            return found
    return {}


def _living_owner(file: int) -> dict[str, Any]:
    """Return who holds a lock, which may have been taken over from the dead just now."""
    for _ in range(20):
        owner = _owner(file)
        if owner and not _is_dead(owner):
            break
        time.sleep(0.05)  # between taking a lock and putting one's name into it
    return owner


def _is_dead(owner: dict[str, Any]) -> bool:
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname() or not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except OSError:
        return False


def _taken(path: Path, owner: dict[str, Any], how: str = "") -> UsageError:
    host, pid = (printable(str(owner.get(key, "?")))[:100] for key in ("host", "pid"))
    return UsageError(
        f"The run '{_short(path.parent)}' is being written to by process {pid} on {host}{how}.\n"
        f"Wait for its end or stop it (kill {pid}), or begin another run with another --name."
    )


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _watch(path: Path, owner: dict[str, Any]) -> None:
    """Wait for a sign of life of a lock's owner on another host.

    No clocks are compared: those of two hosts may differ.

    Raises:
        UsageError: There was one.
    """
    seconds = 3 * BEAT
    who = printable(f"process {owner.get('pid')} on {owner.get('host')}")
    print(
        f"{who} was writing to this run: looking for {seconds:.0f} s whether it still lives "
        f"(if you know that it does not, remove '{path}')",
        file=sys.stderr,
        flush=True,
    )
    begun, until = _touched(path), time.monotonic() + seconds
    while time.monotonic() < until and (now := _touched(path)) is not None:
        if now != begun:
            raise _taken(path, owner, " and lives")
        time.sleep(min(1.0, BEAT))


def _touched(path: Path) -> int | None:
    """Return when a lock was touched, or None where it is gone."""
    # opened anew: a network file system then asks its server
    try:
        file = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(file).st_mtime_ns
    finally:
        os.close(file)
