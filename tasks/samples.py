"""What a task shows of its model in validation: an example, in a line and as what it is of."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class Sample(NamedTuple):
    """An example of what a model says.

    Attributes:
        line: A line of text about it.
        subject: What a picture can be drawn of: a `Translated` with its attention, the picture
            (3, S, S) of a caption, `LabelledFrames`; None where there is nothing to draw.
    """

    line: str
    subject: Any = None


class LabelledFrames(NamedTuple):
    """The frames of a video as the model labels them, T at the rate that it reads.

    Attributes:
        name: The video's.
        predicted: Class numbers (T,) int64.
        confidence: Their probabilities (T,).
        truth: The right class numbers (T,) int64, -100 where there are none.
    """

    name: str
    predicted: Tensor
    confidence: Tensor
    truth: Tensor
