"""Documents within a text: its lines, or its paragraphs.

Shapes: N symbols (code points or bytes), D documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from ..arrays import Array, ArrayFile
from ..splits import Part
from ..tables import MAX_LINE

Documents = Literal["files", "lines", "paragraphs"]

_LINE_FEED, _RETURN, _OPEN, _CLOSE, _QUOTE = b'\n\r[]"'
_BLANKS = np.frombuffer(b"\t\n\v\f\r ", np.uint8)
_READ = 1 << 20  # symbols that are looked through at a time
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Block(NamedTuple):
    """Some symbols of a text.

    Attributes:
        symbols: Code points or bytes (N,).
        lengths: How many of them each document has (D,); their sum is N, none is 0.
        begins: Whether the first document begins here, and does not go on from the block before.
    """

    symbols: Array
    lengths: npt.NDArray[np.int64]
    begins: bool


def whole(pieces: Iterable[Array]) -> Iterator[Block]:
    """Yield the pieces of one document.

    Args:
        pieces: Its symbols, piece by piece.
    """
    begins = True
    for piece in pieces:
        if len(piece):
            yield Block(piece, np.array([len(piece)]), begins)
            begins = False


def split(pieces: Iterable[Array], documents: Documents, label: str) -> Iterator[Block]:
    """Yield the documents in a text, whole ones.

    Lines end as in text files of any system; empty ones are no documents. Paragraphs are what blank
    lines part, without the white space around them; of a chess game in PGN, the tags and the moves
    are one.

    Args:
        pieces: The symbols, piece by piece.
        documents: `lines` or `paragraphs`; with `files`, all of it is one document.
        label: What messages call the text.

    Raises:
        DataError: One is too long to be a line or a paragraph.
    """
    if documents == "files":
        yield from whole(pieces)
        return
    find = _lines if documents == "lines" else _paragraphs
    held: list[Array] = []
    for piece in pieces:
        held.append(piece)
        ends_here = np.isin(piece, (_LINE_FEED, _RETURN))
        if not ends_here.any():
            if sum(map(len, held)) > MAX_LINE:
                raise DataError(_too_long(label, documents))
            continue
        text = np.concatenate(held)
        starts, ends = find(text)
        # the last one may go on
        line = len(text) - len(piece) + int(np.flatnonzero(ends_here)[-1])
        rest = int(starts[-1]) if len(starts) else line
        if len(text) - rest > MAX_LINE:
            raise DataError(_too_long(label, documents))
        held = [text[rest:]]
        yield from _taken(text, starts[:-1], ends[:-1])
    if held:
        text = np.concatenate(held)
        yield from _taken(text, *find(text))


def _too_long(label: str, documents: Documents) -> str:
    return (
        f"{label} has a {documents.rstrip('s')} of more than {MAX_LINE:,} symbols: is it a text by "
        "documents=files?"
    )


def _taken(text: Array, starts: Array, ends: Array) -> Iterator[Block]:
    """Yield what lies between starts and ends."""
    if not len(starts):
        return
    steps = np.zeros(len(text) + 1, np.int8)
    steps[starts] += 1
    steps[ends] -= 1
    yield Block(text[np.cumsum(steps[:-1], dtype=np.int8).astype(bool)], ends - starts, True)


def _lines(text: Array) -> tuple[Array, Array]:
    """Return where lines that are not empty begin and end."""
    inside = np.concatenate(([False], ~np.isin(text, (_LINE_FEED, _RETURN)), [False]))
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    return edges[::2], edges[1::2]


def _paragraphs(text: Array) -> tuple[Array, Array]:
    """Return where paragraphs begin and end."""
    filled = np.flatnonzero(~np.isin(text, _BLANKS))
    if not len(filled):
        return filled, filled
    feeds = (text == _LINE_FEED) | (text == _RETURN)
    # a return and a line feed are one line end
    new = feeds.copy()
    new[:-1] &= ~((text[:-1] == _RETURN) & (text[1:] == _LINE_FEED))
    ends = np.cumsum(new)[filled]
    # where the line of each position begins
    line = np.maximum.accumulate(np.where(feeds, np.arange(1, len(text) + 1), 0))
    last, following = filled[:-1], filled[1:]
    apart = np.diff(ends) >= 2
    tag = (text[line[last]] == _OPEN) & (text[last] == _CLOSE) & (text[last - 1] == _QUOTE)
    apart &= ~(tag & (text[following] != _OPEN))
    starts = line[np.concatenate((filled[:1], following[apart]))]
    return starts, np.concatenate((last[apart], filled[-1:])) + 1


def drawn(block: Block) -> npt.NDArray[np.float64]:
    """Return a number from 0 to 1 for each document of a block (D,), random but always the same.

    It depends on what the document says alone, so that equal documents have equal numbers.

    Args:
        block: Whole documents.
    """
    first = np.cumsum(block.lengths) - block.lengths
    place = np.arange(len(block.symbols)) - np.repeat(first, block.lengths)
    with np.errstate(over="ignore"):
        mixed = _mixed(block.symbols.astype(np.uint64) + place.astype(np.uint64) * _GOLDEN)
        whole = _mixed(np.add.reduceat(mixed, first))
    return whole.astype(np.float64) / 2.0**64


def counted(tokens: ArrayFile, symbol: int, stop: int | None = None) -> int:
    """Return how often a symbol occurs.

    Args:
        tokens: The text.
        symbol: Its number.
        stop: Where to stop counting; None: at the end.
    """
    stop = len(tokens) if stop is None else stop
    return sum(
        int((tokens[begin : min(begin + _READ, stop)] == symbol).sum())
        for begin in range(0, stop, _READ)
    )


def drawn_bounds(
    tokens: ArrayFile, end: int, documents: Mapping[Part, int]
) -> dict[Part, tuple[int, int]]:
    """Return the first pair of each part and the one after its last.

    Args:
        tokens: `[END, document, END, document, ...]`, part after part.
        end: END.
        documents: How many documents each part has.
    """
    total = len(tokens) - 1
    bounds: dict[Part, tuple[int, int]] = {}
    first = seen = begin = position = 0
    found = np.zeros(0, np.int64)  # of the ENDs in the block before `position`, those not passed
    for part, count in documents.items():
        seen += count  # ENDs before the part's end
        while begin + len(found) <= seen and position < len(tokens):
            begin += len(found)
            found = position + np.flatnonzero(tokens[position : position + _READ] == end)
            position += _READ
        stop = int(found[seen - begin]) if seen - begin < len(found) else total
        bounds[part] = first, min(stop, total)
        first = min(stop, total)
    return bounds


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix the bits (Steele et al. 2014, https://doi.org/10.1145/2660193.2660195: SplitMix)."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
