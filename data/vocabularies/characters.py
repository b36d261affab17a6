"""Characters and bytes as numbers, and back."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from ..spec import VocabularySpec
from .lookup import TokenLookup

Ids = npt.NDArray[np.int64]
Unknown = Literal["error", "skip", "replace"]


class UnknownCharacters(DataError):
    """Characters, or words, that a vocabulary does not have.

    Attributes:
        counts: How often each of them occurs.
        noun: What one of them is.
    """

    def __init__(
        self,
        counts: Mapping[str, int],
        *,
        where: str = "the text",
        remedy: str = "",
        noun: str = "character",
    ) -> None:
        self.counts = dict(counts)
        self.noun = noun
        by_count = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        named = ", ".join(f"{character!r} ({count} x)" for character, count in by_count[:5])
        more = f" and {len(by_count) - 5} more" if len(by_count) > 5 else ""
        noun = noun if len(by_count) == 1 else f"{noun}s"
        remedy = remedy or "Leave them out, or choose unknown 'skip' or 'replace'."
        super().__init__(
            f"{where} has {len(by_count)} {noun} that the vocabulary lacks: {named}{more}.\n"
            f"{remedy}"
        )

    def told(self, *, where: str, remedy: str) -> UnknownCharacters:
        """Return the same, told for another place.

        Args:
            where: What has them.
            remedy: What to do.
        """
        return type(self)(self.counts, where=where, remedy=remedy, noun=self.noun)


class Decoder(Protocol):
    """Turns ids that come one after another into text, or into bytes where they are bytes."""

    def push(self, ids: Iterable[int]) -> Any:
        """Return what is complete after these ids."""

    def finish(self) -> Any:
        """Return what is left, damaged where the ids ended within a character."""


class CharacterVocabulary(TokenLookup):
    """Characters (Unicode code points).

    Id 0 is the boundary between documents, 1 stands for any unknown character, 2 and up are the
    characters.

    Args:
        symbols: The characters, in any order; repeated ones count once.

    Examples:
        >>> vocabulary = CharacterVocabulary("hello")
        >>> vocabulary.encode("hello").tolist()
        [3, 2, 4, 4, 5]
        >>> vocabulary.decode([3, 2, 4, 4, 5])
        'hello'
        >>> vocabulary.encode("help", unknown="replace").tolist()
        [3, 2, 4, 1]
    """

    END: ClassVar[int] = 0
    UNKNOWN: ClassVar[int] = 1
    never_written: ClassVar[tuple[int, ...]] = (UNKNOWN,)  # ids that a model must not generate
    kind: ClassVar[str] = "characters"

    def __init__(self, symbols: Iterable[str]) -> None:
        self.symbols = "".join(sorted(set(symbols)))
        self._default_index = self.UNKNOWN

    def _named(self) -> list[str]:
        return ["<end>", "<unk>", *self.symbols]

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.symbols) + 2

    @functools.cached_property
    def _table(self) -> npt.NDArray[np.int64]:
        """Ids by code point; -1 where unknown."""
        points = code_points(self.symbols)
        table = np.full(int(points.max()) + 1 if len(points) else 0, -1, dtype=np.int64)
        table[points] = np.arange(2, self.size)
        return table

    def encode(self, text: str, *, unknown: Unknown = "error") -> Ids:
        """Return the ids of a text.

        Args:
            text: What to encode.
            unknown: What to do with a character that the vocabulary lacks: `error`, `skip` (leave
                it out) or `replace` (by the unknown symbol).

        Raises:
            UnknownCharacters: Names them, where `unknown` is `error`.
        """
        points = code_points(text)
        known = points < len(self._table)
        ids = np.full(len(points), -1, dtype=np.int64)
        ids[known] = self._table[points[known]]
        missing = ids < 0
        if missing.any():
            if unknown == "error":
                values, counts = np.unique(points[missing], return_counts=True)
                raise UnknownCharacters(
                    {chr(v): int(c) for v, c in zip(values, counts, strict=True)}
                )
            ids = ids[~missing] if unknown == "skip" else np.where(missing, self.UNKNOWN, ids)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; nothing for document boundaries, U+FFFD for unknown symbols."""
        return "".join(
            "" if i == self.END else "\ufffd" if i == self.UNKNOWN else self.symbols[i - 2]
            for i in ids
        )

    def decoder(self, after: int = END) -> Decoder:
        """Return a decoder for ids that come one after another.

        Args:
            after: The id before the first of them.
        """
        return _CharacterDecoder(self)

    def to_spec(self) -> VocabularySpec:
        """Return the vocabulary as plain data."""
        return {"kind": self.kind, "symbols": self.symbols}


class _CharacterDecoder:
    def __init__(self, vocabulary: CharacterVocabulary) -> None:
        self._vocabulary = vocabulary

    def push(self, ids: Iterable[int]) -> str:
        return self._vocabulary.decode(ids)

    def finish(self) -> str:
        return ""


class ByteVocabulary(TokenLookup):
    """Bytes: id 0 is the boundary between documents, 1 to 256 are the bytes 0 to 255.

    Text is taken as UTF-8.

    Examples:
        >>> ByteVocabulary().encode("é").tolist()
        [196, 170]
        >>> ByteVocabulary().decode([196, 170])
        'é'
    """

    END: ClassVar[int] = 0
    never_written: ClassVar[tuple[int, ...]] = ()
    kind: ClassVar[str] = "bytes"
    size: ClassVar[int] = 257

    def _named(self) -> list[str]:
        # In UTF-8 the first 128 bytes are characters; the others are parts of some.
        shown = (chr(byte) if byte < 128 else f"0x{byte:02x}" for byte in range(256))
        return ["<end>", *shown]

    def encode(self, text: str | bytes, *, unknown: Unknown = "error") -> Ids:
        """Return the ids of a text (as UTF-8) or of bytes.

        Args:
            text: What to encode.
            unknown: Without effect, no byte is unknown.
        """
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        return np.frombuffer(data, dtype=np.uint8).astype(np.int64) + 1

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; nothing for document boundaries, U+FFFD for what is no UTF-8."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes of ids; nothing for document boundaries."""
        return bytes(int(i) - 1 for i in ids if i != self.END)

    def decoder(self, after: int = END) -> Decoder:
        """Return a decoder for ids one after another: it gives bytes.

        Args:
            after: The id before the first of them.
        """
        return _ByteDecoder(self)

    def to_spec(self) -> VocabularySpec:
        """Return the vocabulary as plain data."""
        return {"kind": self.kind, "symbols": ""}


class _ByteDecoder:
    def __init__(self, vocabulary: ByteVocabulary) -> None:
        self._vocabulary = vocabulary

    def push(self, ids: Iterable[int]) -> bytes:
        return self._vocabulary.decode_bytes(ids)

    def finish(self) -> bytes:
        return b""


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the code points of a text, (length,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
