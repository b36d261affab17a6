"""What `unrolled check` looks at in images with captions."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from ...data.captioning.base import CaptioningData
from ...data.captioning.captions import CaptionData
from ...data.captioning.pictures import ImageFiles
from ...data.splits import PARTS, Part
from ...data.tokenizer import Subwords
from ...errors import DataError, some
from .reading import Read
from .report import Report, alike, doubles, percent, scripts, shared, spread

_DECODED = 2000  # images that are read whole
_UNKNOWN = 0.05  # share of the words
_BLOCK = 1 << 20


def look(read: Read, report: Report) -> None:
    """Look at images with captions.

    Args:
        read: The data, `CaptioningData`.
        report: Where to say it.
    """
    data = read.data
    assert isinstance(data, CaptioningData)
    stops = isinstance(data, CaptionData) and data.missing == "error"
    if isinstance(data, CaptionData):
        data.missing = "skip"  # so that all of them are named
    before = len(report.doubts)
    with report.hearing():
        references = {part: data.references(part) for part in PARTS}
    if stops and any("can't be used" in doubt for doubt in report.doubts[before:]):
        report.stop("`fit` stops at images that can't be used; --data.missing skip leaves them out")
    counts = {part: len(found) for part, found in references.items()}
    report.tell("images", ", ".join(f"{part} {count:,}" for part, count in counts.items()))
    texts = {part: [text for each in found for text in each] for part, found in references.items()}
    if texts["train"]:
        _tell_captions(data, references, texts, report)
    if isinstance(data, CaptionData):
        _tell_files(data, report)
        _decode(data, report)


def _tell_captions(
    data: CaptioningData,
    references: dict[Part, list[tuple[str, ...]]],
    texts: dict[Part, list[str]],
    report: Report,
) -> None:
    several = Counter(len(each) for found in references.values() for each in found)
    told = ", ".join(f"{n} of {count:,} images" for n, count in sorted(several.items())[:6])
    report.tell("captions", f"{sum(map(len, texts.values())):,}: {told}")
    report.tell("scripts", scripts(itertools.chain.from_iterable(texts.values())))
    words = data.vocabulary
    lengths = np.array(
        [len(ids) for ids in words.encode_batch([*map(data.learnt, texts["train"])])]
    )
    unit = "words" if words.kind == "word" else "symbols"
    report.tell("lengths", f"{spread(lengths)} {unit}")
    report.tell("vocabulary", f"{words.size:,} symbols")
    for part in PARTS:
        ids = words.encode_batch([*map(data.learnt, texts[part])])
        unknown = sum(row.count(Subwords.UNKNOWN) for row in ids)
        total = sum(map(len, ids))
        if total:
            report.tell("unknown", f"{part}: {percent(unknown, total)} {unit}")
        if unknown > _UNKNOWN * total:
            report.doubt(
                f"{part}: {percent(unknown, total)} {unit} are unknown: a smaller --data.min_count "
                "knows more"
            )
    numbers = {part: np.array([*map(alike, found)], np.int64) for part, found in texts.items()}
    more = doubles(numbers["train"])
    report.tell("doubles", f"{percent(more, len(numbers['train']))} training captions come again")
    if more > len(numbers["train"]) / 2:
        report.doubt(
            f"train: {percent(more, len(numbers['train']))} captions are the same as another: a "
            "model that looks at nothing does well"
        )
    for part in ("val", "test"):
        if len(numbers[part]):
            both = shared(numbers[part], numbers["train"])
            told = percent(both, len(numbers[part]))
            report.tell("overlap", f"{part} with train: {told} captions are the same")


def _tell_files(data: CaptionData, report: Report) -> None:
    """Look for the same image in several places, by the bytes of those with the same size."""
    by_size: dict[int, list[tuple[Part, Path]]] = defaultdict(list)
    for part in PARTS:
        images = data.images(part)
        for path in images.paths if isinstance(images, ImageFiles) else ():
            by_size[path.stat().st_size].append((part, path))
    same: dict[bytes, list[tuple[Part, Path]]] = defaultdict(list)
    for found in by_size.values():
        for part, path in found if len(found) > 1 else ():
            same[_digest(path)].append((part, path))
    again = [found for found in same.values() if len(found) > 1]
    if not again:
        return
    report.doubt(
        f"{sum(map(len, again)):,} image files hold {len(again):,} different images: "
        f"{some((path.name for _, path in again[0]), 3)}"
    )
    for part in ("val", "test"):
        leaked = [
            path
            for found in again
            for where, path in found
            if where == part and any(other == "train" for other, _ in found)
        ]
        if leaked:
            report.doubt(
                f"{part}: {len(leaked):,} image(s) are in the training part too "
                f"({some((path.name for path in leaked), 3)}): scores say little about new images"
            )


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.digest()


def _decode(data: CaptionData, report: Report) -> None:
    """Read images whole: damage in the middle of a file is found by no quick look."""
    there = [(part, number) for part in PARTS for number in range(len(data.references(part)))]
    chosen = there[:: max(1, -(-len(there) // _DECODED))]
    wrong = []
    for part, number in chosen:
        try:
            data.images(part).open(number, data.image_size)
        except DataError as error:
            wrong.append(str(error))
    report.tell("decoded", f"{len(chosen):,} of {len(there):,} images, {len(wrong):,} are damaged")
    for message in wrong[:5]:
        report.doubt(message)
    if len(wrong) > 5:
        report.doubt(f"... and {len(wrong) - 5:,} more images that can't be read")
