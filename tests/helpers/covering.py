"""All pairs of two lists in the slow tests; in the others every member of each list, in turn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import pytest

T = TypeVar("T")

ALL_OR_SOME = pytest.mark.parametrize(
    "every", [pytest.param(False, id="some"), pytest.param(True, id="all", marks=pytest.mark.slow)]
)
"""Gives a test the argument `every`, for `in_turn`."""


def in_turn(ways: Iterable[T], number: int, *, every: bool, count: int = 1) -> list[T]:
    """Return the ways in which the case of this number is tried.

    Args:
        ways: All of them.
        number: Of the case, from 0: those that follow each other get ways that follow each other.
        every: Whether it is tried in all ways.
        count: In how many it is tried otherwise.
    """
    ways = list(ways)
    return ways if every else [ways[(number * count + n) % len(ways)] for n in range(count)]
