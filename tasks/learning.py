"""Tells of training that learns nothing: what a score hides, in a line after validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from lightning.pytorch.utilities import rank_zero_info

from .metrics.frames import ClassCounts

_FEWEST = 20  # texts that say something about all
_SAME = 0.5  # share of one text among all that is too large
_VARIED = 0.1  # share of different texts among all that is too small
_ONE_CLASS = 0.9  # share of frames that one class is given
_WORTHLESS = 10.0  # F1 of the other classes, in percent


class Doubts:
    """Says what is doubtful when a second validation in a row finds it, or the last one does.

    After the first steps every model says the same about everything.
    """

    def __init__(self) -> None:
        self._before: set[str] = set()

    def tell(self, found: Iterable[tuple[str, str]], *, last: bool) -> None:
        """Print a line for each.

        Args:
            found: What is doubtful: its kind, and a sentence about it.
            last: Whether no validation follows.
        """
        doubts = dict(found)
        for kind, sentence in doubts.items():
            if last or kind in self._before:
                rank_zero_info(f"Warning: {sentence}")
        self._before = set(doubts)


class Variety:
    """Counts how different texts are that a model writes about different things.

    Args:
        noun: What the texts are called, `captions`.
        things: What they are about, `images`.
    """

    def __init__(self, noun: str, things: str) -> None:
        self.noun, self.things = noun, things
        self.reset()

    def reset(self) -> None:
        """Begin to count."""
        self._said: Counter[str] = Counter()
        self._wanted: Counter[str] = Counter()

    def add(self, texts: Sequence[str], references: Sequence[str | Sequence[str]]) -> None:
        """Count texts.

        Args:
            texts: What the model writes.
            references: What is right: a text, or several, for each.
        """
        self._said.update(texts)
        for reference in references:
            self._wanted[
                reference if isinstance(reference, str) else next(iter(reference), "")
            ] += 1

    def doubts(self) -> list[tuple[str, str]]:
        """Return what is doubtful: texts that are nearly all the same; the right ones aren't."""
        total, wanted = self._said.total(), self._wanted.total()
        if total < _FEWEST or not wanted:
            return []
        text, most = self._said.most_common(1)[0]
        few = len(self._said) <= _VARIED * total and len(self._wanted) > 2 * _VARIED * wanted
        alike = most >= _SAME * total and self._wanted.most_common(1)[0][1] < _SAME * wanted / 2
        if not (few or alike):
            return []
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        sentence = (
            f"the {self.noun} of {total:,} {self.things} are nearly all the same: "
            f"{len(self._said)} different ones, '{shown}' {most} x. The model does not look at its "
            f"{self.things} yet: train longer, with another learning rate, or on more data."
        )
        return [("same", sentence)]


def one_class(counts: ClassCounts, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return what is doubtful about labels: nearly all are of one class, and the others unfound.

    Args:
        counts: The frames of each class.
        names: The classes.
    """
    total = int(counts.predicted.sum())
    occurring = counts.true > 0
    if not total or int(occurring.sum()) < 2:
        return []
    most = int(counts.predicted.argmax())
    occurring[most] = False
    others = counts.f1()[occurring]  # (C',)
    shares = (100 * count[most] / total for count in (counts.predicted, counts.true))
    taken, there = map(float, shares)
    if taken < 100 * _ONE_CLASS or float(others.mean()) > _WORTHLESS:
        return []
    accuracy = 100 * float(counts.right.sum()) / total
    sentence = (
        f"{taken:.1f} % of the frames are taken for '{names[most]}' ({there:.1f} % are): accuracy "
        f"is {accuracy:.1f}, and the mean F1 of the other {len(others)} class(es) "
        f"{float(others.mean()):.1f}. Try --model.class_weights balanced, or --model.focal_gamma 2."
    )
    return [("one class", sentence)]
