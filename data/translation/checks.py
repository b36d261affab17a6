"""What may be wrong with a part of parallel data without being an error."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TypedDict

import numpy as np

from ..cache import cached_json, key_of
from ..splits import Part
from ..tokenizer import Subwords
from .dataset import PairFiles

_FORMAT = 2  # of what is kept in the cache: raise it when the checks change
_SAMPLE = 2000  # pairs of each part that are looked at
_ORDER = 3  # characters of the pieces that tell languages apart
_CLEAR = 0.5  # nats a piece by which the wrong language has to be the likelier
_FEW = 10  # times that a symbol should occur on average, at least
_UNKNOWN = 0.005  # share of symbols that is told of


class PairChecks(TypedDict):
    """What was found.

    Attributes:
        pairs: Pairs of the part.
        sources: Pairs among them whose source the training part has as well, however translated.
        shared: Pairs among them that the training part has as well.
        sampled: Sources looked at.
        swapped: Sources among them that look more like the training part's targets than like its
            sources.
    """

    pairs: int
    sources: int
    shared: int
    sampled: int
    swapped: int


def check_pairs(train: PairFiles, part: PairFiles, source: Subwords, folder: Path) -> PairChecks:
    """Compare a part with the training part; the result is kept in the cache.

    Args:
        train: The training part.
        part: The other one.
        source: The source's vocabulary.
        folder: The cache.
    """

    def compare() -> PairChecks:
        sampled, swapped = _swapped(train, part, source)
        sources, shared = (
            int(np.isin(ours, theirs).sum())
            for ours, theirs in zip(part.digests, train.digests, strict=True)
        )
        return {
            "pairs": len(part),
            "sources": sources,
            "shared": shared,
            "sampled": sampled,
            "swapped": swapped,
        }

    key = key_of(_FORMAT, train.folder.name, part.folder.name)
    checks: PairChecks = cached_json(folder / f"checks-{key}.json", compare)
    return checks


def symbol_doubts(
    files: PairFiles, part: Part, vocabularies: tuple[Subwords, Subwords], size: int | None
) -> list[str]:
    """Say what is doubtful about the symbols of a part: too many of them, or unknown ones.

    Args:
        files: The part.
        part: Which it is.
        vocabularies: The source's and the target's.
        size: How many symbols the vocabularies were to have at most; None: as the text says.
    """
    found = []
    noun = "words" if vocabularies[0].kind == "word" else "subwords"
    sides = ("sources", "targets")
    if part == "train":
        joint = vocabularies[0] is vocabularies[1]
        counts = [int(lengths.sum()) - len(files) for lengths in files.lengths]
        for side, vocabulary, count in zip(sides, vocabularies, counts, strict=True):
            total = sum(counts) if joint else count
            if size is not None and total < _FEW * vocabulary.size:
                found.append(
                    f"{vocabulary.size:,} {noun} for {total:,} in the training "
                    f"{'pairs' if joint else side}: each occurs {total / vocabulary.size:.1f} "
                    "times on average, too rarely to be learnt. Leave --data.vocabulary_size out: "
                    "it is sized by the data then."
                )
            if joint:
                break
        return found
    if noun == "words":
        remedy = "--data.kind bpe knows parts of words, too."
    elif size is None:
        remedy = "They are of letters that the vocabulary lacks."
    else:
        remedy = (
            "Leave --data.vocabulary_size out: all letters of the training part are known then."
        )
    for side, share in zip(sides, files.unknown(), strict=True):
        if share > _UNKNOWN:
            found.append(
                f"{share:.1%} of the {noun} of the {part} {side} are unknown symbols, which the "
                f"model can't tell apart. {remedy}"
            )
    return found


def _swapped(train: PairFiles, part: PairFiles, source: Subwords) -> tuple[int, int]:
    """Return how many sources were looked at, and how many look like targets."""
    numbers = _sample(train)
    models = (
        Counter(
            piece
            for number in numbers
            for piece in _pieces(source.decode(train.source_ids(number)))
        ),
        Counter(piece for number in numbers for piece in _pieces(train.target_text(number))),
    )
    totals = [sum(model.values()) + len(models[0] | models[1]) for model in models]
    swapped = 0
    numbers = _sample(part)
    for number in numbers:
        pieces = _pieces(source.decode(part.source_ids(number)))
        odds = [
            math.log((models[1][piece] + 1) / totals[1])
            - math.log((models[0][piece] + 1) / totals[0])
            for piece in pieces
        ]
        swapped += sum(odds) > _CLEAR * len(odds) > 0
    return len(numbers), swapped


def _sample(files: PairFiles) -> list[int]:
    count = min(len(files), _SAMPLE)
    return [number * len(files) // count for number in range(count)]


def _pieces(text: str) -> list[str]:
    text = f" {text.lower()} "
    return [text[first : first + _ORDER] for first in range(len(text) - _ORDER + 1)]
