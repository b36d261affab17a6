"""Work on many inputs at once, of which a bad one spoils none of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ...errors import DataError

Input = TypeVar("Input")
Result = TypeVar("Result")


def each(
    work: Callable[[Sequence[Input]], Sequence[Result]], inputs: Sequence[Input]
) -> list[Result | DataError]:
    """Return what comes of each input, or why nothing does.

    Where some of the inputs can't be worked on, their halves are, and so on: n of N cost n log N
    tries, of which most end at once.

    Args:
        work: Returns a result for each input, or raises a `DataError` about one of them.
        inputs: What to work on.
    """
    if not inputs:
        return []
    try:
        return list(work(inputs))
    except DataError as error:
        if len(inputs) == 1:
            return [error]
    middle = len(inputs) // 2
    return [*each(work, inputs[:middle]), *each(work, inputs[middle:])]
