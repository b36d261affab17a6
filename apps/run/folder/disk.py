"""Writing into a run's folder: whole or not at all, through no link, and what fails says where."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ....checkpoints import CHECKPOINTS
from ....errors import SetupError, UnrolledError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
# What is wrong with the disk or with the rights on it, and not with the program.
_OF_THE_DISK = {
    *FULL,
    *(
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENAMETOOLONG,
        errno.ESTALE,
        errno.ENOTDIR,
    ),
    *(errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENODEV, errno.ENOENT),
}
# Names of versions before 1.0, which a killed save may have left.
_FORMER = ("config.tmp", "metrics.tmp", f"{CHECKPOINTS}/previous.tmp")


@contextmanager
def writing(path: Path, remedy: str = "") -> Iterator[None]:
    """Turn a disk that takes no more, or must not be written to, into an error that names a file.

    Args:
        path: What is written.
        remedy: What to do, or what is still there.

    Raises:
        SetupError: The disk is full, or the file can't be written.
    """
    try:
        yield
    except BaseException as error:
        reason = reason_of(error)
        if reason is None:
            raise
        raise SetupError(f"{path}: {reason}{remedy and f'; {remedy}'}") from error


@contextmanager
def quiet_threads() -> Iterator[None]:
    """Let no thread tell of a full disk by a traceback: TensorBoard's tells its owner, too."""
    former = threading.excepthook

    def hook(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is None or reason_of(told.exc_value) is None:
            former(told)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = former


def reason_of(error: BaseException) -> str | None:
    """Say what is wrong with the disk where that is what an error is about.

    Args:
        error: Anything that writing has raised.
    """
    # torch's zip writer reports a failed write as a RuntimeError of its own, its cause behind it or
    # lost.
    if isinstance(error, UnrolledError) or not isinstance(error, OSError | RuntimeError):
        return None
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _OF_THE_DISK:
            full = seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            return "no space left on the disk" if full else str(seen.strerror)
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, RuntimeError) and "PytorchStreamWriter failed" in str(error):
        return "no space left on the disk"
    return None


@contextmanager
def replacing(place: Path) -> Iterator[IO[bytes]]:
    """Give a file that takes a name when all of it is on the disk, and is removed otherwise.

    Args:
        place: The name; what had it is replaced as a whole.
    """
    temporary = _beside(place)
    try:
        with _create(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(place.parent)


def keep(path: Path, place: Path) -> None:
    """Give a file a second name at once, so that neither is ever missing; or copy it.

    Args:
        path: The file.
        place: Its second name.
    """
    temporary = _beside(place)
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without a second name
        with path.open("rb") as source, replacing(place) as file:
            while block := source.read(1 << 20):
                file.write(block)
        return
    temporary.replace(place)


def tidy(run: Path) -> None:
    """Remove what killed saves have left in a run's folder; of a link, the link.

    Args:
        run: The run's folder, which nobody else writes to.
    """
    found = [*run.glob(".*.part"), *(run / CHECKPOINTS).glob(".*.part")]
    for path in [*found, *(run / name for name in _FORMER)]:
        if path.is_symlink() or path.is_file():
            path.unlink()


def _beside(place: Path) -> Path:
    # Always the same name: what a kill leaves behind is found and removed.
    return place.with_name(f".{place.name}.part")


def _create(temporary: Path) -> IO[bytes]:
    temporary.unlink(missing_ok=True)
    return temporary.open("xb")  # follows no link, also none that was put there just now


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
