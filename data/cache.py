"""The cache: what is made once and kept. Entries appear whole or not at all; any may be deleted."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from ..errors import SetupError


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
    folder = Path(root).expanduser().absolute() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(_unusable(folder, error.strerror)) from error
    return folder


def _unusable(folder: Path, reason: str | None) -> str:
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

    Args:
        path: The entry, a file or a folder, in a folder that exists.
        make: Writes the entry to the path that it is given. What is there is moved to `path` when
            `make` returns; of what is interrupted, nothing is taken for an entry.

    Raises:
        SetupError: If the cache can't be written.
    """
    if path.exists():
        return path
    lock = path.with_name(f"{path.name}.lock")
    try:
        with FileLock(lock):
            if not path.exists():
                # A name of its own: locks may not reach other machines that share the folder.
                with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}-") as folder:
                    made = Path(folder) / path.name
                    make(made)
                    os.replace(made, path)
            # who waits for it finds the entry, and so does who comes later
            lock.unlink(missing_ok=True)
    except OSError as error:
        if not path.exists():  # else another machine was faster
            raise SetupError(_unusable(path.parent, error.strerror or str(error))) from error
    return path


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
