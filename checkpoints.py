"""Checkpoint files: finding them and saying whether they are whole, without importing torch."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .errors import DataError, did_you_mean

CHECKPOINTS = "checkpoints"
BEST = "best.ckpt"
HUB = "hf://"
WEIGHTS_SUFFIX = ".safetensors"
WEIGHTS, CONFIG = f"model{WEIGHTS_SUFFIX}", "config.json"
"""Of a folder of weights without code: they, and what `unrolled` has to know besides."""
EXPORTED = "model.json"
"""Of a folder that runs without `unrolled`: what the model is."""
_LONGEST_HEADER = 100_000_000  # bytes, as the library has it


class WholeFile(os.PathLike[str]):
    """A checkpoint file every byte of which was compared with its checksum; making one does that.

    Args:
        path: The file.

    Raises:
        DataError: It is not whole.
    """

    def __init__(self, path: Path) -> None:
        if problem := damage(path):
            raise DataError(
                f"'{path}' {problem}.\nAnother checkpoint of the same run may be whole."
            )
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    __str__ = __fspath__


def checkpoints_of(run: Path) -> list[Path]:
    """Return the checkpoints of a run in the order in which to go on from them.

    Args:
        run: The run folder.

    Returns:
        The last, the one before it, and the others, which were saved between two steps, the newest
        first.
    """
    rank = {"last.ckpt": 0, "previous.ckpt": 1}
    found = [path for path in (run / CHECKPOINTS).glob("*.ckpt") if path.is_file()]
    return sorted(
        found, key=lambda path: (rank.get(path.name, 2), -path.stat().st_mtime_ns, path.name)
    )


def damage(path: Path) -> str | None:
    """Say what is wrong with a checkpoint file, without torch; None when it is whole.

    Args:
        path: The file. Every byte of it is read and compared with its checksum.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        return f"can't be read ({error.strerror})"
    if not start:
        return "is empty"
    if path.suffix == WEIGHTS_SUFFIX:
        return _damaged_weights(path)
    if not zipfile.is_zipfile(path):
        return "is truncated" if start == b"PK\x03\x04" else "is not a checkpoint"
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            # torch compresses nothing: what is larger unpacked than packed was not made by it.
            packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
            if packed or sum(part.file_size for part in parts) > path.stat().st_size:
                return "is not a checkpoint"
            if any(part.filename.endswith("/constants.pkl") for part in parts):
                return "is a program in TorchScript and not a checkpoint"
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError, RuntimeError):
        return "is damaged"
    return "is damaged" if broken else None


def _damaged_weights(path: Path) -> str | None:
    """Say what is wrong with a file of weights without code; None when it is as long as it says.

    The format, https://huggingface.co/docs/safetensors, has no checksums.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > _LONGEST_HEADER:
                return "is not a file of weights"
            header = json.loads(file.read(size))
        ends = [part["data_offsets"][1] for name, part in header.items() if name != "__metadata__"]
        whole = path.stat().st_size == 8 + size + max(ends, default=0)
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return "is damaged, or not a file of weights"
    return None if whole else "is truncated"


def newest_whole(run: Path) -> WholeFile:
    """Return the last checkpoint of a run that is whole, with a warning when a later one is not.

    Args:
        run: The run folder.

    Raises:
        DataError: The run has no whole checkpoint.
    """
    broken: list[str] = []
    for path in checkpoints_of(run):
        try:
            whole = WholeFile(path)
        except DataError as error:
            broken.append(str(error).splitlines()[0].removesuffix("."))
            continue
        for bad in broken:
            warnings.warn(f"{bad}: going back to '{path}'.", stacklevel=2)
        return whole
    named = "; ".join(broken)
    raise DataError(f"The run '{run}' has no whole checkpoint{': ' + named if named else ''}.")


def find_checkpoint(given: str | os.PathLike[str], *, last: bool = False) -> WholeFile:
    """Return the checkpoint file that a path names.

    It is the file, the weights of an exported folder, or the one that a run keeps: its best, where
    it chose one by a metric and that is whole, else its last whole one. A folder of runs means the
    newest of them, and hf://NAME a model on the Hugging Face hub.

    Args:
        given: The path as the user typed it, or what this function returned.
        last: Take the last of a run, to go on with it.

    Raises:
        DataError: There is no such file, or it is no whole checkpoint.
    """
    if isinstance(given, WholeFile):
        return given
    if str(given).startswith(HUB):
        from .hub import downloaded

        return find_checkpoint(downloaded(str(given).removeprefix(HUB), (CONFIG, WEIGHTS)))
    if "://" in str(given):
        raise DataError(
            f"'{given}' is a URL: download the checkpoint first, and only from where you trust."
        )
    path = Path(given)
    if is_exported(path):
        raise DataError(f"'{given}' is an exported model: give the checkpoint that it was made of.")
    if path.is_dir() and (path / WEIGHTS).is_file():
        return WholeFile(path / WEIGHTS)
    if path.is_dir():
        run = newest_run(path)
        return newest_whole(run) if last else _best_of(run)
    if not path.is_file():
        near = did_you_mean(str(path), (str(other) for other in _nearby(path.parent)))
        raise DataError(f"There is no checkpoint '{given}'.{near}")
    return WholeFile(path)


def is_exported(path: Path) -> bool:
    """Say whether a path is the folder of a model that runs without `unrolled`.

    Args:
        path: The path.
    """
    return (path / EXPORTED).is_file()


def newest_run(folder: Path) -> Path:
    """Return a run, or the newest run in a folder.

    Args:
        folder: A run's folder, or one that holds runs.

    Raises:
        DataError: There is no checkpoint in it.
    """
    try:
        runs = (
            [folder]
            if checkpoints_of(folder)
            else [run for run in folder.iterdir() if checkpoints_of(run)]
        )
    except OSError as error:
        raise DataError(f"The folder '{folder}' can't be read: {error.strerror}.") from error
    if not runs:
        raise DataError(f"There is no checkpoint in the folder '{folder}'.")
    return max(runs, key=lambda run: checkpoints_of(run)[0].stat().st_mtime_ns)


def _best_of(run: Path) -> WholeFile:
    best = run / CHECKPOINTS / BEST
    if best.is_file():
        try:
            return WholeFile(best)
        except DataError as error:
            bad = str(error).splitlines()[0].removesuffix(".")
            warnings.warn(f"{bad}: taking the last of the run.", stacklevel=3)
    return newest_whole(run)


def _nearby(folder: Path) -> Iterator[Path]:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    for pattern in ("*.ckpt", "*/*.ckpt", "*/*/*.ckpt"):
        yield from sorted(folder.glob(pattern))
