"""A text in a figure, character by character on coloured ground."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .canvas import WIDTH, bare, ink_on
from .fonts import visible

COLUMNS = 32
CELL = WIDTH / (COLUMNS + 1)
"""Inches from one character to the next: its font has 10 points."""
_SIZE = 10.5


def lines_of(text: str, columns: int = COLUMNS) -> list[tuple[int, int]]:
    """Return where the lines of a text begin and end: at its own ends of lines, or when full.

    Args:
        text: The text.
        columns: How many characters a line has room for.
    """
    lines, start = [], 0
    for place, character in enumerate(text):
        if character == "\n" or place + 1 - start == columns:
            lines.append((start, place + 1))
            start = place + 1
    return [*lines, (start, len(text))] if start < len(text) else lines


def runs_from_right(text: str) -> bool:
    """Say whether most letters of a text are of a script that is written from right to left.

    Args:
        text: The text.
    """
    kinds = [unicodedata.bidirectional(character) for character in text]
    return sum(kind in ("R", "AL") for kind in kinds) > sum(kind == "L" for kind in kinds)


def draw_letters(
    axes: Any,
    rows: Sequence[Sequence[str]],
    colours: npt.NDArray[np.floating[Any]],
    *,
    heights: Sequence[float] | None = None,
    from_right: bool = False,
    quiet: Sequence[bool] | None = None,
) -> None:
    """Draw rows of characters, each on its colour.

    Args:
        axes: An axes as large as the rows.
        rows: The characters; a row may have fewer than `COLUMNS`.
        colours: Their grounds (rows, COLUMNS, 3), from 0 to 1.
        heights: How high each row is; 1 where not given.
        from_right: Whether a row begins on the right.
        quiet: Whether a row is only a remark, in smaller letters.
    """
    bare(axes)
    heights = [1.0] * len(rows) if heights is None else list(heights)
    edges = np.concatenate(([0.0], np.cumsum(heights)))
    if from_right:
        colours = colours[:, ::-1]
    axes.pcolormesh(np.arange(COLUMNS + 1), edges, colours, rasterized=False)
    axes.set_xlim(0, COLUMNS)
    axes.set_ylim(edges[-1], 0)
    for number, row in enumerate(rows):
        small = quiet is not None and quiet[number]
        for place, character in enumerate(row):
            if not character:
                continue
            column = COLUMNS - 1 - place if from_right else place
            sign = visible(character)
            dim = small or character in " \n\t"
            axes.text(
                column + 0.5,
                (edges[number] + edges[number + 1]) / 2,
                sign,
                ha="center",
                va="center_baseline",
                fontsize=_SIZE * 0.85 if small else _SIZE,
                color=ink_on(colours[number, column]),
                alpha=0.55 if dim and not small else 1,
            )
