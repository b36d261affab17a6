"""Vocabularies of other programs, from their files: pieces are taken, and nothing is executed.

Numbers are given anew: a model that is trained here begins with new vectors, and its special
symbols are padding, start, end and unknown. What is special in the file (`<s>`, `[CLS]`) is left
out, so that no text can hold it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ...errors import DataError, UsageError, quoted
from ..formats.folders import missing_file, path_of, refuse_address
from ..formats.objects import whole_json
from ..formats.packed import kind_of, read_blocks
from ..tables import MAX_FILE, lines
from .forms import Form
from .hugging_face import from_tokenizer_json
from .pieces import LONGEST, MOST, Given, is_special
from .sentencepiece import from_sentencepiece


def read_vocabulary(name: str) -> Given:
    """Return the vocabulary of a file: a `tokenizer.json`, a SentencePiece model, a list of words.

    Args:
        name: The file: `.json`, `.model`, or `.txt` with a word a line.

    Raises:
        DataError: There is none, or it is nothing that can be used.
        UsageError: It is no such file.
    """
    refuse_address(name)
    path = path_of(name)
    if not path.is_file():
        raise DataError(
            f"'{name}' is a folder: name the file in it, tokenizer.json or a .model."
            if path.is_dir()
            else missing_file(path.absolute(), name)
        )
    label, kind = f"'{name}'", kind_of(path)
    if kind == ".json":
        return checked(from_tokenizer_json(whole_json(path, label), label), label)
    if kind == ".model":
        return checked(from_sentencepiece(_whole(path, label), label), label)
    if kind == ".vocab":
        raise UsageError(
            f"{label} lists the pieces of a SentencePiece model: name the .model beside it."
        )
    if kind in (".txt", ".dict", ""):
        return checked(_words(path, label), label)
    raise UsageError(
        f"{label}: a vocabulary is a tokenizer.json, a SentencePiece .model, or a .txt with a word "
        "a line."
    )


def checked(given: Given, label: str) -> Given:
    """Return a vocabulary whose pieces can be used.

    Args:
        given: The vocabulary.
        label: What messages call its file.

    Raises:
        DataError: It has none, too many, one twice, or one that is no text.
    """
    if not given.pieces:
        raise DataError(f"{label} holds no pieces of text.")
    if len(given.pieces) > MOST:
        raise DataError(f"{label} has {len(given.pieces):,} pieces; {MOST:,} are read at most.")
    for piece in given.pieces:
        if not isinstance(piece, str) or not 0 < len(piece) <= LONGEST or _broken(piece):
            raise DataError(
                f"{label} has {quoted(piece)!r} for a piece, which is no text of up to "
                f"{LONGEST:,} characters."
            )
    if len(set(given.pieces)) < len(given.pieces):
        twice, _ = Counter(given.pieces).most_common(1)[0]
        raise DataError(f"{label} has the piece {quoted(twice)!r} twice.")
    return given


def _broken(piece: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in piece)


def _whole(path: Path, label: str) -> bytes:
    pieces, size = [], 0
    for block in read_blocks(path, label):
        pieces.append(block)
        if (size := size + len(block)) > MAX_FILE:
            raise DataError(f"{label} has more than {MAX_FILE:,} bytes, which are not read.")
    return b"".join(pieces)


def _words(path: Path, label: str) -> Given:
    """Return a list of words, or of words with how often each occurs."""
    found = [line.strip() for line in lines(read_blocks(path, label), label)]
    found = [line for line in found if line]
    rows = [line.split() for line in found]
    if rows and all(len(row) == 2 and row[1].isdigit() for row in rows):
        found = [row[0] for row in rows]
    elif odd := next((line for line, row in zip(found, rows, strict=True) if len(row) > 1), None):
        raise DataError(
            f"{label} has the line {quoted(odd)!r}; expected is a word a line, or a word and how "
            "often it occurs."
        )
    parts = {
        "##": sum(w.startswith("##") for w in found),
        "@@": sum(w.endswith("@@") for w in found),
    }
    for mark, count in parts.items():
        if count > 1:
            raise DataError(
                f"{label} lists parts of words ({count:,} of them with {mark}), and does not say "
                "how words are put together: give the tokenizer.json or the SentencePiece .model."
            )
    words = [word for word in dict.fromkeys(found) if not is_special(word)]
    left = len(set(found)) - len(words)
    told = f"{len(words):,} words" + (f" ({left} special ones are replaced)" if left else "")
    return Given("word", Form(False, True, False, "spaces"), words, told=told)
