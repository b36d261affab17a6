"""Recurrences whose units see nothing but themselves: step by step, or by Newton's method.

h_t = f(p_t, h_{t-1}), where a unit of h_t depends on the same unit of h_{t-1} alone, so that the
derivative by h_{t-1} is a number a unit; with two tensors in the state, a 2 x 2 matrix.

Newton's method finds all steps at once (Lim et al., 2024, https://arxiv.org/abs/2309.12252; Danieli
et al., 2025, https://arxiv.org/abs/2510.21450): replaced by its tangent at a guess, the recurrence
is a linear one, and a scan solves it for the next guess. The gradient is a linear recurrence from
the last step to the first, whichever way the states were found.

Shapes: T time, B batch, H hidden, K numbers of a step's input, L steps of a tile, N tensors of the
state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .block_scan import Links, block_scan_
from .loops import Loop, masks_of_steps, over_time, whole_graph

# Elements of the state in a tile: on a CPU what stays in the cache, elsewhere what bounds memory.
_TILE, _TILE_ELSEWHERE = 1 << 17, 1 << 24
# From here on Newton's method is tried: a try takes about as many kernels as this many steps.
_LEAST_STEPS = 48
# Usual are three to six; where these don't suffice, the steps are run one after the other.
_MOST_ITERATIONS = 16


class Tangent(NamedTuple):
    """A law at many steps at once, and its derivatives there.

    Attributes:
        after: The N tensors of the state after each step (L, B, H).
        links: N x N derivatives (L, B, H): row i, column j of after[i] by before[j].
        kept: What `Law.pull` wants to see.
    """

    after: Sequence[Tensor]
    links: Links
    kept: Sequence[Tensor]


class Law(Protocol):
    """f and its derivatives, any number of steps at once (..., H)."""

    def step(self, projected: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Compute the state after of p (..., K), the state before and the weights."""

    def tangent(
        self, projected: Tensor, before: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> Tangent:
        """Compute the same and the derivatives."""

    def pull(self, kept: Sequence[Tensor], adjoint: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn gradients of the states into those of p (L, B, K) and of each weight."""


class DiagonalLoop(Loop):
    """The states after every step, one tensor (T, B, H) for each tensor of the state."""

    @staticmethod
    def formula(
        projected: Tensor,
        law: Law,
        newton: bool,
        reset: Tensor | None,
        count: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        """Run the steps, as torch differentiates them; see `fast`."""
        if whole_graph():  # which takes no resets
            return _in_graph(projected, law, tensors[:count], tensors[count:])
        cuts = [None] * len(projected) if reset is None else reset.unsqueeze(2).unbind()
        return _steps(projected, law, cuts, tensors[:count], tensors[count:])

    @staticmethod
    def fast(
        ctx: Any,
        projected: Tensor,
        law: Law,
        newton: bool,
        reset: Tensor | None,
        count: int,
        *tensors: Tensor,
    ) -> tuple[tuple[Tensor, ...], Sequence[Tensor | None]]:
        """Find the states.

        Args:
            ctx: See `Loop.fast`.
            projected: p (T, B, K).
            law: f.
            newton: Find many steps at once.
            reset: Bool (T, B), True where h_{t-1} counts as zero, or None.
            count: N.
            *tensors: The state before the first step (B, H) each, then the weights of f.

        Returns:
            The states after every step, (T, B, H) each; what `gradient` wants to see.
        """
        initial, weights = tensors[:count], tensors[count:]
        if newton:
            states = _newton(projected, law, reset, initial, weights)
        else:
            cuts = masks_of_steps(reset, len(projected))
            states = _steps(projected, law, cuts, initial, weights)
        ctx.law, ctx.parts = law, count
        return states, (projected, reset, *states, *tensors)

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the tiles; see `Loop.gradient`."""
        projected, reset, *tensors = kept
        n = ctx.parts
        states, initial, weights = tensors[:n], tensors[n : 2 * n], tensors[2 * n :]
        d_projected = torch.empty_like(projected)
        d_weights = [torch.zeros_like(weight) for weight in weights]
        # of the state after a tile, through the next one's steps
        carry = [torch.zeros_like(part) for part in initial]
        for tile in reversed(_tiles(projected, initial[0])):
            cuts = None if reset is None else reset[tile]
            before = _before(states, initial, cuts, tile)
            _, links, local = ctx.law.tangent(projected[tile], before, weights)
            _cut_(links, cuts)
            # of the states, later steps included
            adjoint = [grad[tile].clone(memory_format=torch.contiguous_format) for grad in grads]
            for part, later in zip(adjoint, carry, strict=True):
                part[-1] += later
            block_scan_(_inner(links), adjoint, reverse=True)
            carry = [torch.zeros_like(part) for part in carry]
            for row, part in zip(links, adjoint, strict=True):
                for link, total in zip(row, carry, strict=True):
                    total.addcmul_(link[0], part[0])
            d_projected[tile], *found = ctx.law.pull(local, adjoint)
            for total, part in zip(d_weights, found, strict=True):
                total += part
        return d_projected, None, None, None, None, *carry, *d_weights


def pulled(slopes: Sequence[Tensor], *adjoint: Tensor) -> Tensor:
    """Multiply the slopes of gates, (L, B, H) each, by the gradients of what they are slopes of.

    Args:
        slopes: One a gate.
        *adjoint: One a gate, or one for all.

    Returns:
        The gradients side by side, (L, B, K).
    """
    found = slopes[0].new_empty(*slopes[0].shape[:-1], len(slopes) * slopes[0].shape[-1])
    sources = adjoint * len(slopes) if len(adjoint) == 1 else adjoint
    for part, slope, source in zip(found.chunk(len(slopes), -1), slopes, sources, strict=True):
        torch.mul(slope, source, out=part)
    return found


def worth_newton(x: Tensor) -> bool:
    """Tell whether Newton's method is the faster way to run a sequence.

    Args:
        x: The core's input (T, B, D).
    """
    return x.is_cuda and x.shape[0] >= _LEAST_STEPS and not whole_graph()


def _steps(
    projected: Tensor,
    law: Law,
    cuts: Sequence[Tensor | None],
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Run one step after the other; where a cut (B, 1) is True, the state before counts as zero."""
    found = []
    for p, cut in zip(projected.unbind(), cuts, strict=True):
        if cut is not None:
            state = [part.masked_fill(cut, 0.0) for part in state]
        state = law.step(p, *state, *weights)
        found.append(state)
    return tuple(torch.stack(parts) for parts in zip(*found, strict=True))


def _in_graph(
    projected: Tensor, law: Law, state: tuple[Tensor, ...], weights: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Do the same by the loop that a graph has once."""

    def advance(p: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        state = law.step(p, *state, *weights)
        return torch.stack(state), state

    return over_time(advance, projected, state)[0].unbind(1)  # (T, N, B, H)


def _newton(
    projected: Tensor,
    law: Law,
    reset: Tensor | None,
    initial: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Find the states, tile by tile."""
    found: list[Sequence[Tensor]] = []
    for tile in _tiles(projected, initial[0]):
        cuts = None if reset is None else reset[tile]
        states = _newton_tile(projected[tile], law, cuts, initial, weights)
        found.append(states)
        initial = [part[-1] for part in states]
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def _newton_tile(
    projected: Tensor,
    law: Law,
    reset: Tensor | None,
    initial: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> Sequence[Tensor]:
    time = len(projected)
    # the guess: what follows from zero states before
    zeros = (torch.zeros_like(part).expand(time, -1, -1) for part in initial)
    states: Sequence[Tensor] = law.step(projected, *zeros, *weights)
    # Digits double: after a change of eps^0.7 the next one would be lost in rounding.
    enough = torch.finfo(initial[0].dtype).eps ** 0.7
    for _ in range(_MOST_ITERATIONS):
        before = _before(states, initial, reset, slice(0, time))
        after, links, _ = law.tangent(projected, before, weights)
        _cut_(links, reset)
        change = [part - state for part, state in zip(after, states, strict=True)]
        block_scan_(_inner(links), change, reverse=False)
        states = [state + more for state, more in zip(states, change, strict=True)]
        if max(float(more.abs().max()) for more in change) <= enough:  # waits for a GPU
            return states
    return _steps(projected, law, masks_of_steps(reset, time), initial, weights)


def _tiles(projected: Tensor, like: Tensor) -> list[slice]:
    """Cut T steps into tiles for a state like (B, H)."""
    size = _TILE if projected.device.type == "cpu" else _TILE_ELSEWHERE
    time, length = len(projected), max(1, size // like.numel())
    return [slice(start, min(start + length, time)) for start in range(0, time, length)]


def _before(
    states: Sequence[Tensor], initial: Sequence[Tensor], cuts: Tensor | None, tile: slice
) -> list[Tensor]:
    """Return the states before each step of a tile, (L, B, H) each; zero where cuts (L, B) are."""
    found = []
    for after, first in zip(states, initial, strict=True):
        if tile.start:
            before = after[tile.start - 1 : tile.stop - 1]
        else:
            before = torch.cat((first.unsqueeze(0), after[: tile.stop - 1]))
        if cuts is not None:
            before = before.masked_fill(cuts.unsqueeze(2), 0.0)
        found.append(before)
    return found


def _cut_(links: Links, cuts: Tensor | None) -> None:
    """Let nothing lead into the steps where cuts (L, B) are."""
    if cuts is not None:
        for link in (link for row in links for link in row):
            link.masked_fill_(cuts.unsqueeze(2), 0.0)


def _inner(links: Links) -> Links:
    """Return the links between the steps of a tile, without the one that leads into it."""
    return [[link[1:] for link in row] for row in links]
