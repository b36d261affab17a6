"""Words as numbers, and back."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ..spec import VocabularySpec
from .characters import Ids, Unknown, UnknownCharacters
from .lookup import TokenLookup

_WORDS = re.compile(r"\n|\S+")


def words_of(text: str) -> list[str]:
    """Return what white space parts in a text, and the line feeds.

    Args:
        text: Any text.
    """
    return _WORDS.findall(text)


class WordVocabulary(TokenLookup):
    """Words as white space parts them, and line ends, as language models of words have them.

    Id 0 is the boundary between documents, 1 stands for any unknown word, 2 is a line's end, 3 and
    up are the words. Of the white space in a line, nothing but that there is some is kept.

    Args:
        symbols: The words, in the order of their ids; repeated ones count once.

    Examples:
        >>> vocabulary = WordVocabulary(["to", "be"])
        >>> vocabulary.encode("to  be").tolist()
        [3, 4]
        >>> vocabulary.decode([3, 4])
        'to be'
    """

    END: ClassVar[int] = 0
    UNKNOWN: ClassVar[int] = 1
    LINE: ClassVar[int] = 2
    never_written: ClassVar[tuple[int, ...]] = (UNKNOWN,)  # ids that a model must not generate
    kind: ClassVar[str] = "words"

    def __init__(self, symbols: Iterable[str]) -> None:
        self.symbols = [word for word in dict.fromkeys(symbols) if word != "\n"]
        self._ids = {"\n": self.LINE, **{word: n for n, word in enumerate(self.symbols, 3)}}
        self._default_index = self.UNKNOWN

    def _named(self) -> list[str]:
        return ["<end>", "<unk>", "\n", *self.symbols]

    @classmethod
    def of(cls, counts: Counter[str], size: int) -> WordVocabulary:
        """Return the vocabulary of the most frequent words; those that occur once are unknown.

        Args:
            counts: How often each word occurs.
            size: Words at most.
        """
        ordered = sorted(counts.keys() - {"\n"}, key=lambda word: (-counts[word], word))
        return cls(word for word in ordered[:size] if counts[word] > 1)

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.symbols) + 3

    def encode(self, text: str, *, unknown: Unknown = "error") -> Ids:
        """Return the ids of a text.

        Args:
            text: What to encode.
            unknown: What to do with a word that the vocabulary lacks: `error`, `skip` (leave it
                out) or `replace` (by the unknown symbol).

        Raises:
            UnknownCharacters: Names them, where `unknown` is `error`.
        """
        words = words_of(text)
        ids = np.array([self._ids.get(word, self.UNKNOWN) for word in words], dtype=np.int64)
        missing = ids == self.UNKNOWN
        if missing.any() and unknown == "error":
            lacking = Counter(words[n] for n in np.flatnonzero(missing))
            raise UnknownCharacters(lacking, noun="word")
        return ids[~missing] if unknown == "skip" else ids

    def encode_batch(self, texts: Iterable[str]) -> list[Ids]:
        """Return the ids of texts, unknown words as such.

        Args:
            texts: The texts.
        """
        return [self.encode(text, unknown="replace") for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; nothing for document boundaries, U+FFFD for unknown words."""
        return self.decoder().push(ids)

    def decoder(self, after: int = END) -> WordDecoder:
        """Return a decoder for ids that come one after another.

        Args:
            after: The id before the first of them.
        """
        return WordDecoder(self, after)

    def to_spec(self) -> VocabularySpec:
        """Return the vocabulary as plain data."""
        return {"kind": self.kind, "symbols": " ".join(self.symbols)}

    def characters(self, before: Ids, ids: Ids) -> Ids:
        """Return how many characters each id stands for, with the space before a word.

        A boundary is one, as in a model of characters, and an unknown word is none.

        Args:
            before: The id before each, of the shape of `ids`.
            ids: The ids, of any shape.
        """
        spaces = (before > self.LINE) & (ids > self.LINE)
        counts: Ids = self._lengths[ids] + spaces
        return counts

    @functools.cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        return np.array([1, 0, 1, *map(len, self.symbols)])


class WordDecoder:
    """Puts spaces between words, and none around the ends of lines.

    Args:
        vocabulary: The words.
        after: The id before the first.
    """

    def __init__(self, vocabulary: WordVocabulary, after: int) -> None:
        self._vocabulary = vocabulary
        self._inside = after not in (vocabulary.END, vocabulary.LINE)

    def push(self, ids: Iterable[int]) -> str:
        """Return the text of more ids.

        Args:
            ids: The ids.
        """
        pieces = []
        for i in ids:
            inside = i not in (self._vocabulary.END, self._vocabulary.LINE)
            if inside:
                word = "\ufffd" if i == 1 else self._vocabulary.symbols[i - 3]
                pieces.append(f" {word}" if self._inside else word)
            elif i == self._vocabulary.LINE:
                pieces.append("\n")
            self._inside = inside
        return "".join(pieces)

    def finish(self) -> str:
        """Return what is left: nothing."""
        return ""
