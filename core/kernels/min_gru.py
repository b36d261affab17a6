"""The recurrence of MinGRU together with its gates, a few steps at a time, with its gradient.

On a CPU, elementwise operations on whole sequences spend their time on fresh memory. Here gates,
recurrence and gradients are computed for a tile of steps that stays in the processor's cache. Kept
for the gradient are the states, and z and n in the memory of the gates' input.

Shapes: T time, B batch, H hidden, L steps of a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .loops import Loop
from .scan import linear_recurrence, scan_

# elements of the state in a tile; 2^15 to 2^17 measure alike with 1 MiB of cache per core
_TILE = 1 << 16


class MinGRULoop(Loop):
    """h_t = (1 - z_t) * h_{t-1} + z_t * n_t, from the last tile's state to the next one's."""

    @staticmethod
    def formula(
        projected: Tensor,
        gates: Callable[[Tensor], tuple[Tensor, Tensor]],
        candidate: Callable[[Tensor], Tensor] | None,
        initial: Tensor,
        reset: Tensor | None,
    ) -> Tensor:
        """Run the core's gates and the scan, as torch differentiates them; see `fast`."""
        return linear_recurrence(*gates(projected), initial, reset)

    @staticmethod
    def fast(
        ctx: Any,
        projected: Tensor,
        gates: Callable[[Tensor], tuple[Tensor, Tensor]],
        candidate: Callable[[Tensor], Tensor] | None,
        initial: Tensor,
        reset: Tensor | None,
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Run the tiles.

        Args:
            ctx: See `Loop.fast`.
            projected: The gates' input (T, B, 2H); holds z and n after.
            gates: The core's own, for `formula`.
            candidate: The positive g, or None for g(v) = v.
            initial: h before the first step (B, H).
            reset: Bool (T, B), True where h_{t-1} counts as zero, or None.

        Returns:
            The outputs (T, B, H); what `gradient` wants to see.
        """
        time = len(projected)
        states = initial.new_empty(time + 1, *initial.shape)  # before each step, and the last
        states[0] = initial
        for tile in _tiles(time, initial.numel()):
            z, n = projected[tile].chunk(2, 2)  # (L, B, H) each
            z.sigmoid_()
            if candidate is not None:
                n.copy_(candidate(n))
            torch.mul(z, n, out=states[tile.start + 1 : tile.stop + 1])
            cuts = None if reset is None else reset[tile]
            scan_(1 - z, states[tile.start : tile.stop + 1], cuts=cuts)
        ctx.positive = candidate is not None
        return states[1:], (reset, states, projected)

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the tiles; see `Loop.gradient`."""
        reset, states, projected = kept
        d_projected = torch.empty_like(projected)
        carry = torch.zeros_like(states[0])  # of the state after a tile, from the next one
        for tile in reversed(_tiles(len(projected), carry.numel())):
            z, n = projected[tile].chunk(2, 2)  # (L, B, H) each
            d_z, d_n = d_projected[tile].chunk(2, 2)
            before, cuts = states[tile], None if reset is None else reset[tile]
            if cuts is not None:
                before = before.masked_fill(cuts.unsqueeze(2), 0.0)
            # of the states, later steps included
            a = 1 - z
            d_h = grads[0][tile].clone(memory_format=torch.contiguous_format)
            d_h[-1] += carry
            scan_(a[1:], d_h, reverse=True, cuts=None if cuts is None else cuts[1:])
            carry = d_h[0] * a[0]
            if cuts is not None:
                carry.masked_fill_(cuts[0].unsqueeze(1), 0.0)
            # of the gates' input
            torch.mul(d_h, z, out=d_n)
            torch.sub(n, before, out=d_z).mul_(d_n).mul_(a)
            if ctx.positive:  # its slope is 1 where v > 0, sigmoid' of v elsewhere
                rest = torch.ops.aten.threshold_backward(d_n, n, 0.5).mul_(0.75)
                sigmoid = n.clamp(max=0.5)  # which has a slope of 0.25 where v > 0
                d_n.mul_(torch.addcmul(sigmoid, sigmoid, sigmoid, value=-1)).add_(rest)
        return d_projected, None, None, carry, None


def _tiles(time: int, elements: int) -> list[slice]:
    size = max(1, _TILE // elements)
    return [slice(start, min(start + size, time)) for start in range(0, time, size)]
