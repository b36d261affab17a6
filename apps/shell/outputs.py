"""Where commands write, and what of a folder they leave out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import UsageError, printable, some


def outputs(inputs: Sequence[Path], folder: str, flag: str) -> dict[Path, Path]:
    """Make a folder, and say what the file in it that belongs to each input is called.

    Args:
        inputs: Files, or folders; those of one name get numbers.
        folder: The folder.
        flag: The flag that named it.

    Returns:
        Paths without a suffix.

    Raises:
        UsageError: The folder can't be made.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{flag} '{folder}' can't be made a folder: {error.strerror}.") from error
    found: dict[Path, Path] = {}
    for path in dict.fromkeys(inputs):
        stem = path.resolve().name if path.is_dir() else path.stem
        number, target = 1, place / stem
        while target in found.values():
            number += 1
            target = place / f"{stem}_{number}"
        found[path] = target
    return found


def left_out(files: Sequence[Path], folder: Path, why: str) -> str:
    """Return a line that counts and names what of a folder is left out.

    Args:
        files: The files.
        folder: The folder that they are in.
        why: What they are.
    """
    names = printable(some(file.relative_to(folder).as_posix() for file in files))
    noun = "file" if len(files) == 1 else "files"
    return f"unrolled: {len(files):,} {noun} of '{folder}' left out, {why}: {names}."
