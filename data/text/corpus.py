"""A text as an array of symbols on disk: surveyed once, encoded once, memory-mapped ever after.

The array is `[END, document, END, document, ...]`. Both passes read block by block, so memory does
not grow with the text. What they find is kept in the cache.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from ...errors import DataError, UsageError, did_you_mean
from ..arrays import Array, ArrayFile, cached_array
from ..cache import cached_json, key_of
from ..formats.letters import unmarked
from ..formats.packed import BLOCK_BYTES
from ..sources import Document, Source
from ..vocabulary import (
    ByteVocabulary,
    CharacterVocabulary,
    UnknownCharacters,
    Vocabulary,
    code_points,
)

Units = Literal["characters", "bytes"]
_FORMAT = 2  # of the files in the cache: raise it when they change


class Survey(TypedDict):
    """What the first pass finds.

    Attributes:
        documents: Documents that are not empty.
        symbols: Characters or bytes in all of them.
        counts: How often each character occurs; empty for bytes.
        sha256: Of all bytes, one document after the other.
    """

    documents: int
    symbols: int
    counts: dict[str, int]
    sha256: str


class Corpus:
    """A source, its survey, and its symbols as an array on disk.

    Args:
        source: The text.
        units: What a symbol is.
        encoding: How characters are stored in the source's bytes.
        cache: Folder for what was found.
    """

    def __init__(self, source: Source, *, units: Units, encoding: str, cache: Path) -> None:
        self.source = source
        self.units = units
        self.encoding = "utf-8" if source.utf8 else _checked(encoding)
        self._cache = cache
        decoder = self.encoding if units == "characters" else None
        self._key = key_of(_FORMAT, source.identity, units, decoder)

    def survey(self) -> Survey:
        """Return what the first pass finds, from the cache if it was made before."""
        survey: Survey = cached_json(self._cache / f"{self._key}.json", self._survey)
        return survey

    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary of the whole text."""
        return (
            ByteVocabulary()
            if self.units == "bytes"
            else CharacterVocabulary(self.survey()["counts"])
        )

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
        return cached_array(file, length, lambda: self._encode(vocabulary, length), np.int64)

    def _survey(self) -> Survey:
        documents = symbols = 0
        counts = np.zeros(0, dtype=np.int64)
        digest = hashlib.sha256()
        for document in self.source.documents():
            before = symbols
            for block, piece in self._pieces(document):
                digest.update(block)
                symbols += len(piece)
                if self.units == "characters":
                    found = np.bincount(piece, minlength=len(counts))
                    found[: len(counts)] += counts
                    counts = found
            documents += symbols > before
        if not symbols:
            raise DataError(f"{self.source.name} is empty: it holds no {self.units} to train on.")
        by_character = {chr(point): int(counts[point]) for point in np.flatnonzero(counts)}
        return {
            "documents": documents,
            "symbols": symbols,
            "counts": by_character,
            "sha256": digest.hexdigest(),
        }

    def _encode(self, vocabulary: Vocabulary, length: int) -> Iterator[Array]:
        """Yield the ids, END before each document that is not empty."""
        table = _table(vocabulary).astype(np.min_scalar_type(vocabulary.size - 1))
        end = np.array([vocabulary.END], dtype=table.dtype)
        written = 0
        for document in self.source.documents():
            started = False
            for _, piece in self._pieces(document):
                if not len(piece):
                    continue
                ids = table[np.minimum(piece, len(table) - 1)]
                yield ids if started else np.concatenate([end, ids])
                written += len(ids) + (not started)
                started = True
        if written != length:
            raise DataError(
                f"{self.source.name} changed while it was read; start again when it is complete."
            )

    def _pieces(self, document: Document) -> Iterator[tuple[bytes, Array]]:
        """Yield blocks of bytes, and the code points or bytes in each."""
        if self.units == "bytes":
            for block in document.blocks():
                yield block, np.frombuffer(block, dtype=np.uint8)
            return
        decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        position = 0
        begun = False
        try:
            for block in document.blocks():
                # a row of a data set is one block of any size
                for begin in range(0, len(block), BLOCK_BYTES):
                    part = block[begin : begin + BLOCK_BYTES]
                    held = len(decoder.getstate()[0])
                    start = position - held
                    position += len(part)
                    text = decoder.decode(part)
                    if text and not begun:  # a byte-order mark is no character of the text
                        text, begun = unmarked(text), True
                    yield part, code_points(text)
            start, part = position - len(decoder.getstate()[0]), decoder.getstate()[0]
            yield b"", code_points(decoder.decode(b"", final=True))
        except UnicodeDecodeError as error:
            raise DataError(
                _undecodable(document.name, self.encoding, start + error.start, error)
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
    if offset == 0 and error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return (
            f"{name} is not {encoding}: {byte}. It starts like UTF-16: try --data.encoding utf-16."
        )
    other = "latin-1 (or whichever it is)" if encoding.startswith("utf") else "utf-8"
    return (
        f"{name} is not {encoding}: {byte} ({error.reason}).\n"
        f"Say how it is encoded, --data.encoding {other}, or model its bytes as they are, "
        "--data.units bytes."
    )


def _table(vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    """Return the ids by code point or byte; the last one is for all code points from there on."""
    if isinstance(vocabulary, ByteVocabulary):
        return np.arange(1, 257)
    points = code_points(vocabulary.symbols)
    table = np.full(int(points.max(initial=0)) + 2, vocabulary.UNKNOWN, dtype=np.int64)
    table[points] = np.arange(2, vocabulary.size)
    return table
