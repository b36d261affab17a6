"""Error rates: how many edits make a text of a model into the right one.

The edits are those of Levenshtein: a symbol put in, left out, or replaced by another.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

_TIES = "\u035c\u0361"  # between two letters of one sound


def edit_distance(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Return the fewest edits that make one sequence into another.

    By Myers 1999 (https://doi.org/10.1145/316542.316550), as Hyyrö 2001 has it.

    Args:
        one: Symbols.
        other: Symbols.

    Example:
        >>> edit_distance("kitten", "sitting")
        3
    """
    if not one:
        return len(other)
    # A column of the table is one number of as many bits as `one` has symbols, and a step of it is
    # a dozen operations on numbers, however long they are: texts of 100,000 words take seconds.
    everywhere = (1 << len(one)) - 1
    places: dict[Hashable, int] = {}
    for place, symbol in enumerate(one):
        places[symbol] = places.get(symbol, 0) | 1 << place
    more, less = everywhere, 0  # where the column grows from one place to the next, or falls
    distance = len(one)
    for symbol in other:
        same = places.get(symbol, 0)
        across = same | less
        same = (((same & more) + more) ^ more) | same
        grown = less | (everywhere & ~(same | more))
        fallen = more & same
        distance += (grown >> (len(one) - 1)) - (fallen >> (len(one) - 1))
        grown, fallen = (grown << 1 | 1) & everywhere, (fallen << 1) & everywhere
        more, less = fallen | (everywhere & ~(across | grown)), grown & across
    return distance


def sounds(text: str) -> list[str]:
    """Return the letters of a pronunciation that is written without spaces.

    A letter has its marks with it, the small letters after it, and the letter that a tie joins.

    Args:
        text: The text.

    Example:
        >>> [len(one) for one in sounds("t\u0361s\u02b0e\u02d0")]
        [4, 2]
    """
    found: list[str] = []
    for character in text:
        category = unicodedata.category(character)
        joins = category[0] == "M" or category == "Lm" or (found and found[-1][-1] in _TIES)
        if found and joins:
            found[-1] += character
        elif not character.isspace():
            found.append(character)
    return found


class WordErrorRate(Metric):
    """Edits of words over the words of the references, in percent; above 100 where there are more.

    Words are what stands between spaces, as they are written: case and signs count. The edits and
    the words of all processes are added up, so the number of processes does not change the result.

    Examples:
        >>> rate = WordErrorRate()
        >>> rate.update(["the cat sat"], ["the cat sat down"])
        >>> rate.compute()
        tensor(25.)
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    edits: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("edits", "total"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, candidates: Sequence[str], references: Sequence[str]) -> None:
        """Add texts.

        Args:
            candidates: Raw texts.
            references: One raw reference for each.
        """
        edits, total = _counted(candidates, references, str.split)
        self.edits += edits
        self.total += total

    def compute(self) -> Tensor:
        """Return the rate; not a number where the references have no word."""
        return _rate(self.edits, self.total)


class PhonemeErrorRate(WordErrorRate):
    """Edits of phonemes over the phonemes of the references, in percent, for pronunciations.

    Phonemes are what stands between spaces, as in CMUdict; where no reference has a space, they are
    letters, each with its marks. What papers on pronunciation call the word error rate, the share
    of entries that are not wholly right, is 100 - `exact`.

    Examples:
        >>> rate = PhonemeErrorRate()
        >>> rate.update(["K AE T"], ["K AH T"])
        >>> round(rate.compute().item(), 1)
        33.3
    """

    letter_edits: Tensor
    letters: Tensor
    spaced: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("letter_edits", "letters", "spaced"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, candidates: Sequence[str], references: Sequence[str]) -> None:
        """Add pronunciations.

        Args:
            candidates: What the model says.
            references: What is right, one for each.
        """
        super().update(candidates, references)
        edits, total = _counted(candidates, references, sounds)
        self.letter_edits += edits
        self.letters += total
        self.spaced += sum(len(text.split()) > 1 for text in references)

    def compute(self) -> Tensor:
        """Return the rate; not a number where there is no phoneme."""
        if self.spaced:
            return super().compute()
        return _rate(self.letter_edits, self.letters)


def _counted(
    candidates: Sequence[str], references: Sequence[str], cut: Callable[[str], list[str]]
) -> tuple[int, int]:
    """Return the edits, and the symbols of the references."""
    pairs = [(cut(one), cut(other)) for one, other in zip(candidates, references, strict=True)]
    return sum(edit_distance(*pair) for pair in pairs), sum(len(other) for _, other in pairs)


def _rate(edits: Tensor, total: Tensor) -> Tensor:
    return 100 * edits / total if total else torch.full((), math.nan, device=edits.device)
