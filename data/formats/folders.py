"""What lies in a folder: every file once, hidden ones left alone; what is none, or not there."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from ...errors import DataError, UnrolledError, UsageError, did_you_mean

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,2}[^/\\]")


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of its folders, sorted by name; hidden ones are left alone.

    Links are followed, and each folder is read once: a link to a folder above ends there.

    Args:
        folder: The folder.
    """
    yield from _files_in(folder, set())


def _files_in(folder: Path, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    with os.scandir(folder) as found:
        entries = sorted((e for e in found if e.name[0] != "."), key=lambda entry: entry.name)
    yield from (Path(entry.path) for entry in entries if entry.is_file())
    for entry in entries:
        if entry.is_dir():
            yield from _files_in(Path(entry.path), seen)


def is_pipe(path: str | Path) -> bool:
    """Say whether a path is a pipe or a device, which can be read once, as <(command) makes them.

    Args:
        path: The path.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def refuse_address(path: str) -> None:
    """Refuse the address of something on a network, where a file is meant.

    Args:
        path: What was given.

    Raises:
        UsageError: It is an address; says what to do.
    """
    if _ADDRESS.match(path) and not os.path.exists(path):
        raise UsageError(
            f"'{path}' is an address, and nothing is downloaded: download it first (curl -LO "
            f"'{path}') and name the file."
        )


def path_of(name: str) -> Path:
    """Return the path that a name means: with a tilde in front, a home, where there is such a user.

    Args:
        name: What was given.
    """
    return Path(os.path.expanduser(name))  # pathlib's fails where a shell leaves the name alone


def missing_file(full: Path, path: str) -> str:
    """Return the message that a path does not exist, with the nearest name that does.

    Args:
        full: The whole path.
        path: What was given.
    """
    parent, name = full.parent, full.name
    while not parent.is_dir():
        parent, name = parent.parent, parent.name
    near = did_you_mean(name, (entry.name for entry in parent.iterdir()))
    where = f" ({parent} has no '{name}')" if name != full.name else ""
    return f"'{path}' does not exist{where}.{near}"


def existing(path: str, folder: UnrolledError) -> Path:
    """Return the whole path of a file, or of a pipe.

    Args:
        path: What was given.
        folder: What is raised where it is a folder.

    Raises:
        UsageError: It is an address.
        DataError: There is no such file; it names the nearest.
    """
    refuse_address(path)
    full = path_of(path).absolute()
    if full.is_dir():
        raise folder
    if not full.exists():
        raise DataError(missing_file(full, path))
    return full
