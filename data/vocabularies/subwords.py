"""Subwords of bytes as numbers, and back: byte-pair encoding that loses nothing of any text."""

from __future__ import annotations

import codecs
import functools
import json
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from ...errors import UsageError
from ..spec import VocabularySpec
from .byte_pieces import BYTE_OF, BYTES, name_of
from .characters import Ids, Unknown
from .lookup import TokenLookup

# A word with the space before it; a number; signs; white space. Marks belong to their letters.
_PIECES = r" ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
_LONGEST = 128  # bytes of a subword


class SubwordVocabulary(TokenLookup):
    """Byte-pair encoding of UTF-8 (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909).

    As GPT-2 has it (Radford et al. 2019): pieces are made of bytes, so that no text has unknown
    ones, and nothing is normalised, so that `decode` gives back every text as it was. Id 0 is the
    boundary between documents, 1 to 256 are the bytes, the pieces follow in the order of merging.

    Args:
        merges: Which two pieces make another one, in order, as the library shows them.

    Raises:
        UsageError: One merges what is no piece yet.
    """

    END: ClassVar[int] = 0
    never_written: ClassVar[tuple[int, ...]] = ()
    kind: ClassVar[str] = "subwords"

    def __init__(self, merges: Iterable[tuple[str, str]]) -> None:
        self._merges = list(merges)
        numbers = {character: number for number, character in enumerate(BYTES)}
        for first, second in self._merges:
            joined = first + second
            if first not in numbers or second not in numbers or len(joined) > _LONGEST:
                raise UsageError(
                    "This is no vocabulary of subwords: it merges what are none of it."
                )
            numbers.setdefault(joined, len(numbers))
        self.symbols = [bytes(BYTE_OF[character] for character in piece) for piece in numbers]
        self._numbers = numbers

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> SubwordVocabulary:
        """Make a vocabulary from texts.

        Args:
            texts: The texts.
            size: Ids at most; those of bytes are always there.
        """
        tokenizer = _around(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=max(size - 1, 256),
            min_frequency=2,
            max_token_length=_LONGEST,
            initial_alphabet=BYTES,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        return cls((first, second) for first, second in merges)

    @classmethod
    def from_symbols(cls, symbols: str) -> SubwordVocabulary:
        """Return what `to_spec` described.

        Args:
            symbols: A merge a line, its two pieces with a space in between.

        Raises:
            UsageError: It is nothing of the kind.
        """
        pairs = [tuple(line.split(" ")) for line in symbols.split("\n") if line]
        if any(len(pair) != 2 for pair in pairs):
            raise UsageError("This is no vocabulary of subwords: a merge is of two pieces.")
        return cls((pair[0], pair[1]) for pair in pairs)

    @functools.cached_property
    def names(self) -> list[str]:
        """What each id is called, all different: its text, with a sign for the space before it."""
        return ["<end>", *map(name_of, self.symbols)]

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        return _around(models.BPE(self._numbers, self._merges))

    def _named(self) -> list[str]:
        return self.names

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.symbols) + 1

    def encode(self, text: str, *, unknown: Unknown = "error") -> Ids:
        """Return the ids of a text.

        Args:
            text: What to encode.
            unknown: Without effect, nothing is unknown.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of texts.

        Args:
            texts: The texts.
        """
        readable = [text.encode("utf-8", "replace").decode() for text in texts]
        return [
            np.array(encoding.ids, dtype=np.int64) + 1
            for encoding in self._tokenizer.encode_batch_fast(readable, add_special_tokens=False)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; nothing for document boundaries, U+FFFD for what is no UTF-8."""
        return self._bytes(ids).decode("utf-8", "replace")

    def _bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join(self.symbols[i - 1] for i in ids if i != self.END)

    def decoder(self, after: int = END) -> SubwordDecoder:
        """Return a decoder for ids one after another; it holds back an incomplete character.

        Args:
            after: The id before the first of them.
        """
        return SubwordDecoder(self)

    def as_tokenizer(self) -> str:
        """Return the vocabulary as the `tokenizers` library reads it; its ids are one less."""
        return self._tokenizer.to_str()

    def to_spec(self) -> VocabularySpec:
        """Return the vocabulary as plain data."""
        symbols = "\n".join(f"{first} {second}" for first, second in self._merges)
        return {"kind": self.kind, "symbols": symbols}

    def characters(self, before: Ids, ids: Ids) -> Ids:
        """Return how many characters each id stands for: those that begin in it.

        A boundary is one, as in a model of characters.

        Args:
            before: The id before each, of the shape of `ids`.
            ids: The ids, of any shape.
        """
        counts: Ids = self._lengths[ids]
        return counts

    @functools.cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        # all bytes of a character but its first begin with the bits 10
        begins = [sum(byte & 0xC0 != 0x80 for byte in piece) for piece in self.symbols]
        return np.array([1, *begins])


class SubwordDecoder:
    """Gives the characters that are complete.

    Args:
        vocabulary: The subwords.
    """

    def __init__(self, vocabulary: SubwordVocabulary) -> None:
        self._vocabulary = vocabulary
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, ids: Iterable[int]) -> str:
        """Return the text that is complete after more ids.

        Args:
            ids: The ids.
        """
        return self._utf8.decode(self._vocabulary._bytes(ids))

    def finish(self) -> str:
        """Return what is left, damaged where the ids ended within a character."""
        return self._utf8.decode(b"", final=True)


def _around(model: models.BPE) -> Tokenizer:
    """Return a tokenizer with a model."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
