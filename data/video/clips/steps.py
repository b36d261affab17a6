"""Tells how far something is that is made once and takes its time."""

from __future__ import annotations

import sys

from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

_TENTH = 10


class Steps:
    """Counts what is made: a line that is written anew on a terminal, a line each tenth elsewhere.

    Args:
        noun: What is made.
        total: How many.
    """

    def __init__(self, noun: str, total: int) -> None:
        self._noun, self._total = noun, total
        self._done = 0
        self._terminal = sys.stderr.isatty()

    def step(self) -> None:
        """Count one more."""
        self._done += 1
        tenth = self._done * _TENTH // self._total
        if self._terminal:
            self._draw(tenth)
        elif tenth > (self._done - 1) * _TENTH // self._total and self._total >= 10 * _TENTH:
            rank_zero_info(f"{self._done} of {self._total} {self._noun}")

    @rank_zero_only
    def _draw(self, tenth: int) -> None:
        bar = "#" * tenth + "." * (_TENTH - tenth)
        end = "\n" if self._done == self._total else ""
        sys.stderr.write(f"\r[{bar}] {self._done} of {self._total} {self._noun}{end}")
        sys.stderr.flush()
