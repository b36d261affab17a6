"""Models of SentencePiece, read as data (Kudo and Richardson 2018).

See https://arxiv.org/abs/1808.06226. A model is a message of Protocol Buffers, of which a few
fields are read: field 1, repeated, is a piece (1 its text, 2 its score, 3 its type); field 2 how it
was trained (3 the kind of model, 24 whether spaces follow words); field 3 how text is normalised (1
by what, 3 whether a space is put in front). See https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ...errors import DataError, quoted
from .forms import Form
from .pieces import LONGEST, MOST, Given

_SPACE = "\u2581"
_UNIGRAM, _BPE, _WORD, _CHARACTERS = 1, 2, 3, 4
_NORMAL, _DEFINED, _BYTE = 1, 4, 6  # types of pieces; the others are no text
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NORMALIZED = {
    "": (False, False),  # lower case, NFKC
    "identity": (False, False),
    "nfkc": (False, True),
    "nmt_nfkc": (False, True),
    "nfkc_cf": (True, True),
    "nmt_nfkc_cf": (True, True),
}
_WORST = 1e9


class _Piece(NamedTuple):
    text: str
    score: float
    type: int


def from_sentencepiece(data: bytes, label: str) -> Given:
    """Return the pieces of a SentencePiece model.

    Args:
        data: The file.
        label: What messages call it.

    Raises:
        DataError: It is none, or prepares text in a way of its own.
    """
    pieces: list[_Piece] = []
    model, suffix, rule, prefix = _UNIGRAM, False, "", True
    try:
        for number, value in _fields(data):
            if number == 1 and isinstance(value, bytes):
                pieces.append(_piece(value))
                if len(pieces) > MOST:
                    raise DataError(f"{label} has more than {MOST:,} pieces, which are not read.")
            elif number == 2 and isinstance(value, bytes):
                training = dict(_fields(value))
                said = training.get(3, model)
                model = said if isinstance(said, int) else 0
                suffix = bool(training.get(24, 0))
            elif number == 3 and isinstance(value, bytes):
                normalized = dict(_fields(value))
                name = normalized.get(1, b"")
                rule = name.decode() if isinstance(name, bytes) else "?"
                prefix = bool(normalized.get(3, 1))
    except (ValueError, struct.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{label} is no SentencePiece model: its fields can't be read.") from error
    if not pieces or model not in (_UNIGRAM, _BPE, _WORD, _CHARACTERS):
        raise DataError(f"{label} is no SentencePiece model: it has no pieces.")
    if suffix or not prefix:
        raise DataError(
            f"{label} does not put the space before a word, which is what is read. Train it with "
            "--treat_whitespace_as_suffix=false --add_dummy_prefix=true."
        )
    if rule not in _NORMALIZED:
        raise DataError(
            f"{label} normalises text by rules of its own ({quoted(rule)}), which are not read. "
            "Train it with one of nmt_nfkc, nfkc, nmt_nfkc_cf, nfkc_cf and identity."
        )
    lowercase, compatible = _NORMALIZED[rule]
    form = Form(lowercase, compatible, False, "treebank", "spaces", compatible)
    return _given(pieces, model, form, label)


def _given(pieces: list[_Piece], model: int, form: Form, label: str) -> Given:
    kept = [piece for piece in pieces if piece.type in (_NORMAL, _DEFINED)]
    if any(not abs(piece.score) < _WORST for piece in kept):
        raise DataError(f"{label}: the score of a piece is no number.")
    texts = [piece.text for piece in kept]
    others = len(pieces) - len(kept)
    as_bytes = sum(piece.type == _BYTE for piece in pieces)
    left = f"; {others - as_bytes} special ones are replaced" if others - as_bytes else ""
    left += f"; {as_bytes} bytes left out: rare letters are unknown" if as_bytes else ""
    named = f"{len(texts):,} pieces of a SentencePiece model"
    if model == _WORD:
        words = [text.removeprefix(_SPACE) for text in texts]
        words = list(dict.fromkeys(word for word in words if word))
        form = form._replace(tokenizer="spaces", parted="letters", compatible=False)
        return Given("word", form, words, told=f"{named} of words{left}")
    if model == _UNIGRAM:
        scores = [piece.score for piece in kept]
        return Given("unigram", form, texts, scores, told=f"{named} (unigram){left}")
    merges = [] if model == _CHARACTERS else _merges(kept)
    kind = "characters" if model == _CHARACTERS else "BPE"
    return Given("bpe", form, texts, merges=merges, told=f"{named} ({kind}){left}")


def _merges(pieces: list[_Piece]) -> list[tuple[str, str]]:
    """Return all ways to make pieces of two others, the best piece first.

    SentencePiece joins the two neighbours whose whole has the best score; so does this order.
    """
    known = {piece.text for piece in pieces}
    ordered = sorted(pieces, key=lambda piece: -piece.score)
    return [
        pair
        for piece in ordered
        for place in range(1, len(piece.text))
        if known.issuperset(pair := (piece.text[:place], piece.text[place:]))
    ]


def _piece(data: bytes) -> _Piece:
    text, score, kind = "", 0.0, _NORMAL
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            text = value.decode()
            if len(text) > LONGEST:
                raise ValueError
        elif number == 2 and isinstance(value, float):
            score = value
        elif number == 3 and isinstance(value, int):
            kind = value
    return _Piece(text, score, kind)


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yield the fields of a message: their numbers and values.

    Raises:
        ValueError: The bytes are none.
    """
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == _BYTES:
            size, place = _varint(data, place)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError
        if not number or size > len(data) - place:
            raise ValueError
        content = data[place : place + size]
        place += size
        yield number, content if wire == _BYTES else _number(content)


def _number(content: bytes) -> float:
    found: float = struct.unpack("<f" if len(content) == 4 else "<d", content)[0]
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError
