"""Recurrences whose units see nothing but themselves: step by step, or by Newton's method.

h_t = f(p_t, h_{t-1}), where a unit of h_t depends on the same unit of h_{t-1} alone, so that the
derivative by h_{t-1} is a number a unit (with two tensors in the state, a 2 x 2 matrix).

Newton's method finds all steps at once (Lim et al., 2024, https://arxiv.org/abs/2309.12252; Danieli
et al., 2025, https://arxiv.org/abs/2510.21450): replaced by its tangent at a guess, the recurrence
is a linear one, and a scan solves it for the next guess. The gradient is a linear recurrence from
the last step to the first, whichever way the states were found. The derivatives of f are taken by
autograd, over many steps at once.

Shapes: T time, B batch, H hidden, K numbers of a step's input, L steps of a tile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .block_scan import Links, block_scan_
from .loops import Loop, masks_of_steps

Law: TypeAlias = Callable[..., tuple[Tensor, ...]]
"""f: takes p_t, the tensors of the state and weights; returns the tensors of the next state."""

# Elements of the state in a tile: on a CPU what stays in the cache, elsewhere what bounds memory.
_TILE, _TILE_ELSEWHERE = 1 << 15, 1 << 24
# From here on Newton's method is tried: a try takes about as many kernels as this many steps.
_LEAST_STEPS = 48
# Usual are three to six; where these don't suffice, the steps are run one after the other.
_MOST_ITERATIONS = 16


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
        cuts = [None] * len(projected) if reset is None else list(reset.unsqueeze(2).unbind())
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
            count: How many tensors a state has.
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
        ctx.law, ctx.parts, ctx.parallel = law, count, newton
        return states, (projected, reset, *states, *tensors)

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the tiles; see `Loop.gradient`."""
        projected, reset, *tensors = kept
        n = ctx.parts
        states, initial, weights = tensors[:n], tensors[n : 2 * n], tensors[2 * n :]
        d_projected = torch.empty_like(projected)
        d_weights = [torch.zeros_like(weight) for weight in weights]
        carry: list[Tensor] | None = None  # of the state after a tile, through the steps of the next
        for tile in reversed(_tiles(projected, states[0])):
            before = _before(states, initial, reset, tile)
            with _graph(projected[tile], *before, *weights) as (p, *given):
                after = ctx.law(p, *given)
                links = _links(after, given[:n], None if reset is None else reset[tile])
                # of the states, later steps included
                adjoint = [
                    grad[tile].clone(memory_format=torch.contiguous_format) for grad in grads
                ]
                if carry is not None:
                    for part, more in zip(adjoint, carry, strict=True):
                        part[-1] += more
                inner = [[link[1:] for link in row] for row in links]
                block_scan_(inner, adjoint, reverse=True, parallel=ctx.parallel)
                carry = [
                    sum((links[i][j][0] * adjoint[i][0] for i in range(1, n)), first)
                    for j, first in enumerate(link[0] * adjoint[0][0] for link in links[0])
                ]
                found = torch.autograd.grad(after, [p, *given[n:]], adjoint)
            d_projected[tile] = found[0]
            for total, part in zip(d_weights, found[1:], strict=True):
                total += part
        return d_projected, None, None, None, None, *(carry or ()), *d_weights


def worth_newton(x: Tensor) -> bool:
    """Tell whether Newton's method is the faster way to run a sequence.

    Args:
        x: The core's input (T, B, D).
    """
    return x.is_cuda and len(x) >= _LEAST_STEPS


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
        state = law(p, *state, *weights)
        found.append(state)
    return tuple(torch.stack(parts) for parts in zip(*found, strict=True))


def _newton(
    projected: Tensor,
    law: Law,
    reset: Tensor | None,
    initial: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Find the states, tile by tile; in the reals, T iterations find T steps whatever the guess."""
    found: list[tuple[Tensor, ...]] = []
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
) -> tuple[Tensor, ...]:
    time = len(projected)
    # where every state before is zero
    guess = law(projected, *(torch.zeros_like(part).expand(time, -1, -1) for part in initial), *weights)
    states = [part.contiguous() for part in guess]
    # Digits double: after a change of eps^0.7 the next one would be lost in rounding.
    enough = torch.finfo(initial[0].dtype).eps ** 0.7
    for _ in range(_MOST_ITERATIONS):
        before = _before(states, initial, reset, slice(0, time))
        with _graph(projected, *before, *weights) as (p, *given):
            after = law(p, *given)
            links = _links(after, given[: len(initial)], reset)
            change = [part.detach() - state for part, state in zip(after, states, strict=True)]
        inner = [[link[1:] for link in row] for row in links]
        block_scan_(inner, change, reverse=False, parallel=True)
        states = [state + more for state, more in zip(states, change, strict=True)]
        if max(float(more.abs().max()) for more in change) <= enough:  # waits for a GPU
            return tuple(states)
    return _steps(projected, law, masks_of_steps(reset, time), initial, weights)


def _tiles(projected: Tensor, like: Tensor) -> list[slice]:
    """Cut T steps into tiles; `like` is (..., B, H)."""
    size = _TILE if projected.device.type == "cpu" else _TILE_ELSEWHERE
    length = max(1, size // (like.shape[-2] * like.shape[-1]))
    time = len(projected)
    return [slice(start, min(start + length, time)) for start in range(0, time, length)]


def _before(
    states: Sequence[Tensor], initial: Sequence[Tensor], reset: Tensor | None, tile: slice
) -> list[Tensor]:
    """Return the states before each step of a tile, (L, B, H) each: zero where it resets."""
    found = []
    for after, first in zip(states, initial, strict=True):
        if tile.start:
            before = after[tile.start - 1 : tile.stop - 1]
        else:
            before = torch.cat((first.unsqueeze(0), after[: tile.stop - 1]))
        if reset is not None:
            before = before.masked_fill(reset[tile].unsqueeze(2), 0.0)
        found.append(before)
    return found


@contextlib.contextmanager
def _graph(*tensors: Tensor) -> Iterator[list[Tensor]]:
    """Open a graph of its own, also under `inference_mode`; yield its leaves."""
    with torch.inference_mode(False), torch.enable_grad():
        yield [
            (tensor.clone() if tensor.is_inference() else tensor).detach().requires_grad_()
            for tensor in tensors
        ]


def _links(after: Sequence[Tensor], before: list[Tensor], reset: Tensor | None) -> Links:
    """Take the derivatives (L, B, H) of each tensor by each; zero at resets (L, B)."""
    links = []
    for part in after:
        row = torch.autograd.grad(
            part.sum(), before, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        if reset is not None:
            row = [link.masked_fill(reset.unsqueeze(2), 0.0) for link in row]
        links.append([link.contiguous() for link in row])
    return links
