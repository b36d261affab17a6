"""Texts that commands read: of files, of pipes, and of standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ...data.formats.folders import existing, is_pipe, path_of
from ...data.formats.packed import BLOCK_BYTES, read_blocks
from ...errors import UsageError

STANDARD_INPUT = "-"


def read_once(source: str | Path) -> bool:
    """Say whether a source can be read only once: standard input, or a pipe as <(command) is.

    Args:
        source: A path, or `-` for standard input.
    """
    return str(source) == STANDARD_INPUT or is_pipe(source)


def existing_text(source: str) -> None:
    """Refuse what holds no text, before anything is read.

    Args:
        source: A path, or `-` for standard input.

    Raises:
        UsageError: It is an address or a folder.
        DataError: It does not exist; the nearest name that does is said.
    """
    if source != STANDARD_INPUT:
        folder = f"'{source}' is a folder: name a file of it, or - for standard input."
        existing(source, UsageError(folder))


def text_blocks(source: str) -> tuple[Iterator[bytes], str]:
    """Return the content of a text, in blocks, and what messages call it.

    Args:
        source: A path, or `-` for standard input; compressed files are read as they are.

    Raises:
        UsageError, DataError: As `existing_text`.
    """
    existing_text(source)
    if source == STANDARD_INPUT:
        # Not through the buffer: a thread that waits there holds its lock, on which Python aborts
        # as the program ends.
        stream = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        return iter(partial(stream.read, BLOCK_BYTES), b""), "standard input"
    label = f"'{source}'"
    return read_blocks(path_of(source), label), label
