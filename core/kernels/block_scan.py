"""The linear recurrence of several numbers a unit: a small matrix leads from step to step.

h_t = L_t h_{t-1} + b_t with N numbers in h_t and an N x N matrix L_t for every unit by itself.

Shapes: T time, B batch, H units, N numbers of a unit.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from .scan import scan_

Links: TypeAlias = list[list[Tensor]]

_FEW_CHANNELS = 2048  # measured on one CPU thread, like that of `scan`


def block_scan_(links: Links, h: list[Tensor], *, reverse: bool) -> None:
    """Run the recurrence in place, without gradients.

    With N = 1 it is `scan.scan_`. Else it goes one step after the other where a step is large on a
    CPU; elsewhere O(log T) operations on many steps at once do it, with two to three times the
    arithmetic.

    Args:
        links: N x N factors (T - 1, B, H), contiguous; row i, column j leads from h[j] to h[i]:
            h[i] of a step gets links[i][j] * h[j] of the step before.
        h: N summands (T, B, H), contiguous; become the results.
        reverse: Go from the last step to the first, as the gradient does: h[j] of a step gets
            links[i][j] * h[i] of the step after.
    """
    if len(h) == 1:
        scan_(links[0][0], h[0], reverse=reverse)
    elif h[0].is_cuda or h[0][0].numel() < _FEW_CHANNELS:
        matrix = torch.stack([torch.stack(row, 1) for row in links], 1)  # (T - 1, N, N, B, H)
        values = torch.stack(h, 1)  # (T, N, B, H)
        if reverse:
            matrix, values = matrix.flip(0).transpose(1, 2), values.flip(0)
        solved = _by_halves(matrix, values)
        for part, found in zip(h, (solved.flip(0) if reverse else solved).unbind(1), strict=True):
            part.copy_(found)
    else:
        _by_steps_(links, h, reverse)


def _by_steps_(links: Links, h: list[Tensor], reverse: bool) -> None:
    order = slice(None, None, -1 if reverse else 1)
    steps = list(zip(*(part.unbind(0)[order] for part in h), strict=True))
    factors = zip(*(link.unbind(0)[order] for row in links for link in row), strict=True)
    for before, step, factor in zip(steps, steps[1:], factors, strict=False):
        for index, value in enumerate(factor):
            i, j = divmod(index, len(h))
            to, origin = (j, i) if reverse else (i, j)
            step[to].addcmul_(value, before[origin])


def _by_halves(links: Tensor, h: Tensor) -> Tensor:
    """Join steps in pairs, solve for every second one, and look up the others.

    Args:
        links: (T - 1, N, N, B, H), the first of which leads to the second step.
        h: Summands (T, N, B, H).

    Returns:
        The solution (T, N, B, H).
    """
    time = len(h)
    if time == 1:
        return h
    even, odd = h[0 : time - time % 2 : 2], h[1::2]  # (T / 2, N, B, H) each
    inner = links[0::2]  # (T / 2, N, N, B, H), from the even steps to the odd ones
    outer = links[1::2]  # from the odd steps to the even ones after them
    joined = odd + _apply(inner, even)
    # from odd step to odd step
    pairs = (inner[1:].unsqueeze(3) * outer[: len(inner) - 1].unsqueeze(1)).sum(2)
    found = _by_halves(pairs, joined)  # (T / 2, N, B, H), at the odd steps
    result = torch.empty_like(h)
    result[0] = h[0]
    result[1::2] = found
    result[2::2] = h[2::2] + _apply(outer, found[: len(outer)])
    return result


def _apply(links: Tensor, h: Tensor) -> Tensor:
    """Multiply matrices (T, N, N, B, H) and vectors (T, N, B, H)."""
    return (links * h.unsqueeze(1)).sum(2)
