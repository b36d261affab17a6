"""What `unrolled check` looks at in pairs of sentences."""

from __future__ import annotations

import itertools
import math
from array import array

import numpy as np
import numpy.typing as npt

from ...data.splits import PARTS, Part
from ...data.translation.base import TranslationData
from ...data.translation.languages import order_of
from ...data.translation.pairs import Pairs
from ...data.translation.parallel import ParallelData
from .reading import Read
from .report import Report, alike, doubles, percent, scripts, shared, spread

_SAMPLE = 2000  # pairs whose symbols are looked at
_ODD = math.log(3)  # of a pair's ratio of lengths, against the part's own
_SHORT = 30  # characters: ratios of shorter sentences say little


class _Part:
    """What one pass over a part counts."""

    def __init__(self, pairs: Pairs) -> None:
        numbers = {name: array("q") for name in ("pair", "source", "target")}
        ratios = array("f")
        self.empty: list[int] = []
        self.same: list[int] = []
        for number, (source, target) in enumerate(pairs.read()):
            sides = alike(source), alike(target)
            for name, value in zip(numbers, (hash(sides), *sides), strict=True):
                numbers[name].append(value)
            lengths = len(source.strip()), len(target.strip())
            if not all(lengths):
                self.empty.append(number)
            elif sides[0] == sides[1]:
                self.same.append(number)
            long = min(lengths) > 0 and max(lengths) >= _SHORT
            ratios.append(math.log(lengths[1] / lengths[0]) if long else math.nan)
        self.pair, self.source, self.target = (
            np.array(values, dtype=np.int64) for values in numbers.values()
        )
        self.ratios = np.array(ratios)

    def __len__(self) -> int:
        return len(self.pair)

    def odd(self) -> list[int]:
        """Return pairs of which one side is three times as long as the other ones' are."""
        if np.isnan(self.ratios).all():
            return []
        far = np.abs(self.ratios - np.nanmedian(self.ratios)) > _ODD
        found: list[int] = np.flatnonzero(far).tolist()
        return found

    def ambiguous(self) -> int:
        """Return how many sources have several translations."""
        first = np.unique(self.pair, return_index=True)[1]
        times: npt.NDArray[np.int64] = np.unique(self.source[first], return_counts=True)[1]
        return int((times > 1).sum())


def look(read: Read, report: Report) -> None:
    """Look at pairs of sentences.

    Args:
        read: The data, `TranslationData`.
        report: Where to say it.
    """
    data = read.data
    assert isinstance(data, TranslationData)
    with report.hearing():
        data.prepare_data()
    found = {part: pairs for part in PARTS if (pairs := data.pairs(part)) is not None}
    parts = {part: _Part(pairs) for part, pairs in found.items()}
    report.tell("pairs", ", ".join(f"{part} {len(count):,}" for part, count in parts.items()))
    train = parts["train"]
    for name, side in (("sources", 0), ("targets", 1)):
        report.tell(name, scripts(pair[side] for pair in found["train"].read()))
    _tell_symbols(data, found, report)
    for part, pairs in found.items():
        _tell_part(part, pairs, parts[part], report)
        if part != "train" and not data.correct:
            _tell_overlap(part, parts[part], train, report)
    if isinstance(data, ParallelData):
        _tell_direction(data, found["train"], report)


def _tell_symbols(data: TranslationData, found: dict[Part, Pairs], report: Report) -> None:
    sizes = dict.fromkeys(each.size for each in data.vocabularies)
    files = data.files("train")
    if files is not None and len(files):
        for name, lengths in zip(("sources", "targets"), files.lengths, strict=True):
            report.tell("lengths", f"{name} in training: {spread(lengths - 1)} subwords")
    report.tell("vocabulary", f"{' and '.join(f'{size:,}' for size in sizes)} symbols")
    for part in found:
        if (pairs := data.files(part)) is not None:
            for doubt in data.symbol_doubts(part, pairs):
                report.doubt(doubt)


def _tell_part(part: str, pairs: Pairs, found: _Part, report: Report) -> None:
    what = {
        "have an empty side": found.empty,
        "are the same text on both sides": found.same,
        "have sides of very different lengths": found.odd(),
    }
    for text, numbers in what.items():
        if numbers:
            report.doubt(
                f"{part}: {percent(len(numbers), len(found))} pairs {text}: "
                f"{pairs.where(numbers[:3], len(numbers))}"
            )
    if part == "train":
        more = doubles(found.pair)
        report.tell("doubles", f"{percent(more, len(found))} training pairs have occurred before")
        report.tell("ambiguous", f"{found.ambiguous():,} sources have several translations")
        if more > len(found) / 10:
            report.doubt(f"train: {percent(more, len(found))} pairs have occurred before")


def _tell_overlap(part: str, found: _Part, train: _Part, report: Report) -> None:
    counts = {
        "pairs": shared(found.pair, train.pair),
        "sources": shared(found.source, train.source),
        "targets": shared(found.target, train.target),
    }
    told = ", ".join(f"{name} {percent(count, len(found))}" for name, count in counts.items())
    report.tell("overlap", f"{part} with train, but for capitals and blanks: {told}")
    # sources whose translation differs are a leak as well: the model has seen the question
    if counts["sources"] > len(found) / 100:
        report.doubt(
            f"{part}: {percent(counts['sources'], len(found))} sources are in the training part, "
            f"{counts['pairs']:,} with the same translation: scores say little about new sentences"
        )


def _tell_direction(data: ParallelData, pairs: Pairs, report: Report) -> None:
    sample = list(itertools.islice(pairs.read(), _SAMPLE))
    left, right = ([pair[side] for pair in sample] for side in (0, 1))
    if order_of(data.source, data.target, left, right) < 0:
        report.doubt(
            f"train: the sources read like '{data.target}' and the targets like '{data.source}': "
            "are the two sides exchanged?"
        )
