"""A vocabulary of another program as its pieces, and what is no piece of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..spec import Kind
from .forms import Form

MOST = 1_000_000  # pieces
LONGEST = 1000  # characters of a piece
# What other programs call what is no text, whatever brackets are around it.
_SPECIAL = ("pad", "s", "/s", "unk", "bos", "eos", "cls", "sep", "mask", "end", "start", "blank")


class Given(NamedTuple):
    """A vocabulary of another program.

    Attributes:
        kind: What its pieces are.
        form: How text is prepared for it.
        pieces: The pieces, without special ones.
        scores: Of `unigram`, the log-probability of each.
        merges: Of `bpe`, which two pieces make another one, in order.
        told: What was understood, and what is left out, as a phrase.
    """

    kind: Kind
    form: Form
    pieces: list[str]
    scores: Sequence[float] = ()
    merges: Sequence[tuple[str, str]] = ()
    told: str = ""


def is_special(piece: str) -> bool:
    """Say whether a piece has the name of what is no text: `<s>`, `[PAD]`, `<|end|>`.

    Args:
        piece: The piece.
    """
    inner = piece[1:-1].strip("|_").lower()
    ends = (piece[:1], piece[-1:])
    return ends in (("<", ">"), ("[", "]")) and inner in _SPECIAL
