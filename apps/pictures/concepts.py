"""What a unit of a language model may follow in a text: quotes, lines, indentation, brackets.

Shapes: T characters, U units.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

_OPEN, _CLOSE = "([{", ")]}"
_QUOTES = {"“": 1, "”": -1, "«": 1, "»": -1, "「": 1, "」": -1}


class Follower(NamedTuple):
    """A unit that follows something.

    Attributes:
        concept: What it follows.
        unit: Its number.
        score: The correlation with it over the text, from -1 to 1.
    """

    concept: str
    unit: int
    score: float


def concepts(text: str) -> dict[str, Numbers]:
    """Return what each character of a text is in, by name, as numbers (T,).

    quotes: 1 within quotation marks; an empty line ends them, should one never be closed.
    line length: characters since the line began.
    indentation: blanks at the line's beginning so far, a tab as 8.
    brackets: how many are open; an empty line closes them.

    Args:
        text: T characters.
    """
    found: dict[str, list[float]] = {
        name: [] for name in ("quotes", "line length", "indentation", "brackets")
    }
    quoted = depth = column = indentation = 0
    leading = True
    for place, character in enumerate(text):
        if character == "\n" and text[place - 1 : place] == "\n":
            quoted = depth = 0
        if character == '"':
            quoted = 1 - quoted
        quoted = max(0, quoted + _QUOTES.get(character, 0))
        depth = max(0, depth + (character in _OPEN) - (character in _CLOSE))
        if leading and character in " \t":
            indentation += 8 if character == "\t" else 1
        elif character != "\n":
            leading = False
        column += 1
        for name, value in zip(found, (min(quoted, 1), column, indentation, depth), strict=True):
            found[name].append(value)
        if character == "\n":
            column, indentation, leading = 0, 0, True
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}


def correlations(activations: Numbers, concept: Numbers) -> Numbers:
    """Return the correlation of each unit with a concept (U,); 0 where one of them never changes.

    Args:
        activations: (T, U).
        concept: (T,).
    """
    units = activations - activations.mean(0)
    target = concept - concept.mean()
    scale = np.sqrt(np.square(units).sum(0) * np.square(target).sum())  # (U,)
    together = target @ units  # (U,)
    found: Numbers = np.divide(together, scale, out=np.zeros_like(together), where=scale > 1e-12)
    return found


def followers(activations: Numbers, text: str, each: int) -> list[Follower]:
    """Return the units that follow each concept best, the best first.

    Args:
        activations: (T, U).
        text: T characters.
        each: How many units for each concept that occurs in the text.
    """
    found = []
    for name, values in concepts(text).items():
        if np.ptp(values) == 0:
            continue
        scores = correlations(activations, values)
        best = np.argsort(-np.abs(scores), kind="stable")[:each]
        found += [Follower(name, int(unit), float(scores[unit])) for unit in best]
    return found
