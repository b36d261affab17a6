"""What captions score that saw no image: a decoder that has collapsed is no better."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import distributed

from ...errors import quoted
from ..metrics import CiderD
from ..metrics.caption import caption_scores

_CANDIDATES = 100
_IMAGES = 300
_FEWEST = 20  # images that say something about all


class Said(NamedTuple):
    """What was said of an image.

    Attributes:
        number: The image's number in its part.
        caption: What the model said.
        references: What people said.
    """

    number: int
    caption: str
    references: Sequence[str]


def of_all_processes(said: list[Said], processes: int) -> list[Said]:
    """Return what all processes said, each image once, in the order of their numbers.

    Args:
        said: What this one said.
        processes: How many there are.
    """
    shares: list[list[Said]] = [said]
    if processes > 1:
        shares = [[] for _ in range(processes)]
        distributed.all_gather_object(shares, said)
    by_number = {one.number: one for share in shares for one in share}
    return [by_number[number] for number in sorted(by_number)]


def shuffled(said: Sequence[Said]) -> list[Said]:
    """Give each image the caption of the next, and the last the first's.

    Args:
        said: What was said of each image.
    """
    return [
        one._replace(caption=other.caption)
        for one, other in zip(said, [*said[1:], *said[:1]], strict=True)
    ]


def best_constant(training: Iterable[Sequence[str]], said: Sequence[Said]) -> str:
    """Return the frequent training caption with the highest CIDEr-D when it is said of every image.

    Args:
        training: The references of each training image; without any, those of `said` take their
            place.
        said: The images that it is to be said of; a part of them decides.
    """
    counts = Counter(text for texts in training for text in texts)
    counts = counts or Counter(text for one in said for text in one.references)
    common = [text for text, _ in counts.most_common(_CANDIDATES)]
    scorer = CiderD.from_references([one.references for one in said])
    some = [one.references for one in said[:: max(1, len(said) // _IMAGES)]]
    # in one call, which counts the references' n-grams once
    scores = iter(scorer.scores([text for text in common for _ in some], some * len(common)))
    totals = {text: sum(itertools.islice(scores, len(some))) for text in common}
    return max(common, key=totals.__getitem__, default="")


class Blindness:
    """Says when captions are worse than the best one that is said of every image."""

    def __init__(self) -> None:
        self._constant: tuple[int, str, float] | None = None

    def doubts(
        self, said: Sequence[Said], training: Iterable[Sequence[str]]
    ) -> list[tuple[str, str]]:
        """Return what is doubtful: its kind, and a sentence about it.

        Args:
            said: What was said of each image.
            training: The references of each training image, as in `best_constant`.
        """
        if len(said) < _FEWEST:
            return []
        references = [one.references for one in said]
        if self._constant is None or self._constant[0] != len(said):  # another part
            constant = best_constant(training, said)
            best = caption_scores([constant] * len(said), references)["cider_d"]
            self._constant = len(said), constant, best
        _, constant, best = self._constant
        own = caption_scores([one.caption for one in said], references)["cider_d"]
        if own > best:
            return []
        sentence = (
            f"the captions score a CIDEr-D of {own:.3f}, and '{quoted(constant)}' said of every "
            f"image {best:.3f}: the model has not learnt to look yet. Train longer, with another "
            "learning rate, or on more data."
        )
        return [("blind", sentence)]
