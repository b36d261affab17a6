"""Words and subwords of a text: their vocabulary, sized by the text, and the text in them.

Shapes: N symbols.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from ...errors import UsageError
from ..arrays import Array
from ..vocabularies.given import read_vocabulary
from ..vocabularies.subwords import SubwordVocabulary
from ..vocabularies.words import WordVocabulary, words_of
from .documents import Block

Tokens = Literal["words", "subwords"]

_MOST_WORDS = 50_000
_MOST_SUBWORDS = 32_000
_CHARACTERS = 400  # of the text for each subword: so each is seen a hundred times or so
_READ = 1 << 26  # characters that subwords are made from at most
_HELD = 1 << 24  # characters without white space that are held back at most
_BLANKS = np.frombuffer(b"\t\n\v\f\r ", np.uint8)


def made(
    units: Tokens, blocks: Iterable[Block], characters: int, size: int | None
) -> WordVocabulary | SubwordVocabulary:
    """Return the vocabulary of a text.

    Args:
        units: What it is of.
        blocks: The text.
        characters: How many there are.
        size: Symbols at most; None: by the length of the text.
    """
    if units == "words":
        counts: Counter[str] = Counter()
        for text in _texts(blocks):
            counts.update(words_of(text))
        return WordVocabulary.of(counts, size or _MOST_WORDS)
    size = size or min(_MOST_SUBWORDS, 257 + characters // _CHARACTERS)
    return SubwordVocabulary.train(_first(_texts(blocks), _READ), size)


def given_vocabulary(name: str, units: str) -> WordVocabulary | SubwordVocabulary:
    """Return the vocabulary of a file of another program, and say what was understood.

    Args:
        name: The file, see `read_vocabulary`.
        units: What is to be modelled, `words` or `subwords`.

    Raises:
        UsageError: The file holds the other.
    """
    from ..vocabularies.hugging_face import merges_of_bytes

    found = read_vocabulary(name)
    if (found.kind == "word") != (units == "words"):
        held = "words" if found.kind == "word" else "subwords"
        raise UsageError(f"'{name}' is a vocabulary of {held}: add --data.units {held}.")
    rank_zero_info(f"Vocabulary: '{name}': {found.told}")
    if units == "words":
        # of a word with white space in it, no text has any
        return WordVocabulary(word for word in found.pieces if len(word.split()) == 1)
    return SubwordVocabulary(merges_of_bytes(found, f"'{name}'"))


def tokenized(block: Block, vocabulary: WordVocabulary | SubwordVocabulary) -> Block:
    """Return a text in words or subwords; a document may have none.

    Args:
        block: The text in characters, cut where no word is cut.
        vocabulary: The vocabulary.
    """
    found = vocabulary.encode_batch(list(_texts([block])))
    lengths = np.array([len(ids) for ids in found], dtype=np.int64)
    return Block(np.concatenate(found), lengths, block.begins)


def uncut(pieces: Iterable[Array]) -> Iterator[Array]:
    """Yield a text in other pieces, which begin with white space: no word is cut.

    Args:
        pieces: Its characters, cut anywhere.
    """
    held: list[Array] = []
    for piece in pieces:
        blank = np.isin(piece, _BLANKS)
        cuts = np.flatnonzero(blank[1:] & ~blank[:-1])
        if len(cuts):
            yield np.concatenate([*held, piece[: cuts[-1] + 1]])
            held = [piece[cuts[-1] + 1 :]]
            continue
        held.append(piece)
        if sum(map(len, held)) > _HELD:  # a script without spaces
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _texts(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        text = block.symbols.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        ends = np.cumsum(block.lengths)
        for first, end in zip((ends - block.lengths).tolist(), ends.tolist(), strict=True):
            yield text[first:end]


def _first(texts: Iterator[str], characters: int) -> Iterator[str]:
    for text in texts:
        if characters <= 0:
            return
        yield text[:characters].encode("utf-8", "replace").decode()
        characters -= len(text)
