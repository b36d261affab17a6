"""The text that a picture is about."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError, UsageError, at_least

if TYPE_CHECKING:
    from ...tasks.char_lm.model import CharModel


def read_text(text: str | PathLike[str], length: int) -> str:
    """Return the beginning of a text.

    Args:
        text: The text itself, the path of a file with one, or - for standard input.
        length: How many characters to take at most.

    Raises:
        DataError: The file can't be read, or is no text in UTF-8.
        UsageError: There is no text.
    """
    at_least(1, length=length)
    given = fspath(text)
    if given == "-":
        found = _decoded(
            iter(partial(sys.stdin.buffer.read, 1 << 16), b""), "standard input", length
        )
    elif isinstance(text, PathLike) or names_file(given):
        from ...data.formats.packed import read_blocks

        found = _decoded(read_blocks(Path(given), f"'{given}'"), f"'{given}'", length)
    else:
        found = given[:length]
    if not found:
        raise UsageError("There is no text to show: give one, or the path of a file.")
    return found


def names_file(text: str) -> bool:
    """Say whether a text is the path of a file.

    Args:
        text: Any text, of any length.
    """
    try:
        return bool(text) and Path(text).is_file()
    except (OSError, ValueError):  # longer than a name can be, or with a zero byte
        return False


def _decoded(blocks: Iterable[bytes], label: str, length: int) -> str:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    found = ""
    try:
        for block in blocks:
            found += decoder.decode(block)
            if len(found) >= length:
                return found[:length]
        return found + decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise DataError(f"{label} is no text in UTF-8: {error.reason}.") from error


def ids_of(model: CharModel, text: str) -> list[list[int]]:
    """Return the ids of each character: several for one of a model of bytes.

    Args:
        model: The model.
        text: The text.

    Raises:
        DataError: It has characters that the model never saw.
        UsageError: The model reads words or subwords.
    """
    from ...data.vocabulary import UnknownCharacters

    if model.vocabulary.kind in ("words", "subwords"):
        raise UsageError(
            f"This model reads {model.vocabulary.kind}: the picture shows single characters, of "
            "models of characters or bytes."
        )

    try:
        model.vocabulary.encode(text)
    except UnknownCharacters as error:
        remedy = "Show a text without them; the model has nothing to say about them."
        raise UnknownCharacters(error.counts, where="The text", remedy=remedy) from None
    return [model.vocabulary.encode(character).tolist() for character in text]
