"""What `unrolled check` looks at in a text for a language model."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...data.splits import PARTS, Part
from ...data.text.module import TextData
from ...errors import some
from .reading import Read
from .report import Report, doubles, percent, scripts_of, shared

_RARE = 10  # times; symbols that are rarer are hardly learnt
_LINE = 20  # symbols: shorter lines come again in every text
_BLOCK = 1 << 20
_REPLACED = "\ufffd"  # what a program writes for what it could not read


def look(read: Read, report: Report) -> None:
    """Look at a text.

    Args:
        read: The data, `TextData`.
        report: Where to say it.
    """
    data = read.data
    assert isinstance(data, TextData)
    with report.hearing():
        survey, corpus = data.corpus.survey(), data.corpus
    report.tell(
        "text",
        f"{corpus.source.name}: {survey['symbols']:,} "
        f"{'bytes' if data.units == 'bytes' else 'characters'}, {survey['documents']:,} "
        "document(s)",
    )
    counts = survey["counts"]
    if counts:
        _tell_characters(counts, report)
    report.tell("vocabulary", f"{data.vocabulary.size:,} symbols")
    if corpus.source.told:
        report.tell("left out", corpus.source.told)
    if survey["documents"] > 1 or (data.path and Path(data.path).is_dir()):
        _tell_documents(data, report)
    bounds = {part: data.bounds(part) for part in PARTS}
    sizes = {part: end - first for part, (first, end) in bounds.items()}
    report.tell("parts", ", ".join(f"{part} {size:,}" for part, size in sizes.items()))
    lines = {part: _lines(data, part) for part in PARTS if sizes[part]}
    train = lines.get("train")
    if train is None or not len(train):
        return
    more = doubles(train)
    report.tell("lines", f"{percent(more, len(train))} long training lines have occurred before")
    for part in ("val", "test"):
        found = lines.get(part, train[:0])
        if not len(found):
            continue
        both = shared(found, train)
        report.tell("overlap", f"{part} with train: {percent(both, len(found))} long lines")
        if both > len(found) / 10:
            report.doubt(
                f"{part}: {percent(both, len(found))} lines of {_LINE} symbols and more are in the "
                "training part too: scores say little about new text"
            )


def _tell_characters(counts: dict[str, int], report: Report) -> None:
    report.tell("scripts", scripts_of(counts))
    total = sum(counts.values())
    rare = sorted((one for one, n in counts.items() if n < _RARE), key=lambda one: counts[one])
    report.tell(
        "characters",
        f"{len(counts):,} different ones, {len(rare):,} of them fewer than {_RARE} times",
    )
    if len(rare) > len(counts) / 3:
        report.doubt(
            f"{len(rare):,} of {len(counts):,} characters occur fewer than {_RARE} times "
            f"({some(map(repr, rare), 5)}): --data.units bytes has no rare symbols"
        )
    if n := counts.get(_REPLACED, 0):
        report.doubt(
            f"{n:,} times the sign for what could not be read ({_REPLACED!r}): the text was "
            "damaged, or read in another encoding, before it was written"
        )
    if n := counts.get("\r", 0):
        report.doubt(f"{n:,} carriage returns: lines end as on Windows; `dos2unix` makes them one")
    odd = {one for one in counts if ord(one) < 32 and one not in "\t\n\r\f"}
    if odd:
        n = sum(counts[one] for one in odd)
        report.doubt(f"{percent(n, total)} are control characters ({some(map(repr, odd), 5)})")


def _tell_documents(data: TextData, report: Report) -> None:
    seen: dict[bytes, str] = {}
    again, empty = [], []
    for document in data.corpus.source.documents():
        digest, size = hashlib.sha256(), 0
        for block in document.blocks():
            digest.update(block)
            size += len(block)
        if not size:
            empty.append(document.name)
        if size and seen.setdefault(digest.digest(), document.name) != document.name:
            again.append(document.name)
    if empty:
        report.doubt(f"{len(empty):,} empty document(s): {some(empty, 3)}")
    if again:
        report.doubt(f"{len(again):,} document(s) are the same as one before: {some(again, 3)}")


def _lines(data: TextData, part: Part) -> npt.NDArray[np.int64]:
    """Return a number for each long line of a part, the same for the same lines."""
    end_of_line = data.vocabulary.encode("\n", unknown="replace")
    boundary = int(end_of_line[0]) if len(end_of_line) == 1 else -1
    found = array("q")
    for ids in _split(data, part, boundary):
        if len(ids) >= _LINE:
            found.append(hash(ids.tobytes()))
    return np.array(found, dtype=np.int64)


def _split(data: TextData, part: Part, boundary: int) -> Iterator[npt.NDArray[np.int64]]:
    first, end = data.bounds(part)
    rest = np.zeros(0, dtype=np.int64)
    for begin in range(first, end, _BLOCK):
        ids = np.concatenate((rest, data.tokens[begin : min(begin + _BLOCK, end)]))
        cuts = np.flatnonzero((ids == boundary) | (ids == 0))  # 0 is the end of a document
        pieces = np.split(ids, cuts + 1)
        yield from pieces[:-1]
        rest = pieces[-1]
    yield rest
