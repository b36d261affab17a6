"""A text as an array of symbols on disk: surveyed once, encoded once, memory-mapped ever after.

The array is `[END, document, END, document, ...]`. All passes read block by block, so memory does
not grow with the text. What they find is kept in the cache.

Where lines or paragraphs are the documents, each is drawn for a part by itself: a list is often
sorted, and its end is not like its beginning. The array then holds those of training first.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from ...errors import DataError, UsageError, did_you_mean
from ..arrays import Array, ArrayFile, array_writer, cached_array
from ..cache import cached, cached_json, key_of
from ..formats.letters import composed, composed_pieces, unmarked
from ..formats.packed import BLOCK_BYTES
from ..sources import Document, Source
from ..splits import PARTS, Part
from ..tables import by_mark
from ..vocabulary import (
    ByteVocabulary,
    CharacterVocabulary,
    UnknownCharacters,
    Vocabulary,
    code_points,
    vocabulary_from_spec,
)
from .documents import Block, Documents, drawn, split

Units = Literal["characters", "bytes", "words", "subwords"]
_FORMAT = 5  # of the files in the cache: raise it when they change


class TextSurvey(TypedDict):
    """What the first pass finds.

    Attributes:
        documents: Documents that are not empty.
        symbols: Characters or bytes in all of them.
        counts: How often each character occurs; empty for bytes.
        composed: By how many characters the text became shorter, or (below 0) longer, when it was
            brought to Unicode's NFC; None where it was in it.
        parts: Documents of each part, where they are drawn; else empty.
        sha256: Of all bytes, one document after the other.
    """

    documents: int
    symbols: int
    counts: dict[str, int]
    composed: int | None
    parts: dict[Part, int]
    sha256: str


class Corpus:
    """A source, its survey, and its symbols as an array on disk.

    Args:
        source: The text.
        units: What a symbol is.
        encoding: How characters are stored in the source's bytes, where no byte-order mark says it.
        documents: What a document is: all of a source's, or each line or paragraph of them.
        shares: The share of each part, for which lines and paragraphs are drawn; all of them are
            for training when not given.
        size: Words or subwords at most; None: by the length of the text.
        normalize: Bring characters to Unicode's NFC; bytes stay as they are.
        cache: Folder for what was found.
    """

    def __init__(
        self,
        source: Source,
        *,
        units: Units,
        encoding: str,
        documents: Documents = "files",
        shares: Mapping[Part, Decimal] | None = None,
        size: int | None = None,
        normalize: bool = True,
        cache: Path,
    ) -> None:
        self.source = source
        self.units = units
        self.encoding = "utf-8" if source.utf8 else _checked(encoding)
        self.documents = documents
        self._limits = np.cumsum([float((shares or {}).get(part, 0)) for part in ("test", "val")])
        self._size = size
        self._normalize = normalize and units != "bytes"
        self._composed: int | None = None
        self._cache = cache
        decoder = [self.encoding, self._normalize] if units != "bytes" else None
        drawn_for = self._limits.tolist() if documents != "files" else None
        self._key = key_of(_FORMAT, source.identity, units, decoder, documents, drawn_for)

    def survey(self) -> TextSurvey:
        """Return what the first pass finds, from the cache if it was made before."""
        survey: TextSurvey = cached_json(self._cache / f"{self._key}.json", self._survey)
        return survey

    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary of the whole text."""
        if self.units == "bytes":
            return ByteVocabulary()
        if self.units == "characters":
            return CharacterVocabulary(self.survey()["counts"])
        from .tokens import made  # imports `tokenizers`

        units, characters = self.units, self.survey()["symbols"]
        file = self._cache / f"{key_of(self._key, self._size)}-vocabulary.json"
        spec = cached_json(
            file, lambda: made(units, self._blocks(), characters, self._size).to_spec()
        )
        return vocabulary_from_spec(spec)

    def tokens(
        self, vocabulary: Vocabulary, *, unknown: Literal["error", "replace"] = "error"
    ) -> ArrayFile:
        """Return the text's symbols, from the cache if they were encoded before.

        Args:
            vocabulary: The ids.
            unknown: What to do with characters that the vocabulary lacks: `error` or `replace`.

        Raises:
            UnknownCharacters: If `unknown` is `error` and there are some.
        """
        survey = self.survey()
        if isinstance(vocabulary, CharacterVocabulary) and unknown == "error":
            lacking = {c: n for c, n in survey["counts"].items() if c not in vocabulary.symbols}
            if lacking:
                raise UnknownCharacters(
                    lacking,
                    where=self.source.name,
                    remedy="The model has never seen them: --data.unknown replace scores them as "
                    "one unknown symbol; otherwise remove them, or train on a text that has them "
                    "(--data.units bytes knows every text).",
                )
        file = self._cache / f"{self._key}-{key_of(vocabulary.to_spec())}.npy"
        length = survey["symbols"] + survey["documents"]

        if isinstance(vocabulary, CharacterVocabulary | ByteVocabulary):
            return cached_array(file, length, lambda: self._encode(vocabulary, length), np.int64)

        def encode(made: Path) -> None:
            with array_writer(made, np.min_scalar_type(vocabulary.size - 1)) as add:
                for ids in self._encode(vocabulary, length):
                    add(ids)

        return ArrayFile(cached(file, encode), np.int64)

    def _survey(self) -> TextSurvey:
        documents = symbols = 0
        counts = np.zeros(0, dtype=np.int64)
        parts = np.zeros(len(PARTS), dtype=np.int64)
        digest = hashlib.sha256()
        for block in self._blocks(digest):
            symbols += len(block.symbols)
            documents += len(block.lengths) - (not block.begins)
            if self.units == "characters":
                found = np.bincount(block.symbols, minlength=len(counts))
                found[: len(counts)] += counts
                counts = found
            if self.documents != "files":
                parts += np.bincount(self._part(block), minlength=len(PARTS))
        if not symbols:
            raise DataError(f"{self.source.name} is empty: it holds no {self.units} to train on.")
        by_character = {chr(point): int(counts[point]) for point in np.flatnonzero(counts)}
        return {
            "documents": documents,
            "symbols": symbols,
            "counts": by_character,
            "composed": self._composed,
            "parts": {
                part: int(count)
                for part, count in zip(PARTS, parts, strict=True)
                if self.documents != "files"
            },
            "sha256": digest.hexdigest(),
        }

    def _encode(self, vocabulary: Vocabulary, length: int) -> Iterator[Array]:
        """Yield the ids, END before each document."""
        read, dtype = 0, np.min_scalar_type(vocabulary.size - 1)
        for part in range(1 if self.documents == "files" else len(PARTS)):
            blocks = self._blocks()
            if self.documents != "files":
                blocks = (_only(block, self._part(block) == part) for block in blocks)
            for block, ids in _encoded(blocks, vocabulary):
                read += len(block.symbols) + len(block.lengths) - (not block.begins)
                first = np.cumsum(ids.lengths) - ids.lengths
                places = first if ids.begins else first[1:]
                yield np.insert(ids.symbols.astype(dtype), places, vocabulary.END)
        if read != length:
            raise DataError(
                f"{self.source.name} changed while it was read; start again when it is complete."
            )

    def _part(self, block: Block) -> npt.NDArray[np.int64]:
        """Return which of the parts each document is for."""
        # test, val, train, as 2, 1, 0
        return len(PARTS) - 1 - np.searchsorted(self._limits, drawn(block), side="right")

    def _blocks(self, digest: hashlib._Hash | None = None) -> Iterator[Block]:
        """Yield the symbols, and let a digest see all bytes."""
        for document in self.source.documents():
            pieces = self._pieces(document, digest)
            if self.units in ("words", "subwords") and self.documents == "files":
                from .tokens import uncut

                pieces = uncut(pieces)
            yield from split(pieces, self.documents, document.name)

    def _pieces(self, document: Document, digest: hashlib._Hash | None) -> Iterator[Array]:
        """Yield the code points or bytes of a document, block by block."""
        if self.units == "bytes":
            for block in document.blocks():
                if digest is not None:
                    digest.update(block)
                yield np.frombuffer(block, dtype=np.uint8)
            return
        texts = self._decoded(document, digest)
        for text in self._in_nfc(texts) if self._normalize else texts:
            yield code_points(text)

    def _in_nfc(self, texts: Iterator[str]) -> Iterator[str]:
        """Yield a document in NFC, and note whether it was not."""
        before = after = 0
        changed = False

        def counted() -> Iterator[str]:
            nonlocal before, changed
            for text in texts:
                before += len(text)
                changed = changed or not composed(text)
                yield text

        for text in composed_pieces(counted()):
            after += len(text)
            yield text
        if changed or before != after:
            self._composed = (self._composed or 0) + before - after

    def _decoded(self, document: Document, digest: hashlib._Hash | None) -> Iterator[str]:
        """Yield a document's characters, block by block."""
        marked, blocks = by_mark(document.blocks())
        encoding = marked or self.encoding
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        position = 0
        begun = False
        try:
            for block in blocks:
                # a row of a data set is one block of any size
                for begin in range(0, len(block), BLOCK_BYTES):
                    part = block[begin : begin + BLOCK_BYTES]
                    start = position - len(decoder.getstate()[0])
                    if digest is not None:
                        digest.update(part)
                    position += len(part)
                    text = decoder.decode(part)
                    if text and not begun:  # a byte-order mark is no character of the text
                        text, begun = unmarked(text), True
                    yield text
            start, part = position - len(decoder.getstate()[0]), decoder.getstate()[0]
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise DataError(
                _undecodable(document.name, encoding, start + error.start, error)
            ) from error


