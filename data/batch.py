"""The batches: all that tasks know of data.

Shapes: B batch, T time.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class TextBatch(NamedTuple):
    """One chunk of B parallel streams; the next batch goes on where this one ends.

    Attributes:
        input: Symbols, (B, T) int64.
        target: The symbol after each input, (B, T) int64.
        reset: True where the state has to be replaced by the initial one before that step, (B, T) bool.
        lengths: Steps that are real in each row, (B,) int64; below T only in the last chunk of an epoch, possibly 0.
    """

    input: Tensor
    target: Tensor
    reset: Tensor
    lengths: Tensor
