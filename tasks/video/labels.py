"""What a model says of a frame."""

from __future__ import annotations

from typing import NamedTuple


class FrameLabel(NamedTuple):
    """What a frame shows.

    Attributes:
        name: The class.
        probability: Its probability.
    """

    name: str
    probability: float


class FrameLabels(FrameLabel):
    """What a frame shows where it may have several labels.

    Attributes:
        name: The classes, ` + ` in between; empty for none.
        probability: Of the least sure of them; for none, that of there being none of the likeliest.
        names: The classes.
        scores: The probability of every class, in their order.
    """

    names: tuple[str, ...]
    scores: tuple[float, ...]