def _checked(encoding: str) -> str:
    """Return an encoding's proper name."""
    try:
        with contextlib.suppress(UnicodeError):
            b"a".decode(encoding)  # refuses codecs that are not for text
        codecs.getincrementaldecoder(encoding)
        return codecs.lookup(encoding).name
    except (LookupError, ValueError) as error:
        near = did_you_mean(
            encoding, ("utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "gb18030")
        )
        raise UsageError(
            f"There is no text encoding '{encoding}'.{near} Python's names are meant."
        ) from error


def _undecodable(name: str, encoding: str, offset: int, error: UnicodeDecodeError) -> str:
    byte = f"byte 0x{error.object[error.start]:02x} at offset {offset}"
    other = "latin-1 (or whichever it is)" if encoding.startswith("utf") else "utf-8"
    return (
        f"{name} is not {encoding}: {byte} ({error.reason}).\n"
        f"Say how it is encoded, --data.encoding {other}, or model its bytes as they are, "
        "--data.units bytes."
    )


def _encoded(blocks: Iterator[Block], vocabulary: Vocabulary) -> Iterator[tuple[Block, Block]]:
    """Yield blocks that are not empty, and the same as ids."""
    if isinstance(vocabulary, CharacterVocabulary | ByteVocabulary):
        table = _table(vocabulary)
        for block in blocks:
            if len(block.symbols):
                ids = table[np.minimum(block.symbols, len(table) - 1)]
                yield block, block._replace(symbols=ids)
        return
    from .tokens import tokenized

    for block in blocks:
        if len(block.symbols):
            yield block, tokenized(block, vocabulary)


def _only(block: Block, wanted: npt.NDArray[np.bool_]) -> Block:
    """Return some of a block's documents."""
    return Block(
        block.symbols[np.repeat(wanted, block.lengths)], block.lengths[wanted], block.begins
    )


def _table(vocabulary: CharacterVocabulary | ByteVocabulary) -> npt.NDArray[np.int64]:
    """Return the ids by code point or byte; the last one is for all code points from there on."""
    if isinstance(vocabulary, ByteVocabulary):
        return np.arange(1, 257)
    points = code_points(vocabulary.symbols)
    table = np.full(int(points.max(initial=0)) + 2, vocabulary.UNKNOWN, dtype=np.int64)
    table[points] = np.arange(2, vocabulary.size)
    return table
