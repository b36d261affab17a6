"""Cutting a padded batch into pieces that a kernel which knows neither lengths nor resets can run.

The time axis is cut where a row resets, and where so many rows have ended that going on without
them pays for the cut. Where rows leave, they are sorted by falling length, so that the rows still
running are always the first ones.

Where rows reset so often that this leaves little of a sequence, as with documents of a few steps,
each piece between two resets is taken for a row of its own, a document: what a reset separates can
run side by side, in fewer steps of more rows.

Shapes: B batch, T time, N rows of a segment or documents, M steps of all segments' rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .kernels.loops import transformed
from .masks import valid_steps


class Segment(NamedTuple):
    """Steps `start` to `stop` of the first `rows` rows.

    Attributes:
        start: First step.
        stop: One past the last step.
        rows: How many rows run.
        lengths: Steps that each row has here; None where every row has all.
        reset: Bool (N,), rows that start anew at `start`; None where no row does.
    """

    start: int
    stop: int
    rows: int
    lengths: list[int] | None
    reset: Tensor | None


class Documents(NamedTuple):
    """A batch as its pieces between resets, all of which begin at once.

    Attributes:
        segments: What to run: N rows without resets, sorted by falling length.
        there: The step (row * T + step) at each place of the segments' rows, one segment after the
            other: (M,), -1 for a place past a document's end.
        back: The place of each step (B * T,), -1 for a step past its row's end.
        start: The row whose state each document goes on with, B where it starts anew: (N,).
        last: Each row's last document (B,).
    """

    segments: list[Segment]
    there: Tensor
    back: Tensor
    start: Tensor
    last: Tensor


class OneStep:
    """A sign in a schedule's place for one step in place of a sequence."""


ONE_STEP = OneStep()
_MANY = 16  # segments: fewer cost little
_SPARED = 2  # documents are taken where they leave at most one of so many segments


