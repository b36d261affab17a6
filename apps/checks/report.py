"""What a check has found, as lines for people; and what is counted of texts of any task."""

from __future__ import annotations

import functools
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from ...data.formats.letters import folded

_LETTERS_LOOKED_AT = 2_000_000
_SMALL_SCRIPT = 0.0005  # share of the letters


class Report:
    """What a check has found.

    Attributes:
        told: What there is: a name and a line of text each.
        doubts: What may be wrong, a sentence each.
        stops: Whether `fit` would end at what was found.
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.doubts: list[str] = []
        self.stops = False

    def tell(self, name: str, said: str) -> None:
        """Say what there is.

        Args:
            name: Of what.
            said: The line.
        """
        self.told.append((name, said))

    def doubt(self, sentence: str) -> None:
        """Say what may be wrong, once.

        Args:
            sentence: What, and what to do.
        """
        if sentence not in self.doubts:
            self.doubts.append(sentence)

    def stop(self, sentence: str) -> None:
        """Say at what `fit` would end.

        Args:
            sentence: At what, and what to do.
        """
        self.doubt(sentence)
        self.stops = True

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Take warnings as doubts."""
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always", UserWarning)
            try:
                yield
            finally:
                for warning in heard:
                    if issubclass(warning.category, UserWarning):
                        self.doubt(" ".join(str(warning.message).split()))


def percent(count: float, total: float) -> str:
    """Return a share for people: `12 of 340 (3.5 %)`.

    Args:
        count: How many.
        total: Of how many.
    """
    return f"{count:,} of {total:,} ({100 * count / max(1, total):.1f} %)"


def spread(lengths: npt.NDArray[np.int64] | Sequence[int]) -> str:
    """Return how lengths are distributed: `2 to 61, half of them up to 9, 99 % up to 24`.

    Args:
        lengths: At least one.
    """
    found = np.asarray(lengths)
    half, most = np.quantile(found, (0.5, 0.99), method="inverted_cdf").tolist()
    return f"{found.min():,} to {found.max():,}, half of them up to {half:,}, 99 % up to {most:,}"


def scripts(texts: Iterable[str]) -> str:
    """Return which scripts letters are of: `Latin 98.2 %, Cyrillic 1.8 %`.

    Args:
        texts: Texts; the first two million characters are looked at.
    """
    counts: Counter[str] = Counter()
    left = _LETTERS_LOOKED_AT
    for text in texts:
        counts.update(text[:left])
        left -= len(text)
        if left <= 0:
            break
    return scripts_of(counts)


def scripts_of(characters: Counter[str] | dict[str, int]) -> str:
    """Return which scripts letters are of.

    Args:
        characters: How often each character occurs.
    """
    found: Counter[str] = Counter()
    for character, count in characters.items():
        if script := _script(character):
            found[script] += count
    total = found.total()
    if not total:
        return "no letters"
    named = [(name, n) for name, n in found.most_common(5) if n >= _SMALL_SCRIPT * total]
    return ", ".join(f"{name} {100 * count / total:.1f} %" for name, count in named)


@functools.cache
def _script(character: str) -> str:
    """Return the script of a letter, by the first word of its name in Unicode."""
    if not character.isalpha():
        return ""
    first = unicodedata.name(character, "").partition(" ")[0]
    return "Chinese" if first == "CJK" else first.capitalize()


def alike(text: str) -> int:
    """Return a number that two texts share if they differ in capitals and blanks at most.

    Args:
        text: Any text.
    """
    return hash(folded(text))


def shared(items: npt.NDArray[np.int64], train: npt.NDArray[np.int64]) -> int:
    """Return how many items are in the training part too.

    Args:
        items: Numbers of the items.
        train: Numbers of the training part's.
    """
    return int(np.isin(items, train).sum())


def doubles(items: npt.NDArray[np.int64]) -> int:
    """Return how many items have occurred before.

    Args:
        items: Their numbers.
    """
    return len(items) - len(np.unique(items))
