"""Cutting a padded batch into pieces that a kernel which knows neither lengths nor resets can run.

Rows are sorted by falling length, so that the rows still running are always the first ones, and the time axis is cut
at the distinct lengths and wherever a row resets. Within a segment every row runs from its first to its last step.

Shapes: B batch, T time, N rows of a segment.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Segment(NamedTuple):
    """Steps `start` to `stop` of the first `rows` rows.

    Attributes:
        start: First step.
        stop: One past the last step.
        rows: How many rows run.
        reset: Bool (N,), rows that start anew at `start`; None where no row does.
    """

    start: int
    stop: int
    rows: int
    reset: Tensor | None


class Schedule:
    """The segments of one batch whose rows are sorted by falling length.

    Args:
        lengths: Steps of each row, falling.
        time: T, the padded number of steps.
        reset: Bool (B, T) in the same row order, or None.
        device: Where the row masks are needed.
    """

    def __init__(self, lengths: list[int], time: int, reset: Tensor | None, device: torch.device) -> None:
        self.lengths = lengths
        self.time = time
        self.device = device
        self.reset = reset
        if reset is not None:
            self.reset = reset & _before(lengths, time, reset.device)
        self.segments = self._cut()

    def _cut(self) -> list[Segment]:
        # .tolist() is the one synchronisation with a CUDA device, and none where `reset` is on the CPU.
        resets = set() if self.reset is None else set(self.reset.any(0).nonzero().flatten().tolist())
        cuts = sorted({0, *self.lengths} | resets)
        segments = []
        rows = len(self.lengths)
        for start, stop in pairwise(cuts):
            while self.lengths[rows - 1] <= start:
                rows -= 1
            mask = None
            if start in resets and self.reset is not None:
                mask = self.reset[:rows, start].to(self.device, non_blocking=True)
            segments.append(Segment(start, stop, rows, mask))
        return segments

    def valid(self) -> Tensor:
        """Returns bool (B, T), True at the steps before each row's length."""
        return _before(self.lengths, self.time, self.device)

    def whole(self) -> bool:
        """Whether every row runs through all steps without a reset: nothing to cut."""
        if len(self.segments) != 1 or self.segments[0].reset is not None:
            return False
        return self.segments[0].stop == self.time and self.segments[0].rows == len(self.lengths)

    def backward(self) -> tuple[Schedule, Tensor]:
        """The same batch read from its rows' ends.

        A reset before step t separates t from t - 1. Read backward the state starts anew between them too, which is
        before the step at t - 1.

        Returns:
            The schedule of the reversed rows and an index (B * T,) that reverses each row within its length when
            applied to the flattened batch, and undoes it when applied again.
        """
        step = torch.arange(self.time)
        length = torch.tensor(self.lengths).unsqueeze(1)
        mirrored = torch.where(step < length, length - 1 - step, step)  # (B, T)
        reset = None
        if self.reset is not None:
            # At mirrored step j the time is length - 1 - j; the separation in question is before time length - j.
            source = (length - step).clamp(0, self.time - 1).to(self.reset.device)
            real = ((step > 0) & (step < length)).to(self.reset.device)
            reset = self.reset.gather(1, source) & real
        index = (mirrored + torch.arange(len(self.lengths)).unsqueeze(1) * self.time).flatten()
        return Schedule(self.lengths, self.time, reset, self.device), index.to(self.device, non_blocking=True)


def _before(lengths: list[int], time: int, device: torch.device) -> Tensor:
    length = torch.tensor(lengths).to(device, non_blocking=True)
    return torch.arange(time, device=device) < length.unsqueeze(1)


class _Rearrange(torch.autograd.Function):
    """`index_select` by a permutation: its gradient is another one, where autograd would add row by row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return rearrange(gradient, inverse, index), None, None


def rearrange(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Permutes the rows of a tensor.

    Args:
        x: Any tensor (N, ...).
        index: A permutation (N,).
        inverse: The inverse permutation (N,).

    Returns:
        The rows in the order of `index`, (N, ...).
    """
    return _Rearrange.apply(x, index, inverse)  # type: ignore[no-any-return]