class Schedule:
    """The segments of one batch.

    Args:
        lengths: Steps of each row.
        time: T, the padded number of steps.
        reset: Bool (B, T), or None.
        device: Where the row masks are needed.
        slack: How many steps past rows' ends may be run to save one cut; 0 where the core can't run
            any.

    Attributes:
        order: The permutation (B,) by which the rows of everything must be sorted before the
            segments are run; None where they are right as they are. `lengths` and `reset` are in
            that order already.
    """

    def __init__(
        self, lengths: list[int], time: int, reset: Tensor | None, device: torch.device, slack: int
    ) -> None:
        self.time = time
        self.device = device
        self.slack = slack
        ends = sorted(lengths)
        cuts = _worthwhile_cuts(sorted(Counter(ends).items()), 0, ends[-1], slack)
        leave = bool(cuts) or ends.count(0) * ends[-1] > slack
        falling = all(first >= second for first, second in pairwise(lengths))
        self.order: Tensor | None = None
        if leave and not falling:
            self.order = torch.tensor(sorted(range(len(lengths)), key=lambda row: -lengths[row]))
            lengths = ends[::-1]
            falling = True
            if reset is not None:
                reset = reset[self.order.to(reset.device)]
        self.lengths = lengths
        if reset is not None and ends[0] < time:
            reset = reset & steps_before(lengths, time, reset.device)
        self.reset = reset
        self.segments = self._segments({0, ends[-1], *cuts}, shrink=falling)

    def _segments(self, cuts: set[int], *, shrink: bool) -> list[Segment]:
        resets: set[int] = set()
        if self.reset is not None:
            # .tolist() waits for a CUDA device, and for nothing where `reset` is on the CPU.
            resets = set(self.reset.any(0).nonzero().flatten().tolist())  # steps where a row resets
        segments = []
        rows = len(self.lengths)
        for start, stop in pairwise(sorted(cuts | resets)):
            while shrink and self.lengths[rows - 1] <= start:
                rows -= 1
            lengths = None
            if min(self.lengths[:rows]) < stop:
                lengths = [
                    min(max(length - start, 0), stop - start) for length in self.lengths[:rows]
                ]
            mask = None
            if start in resets and self.reset is not None:
                mask = self.reset[:rows, start].to(self.device, non_blocking=True)  # (N,)
            segments.append(Segment(start, stop, rows, lengths, mask))
        return segments

    @cached_property
    def documents(self) -> Documents | None:
        """The batch's documents; None where they would not spare most of the cuts."""
        if self.reset is None or len(self.segments) < _MANY:
            return None
        reset, time = self.reset.cpu(), self.time
        begins = reset.clone()
        begins[:, 0] = True
        row, step = begins.nonzero().unbind(1)  # (N,) each, row after row
        first = row * time + step
        last = begins.sum(1).cumsum(0) - 1  # (B,)
        end = first.roll(-1)
        end[last] = torch.arange(len(reset)) * time + torch.tensor(self.lengths)
        length, order = (end - first).sort(descending=True, stable=True)
        lengths, first = length.tolist(), first[order]
        segments = Schedule(lengths, lengths[0], None, self.device, self.slack).segments
        if _SPARED * len(segments) > len(self.segments):
            return None
        places = []
        for start, stop, rows, ends, _ in segments:
            steps = torch.arange(start, stop)
            place = first[:rows, None] + steps  # (rows, stop - start)
            if ends is not None:
                place = place.masked_fill(steps >= length[:rows, None], -1)
            places.append(place.flatten())
        there = torch.cat(places)  # (M,)
        back = torch.full((reset.numel(),), -1)
        real = (there >= 0).nonzero().squeeze(1)
        back[there[real]] = real
        begun = torch.where(reset[row, step], len(reset), row)[order]
        indices = [there, back, begun, order.argsort()[last]]
        return Documents(segments, *(i.to(self.device, non_blocking=True) for i in indices))

    def valid(self) -> Tensor:
        """Return bool (B, T), True at the steps before each row's length."""
        return steps_before(self.lengths, self.time, self.device)

    def whole(self) -> bool:
        """Tell whether every row runs through all steps without a reset: nothing to do."""
        unbroken = all(segment.reset is None for segment in self.segments)
        return unbroken and min(self.lengths) == self.time

    def backward(self) -> tuple[Schedule, Tensor]:
        """Return the same batch read from its rows' ends.

        A reset before step t separates t from t - 1. Read backward the state starts anew between
        them too, which is before the step at t - 1.

        Returns:
            The schedule of the reversed rows and an index (B * T,) that reverses each row within
            its length when applied to the flattened batch, and undoes it when applied again.
        """
        step = torch.arange(self.time)  # (T,)
        length = torch.tensor(self.lengths).unsqueeze(1)  # (B, 1)
        mirrored = torch.where(step < length, length - 1 - step, step)  # (B, T)
        reset = None
        if self.reset is not None:
            # At mirrored step j the time is length - 1 - j; the separation in question is before
            # time length - j.
            source = (length - step).clamp(0, self.time - 1).to(self.reset.device)  # (B, T)
            real = ((step > 0) & (step < length)).to(self.reset.device)  # (B, T)
            reset = self.reset.gather(1, source) & real
        first = torch.arange(len(self.lengths)).unsqueeze(1) * self.time  # (B, 1), of each row
        index = (mirrored + first).flatten()  # (B * T,)
        schedule = Schedule(self.lengths, self.time, reset, self.device, self.slack)
        return schedule, index.to(self.device, non_blocking=True)


def _worthwhile_cuts(
    ends: Sequence[tuple[int, int]], start: int, stop: int, slack: int
) -> list[int]:
    """Find cuts between `start` and `stop` that each save more than `slack` steps of ended rows.

    Args:
        ends: Where rows end, in rising order, and how many do.
        start: Where to begin.
        stop: Where to end.
        slack: See `Schedule`.
    """
    best, gain, ended = 0, slack, 0
    for end, rows in ends:
        if not start < end < stop:
            continue
        ended += rows
        if ended * (stop - end) > gain:
            best, gain = end, ended * (stop - end)
    if gain == slack:
        return []
    return [
        *_worthwhile_cuts(ends, start, best, slack),
        best,
        *_worthwhile_cuts(ends, best, stop, slack),
    ]


def steps_before(lengths: list[int], time: int, device: torch.device) -> Tensor:
    """Return bool (B, T), True at the steps before each row's length.

    Args:
        lengths: Steps of each row.
        time: T.
        device: Where to make it.
    """
    return valid_steps(torch.tensor(lengths).to(device, non_blocking=True), time)


class _Rearrange(torch.autograd.Function):
    """`index_select` by a permutation: its gradient is another, where autograd adds row by row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return rearrange(gradient, inverse, index), None, None


def rearrange(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Permute the rows of a tensor.

    Args:
        x: Any tensor (N, ...).
        index: A permutation (N,).
        inverse: The inverse permutation (N,).

    Returns:
        The rows in the order of `index`, (N, ...).
    """
    if transformed():
        return x.index_select(0, index)
    return _Rearrange.apply(x, index, inverse)  # type: ignore[no-any-return]
