"""The folder where encoded data are kept. Files in it appear whole or not at all; it may be deleted at any time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

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


@contextmanager
def locked(final: Path) -> Iterator[None]:
    """Let one process at a time make a file; the others wait."""
    lock = FileLock(final.with_suffix(".lock"))
    try:
        lock.acquire()
    except OSError as error:
        raise SetupError(_unusable(final.parent, error.strerror)) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def published(final: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that takes its name when all went well."""
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=final.parent, prefix=f"{final.name}-")
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.replace(temporary, final)
        temporary = None
    except OSError as error:
        raise SetupError(_unusable(final.parent, error.strerror)) from error
    finally:
        if temporary is not None:
            os.unlink(temporary)
