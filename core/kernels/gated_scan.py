"""A linear recurrence together with the gates that make its factors, a few steps at a time.

On a CPU, elementwise operations on whole sequences spend their time on fresh memory. Here the
gates, the recurrence and their gradients are computed for a tile of steps that stays in the
processor's cache. Kept for the gradient are the states and the activated gates, in the memory of
the gates' input; the rest is computed again.

Shapes: T time, B batch, H state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .loops import Loop
from .scan import linear_recurrence, scan_

# elements of the state in a tile; 2^15 to 2^17 measure alike with 1 MiB of cache per core
_TILE = 1 << 16
_TILED_DEVICES = ("cpu",)  # elsewhere: plain operations on whole sequences


class Gates(ABC):
    """What surrounds a linear recurrence: elementwise over time and rows, for any number of steps at a time.

    In the methods, `given` is the activated parts of the projected input, then the other sequences,
    all (T, B, H), then the parameters (H,).

    Args:
        *activations: The function of each part of the projected input.
    """

    def __init__(self, *activations: Callable[[Tensor], Tensor]) -> None:
        self.activations = activations

    @abstractmethod
    def factors(self, *given: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Makes the recurrence.

        Returns:
            a and b of h_t = a_t * h_{t-1} + b_t, each (T, B, H), and what `gradients` wants to see
            again.
        """

    def read(self, h: Tensor, *given: Tensor) -> Tensor:
        """Makes the output of the states, (T, B, H); the states themselves by default."""
        return h

    def read_gradient(self, grad: Tensor, *given: Tensor) -> Tensor:
        """Takes a gradient of the output (T, B, H) to one of the states."""
        return grad

    @abstractmethod
    def gradients(
        self,
        given: tuple[Tensor, ...],
        kept: tuple[Tensor, ...],
        out: tuple[Tensor, ...],
        before: Tensor,
        h: Tensor,
        grad_h: Tensor,
        grad_output: Tensor,
    ) -> None:
        """Makes the gradients of everything given; of the parts before their activation.

        Args:
            given: As everywhere.
            kept: What `factors` kept.
            out: Where they go: the parts' and sequences' gradients are written, the parameters' are
                added.
            before: h_{t-1}, (T, B, H).
            h: h_t, (T, B, H).
            grad_h: The whole gradient of h_t, the later steps' included, which is that of b_t, (T,
                B, H).
            grad_output: The gradient of the output, (T, B, H).
        """


def gated_recurrence(
    gates: Gates,
    project: Callable[..., Tensor],
    given: Sequence[Tensor | None],
    initial: Tensor,
    *,
    sequences: Sequence[Tensor] = (),
    parameters: Sequence[Tensor] = (),
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Computes a, b = factors(...), h_t = a_t * h_{t-1} + b_t and the output read(h, ...).

    Args:
        gates: The functions, of K parts.
        project: Makes their input (T, B, K * H), a new tensor.
        given: What of; see `Loop.call`.
        initial: h before the first step (B, H).
        sequences: More tensors (T, B, H).
        parameters: Tensors (H,).
        reset: Bool (T, B), True where h_{t-1} counts as zero.

    Returns:
        The output and h, both (T, B, H) in the dtype of `initial`.
    """
    source = partial(_projected, project, initial.dtype)
    others = [tensor.to(initial.dtype) for tensor in (*sequences, *parameters)]
    if initial.device.type not in _TILED_DEVICES:
        found = _GatedRecurrence.formula(
            source(*given), initial, gates, len(sequences), reset, *others
        )
    else:
        found = _GatedRecurrence.call(
            initial, gates, len(sequences), reset, *others, source=source, given=given
        )
    return found if isinstance(found, tuple) else (found, found)


def _projected(project: Callable[..., Tensor], dtype: torch.dtype, *given: Tensor | None) -> Tensor:
    return project(*given).to(dtype)


class _GatedRecurrence(Loop):
    @staticmethod
    def formula(
        projected: Tensor,
        initial: Tensor,
        gates: Gates,
        count: int,
        reset: Tensor | None,
        *others: Tensor,
    ) -> Tensor | tuple[Tensor, Tensor]:
        parts = projected.chunk(len(gates.activations), 2)
        given = (
            *(activate(part) for activate, part in zip(gates.activations, parts, strict=True)),
            *others,
        )
        a, b, _ = gates.factors(*given)
        h = linear_recurrence(a, b, initial, reset)
        return h if type(gates).read is Gates.read else (gates.read(h, *given), h)

    @staticmethod
    def fast(
        ctx: Any,
        projected: Tensor,
        initial: Tensor,
        gates: Gates,
        count: int,
        reset: Tensor | None,
        *others: Tensor,
    ) -> tuple[Tensor | tuple[Tensor, ...], Sequence[Tensor | None]]:
        time = len(projected)
        # the state before each step, and the last
        states = initial.new_empty(time + 1, *initial.shape)
        states[0] = initial
        reads = type(gates).read is not Gates.read
        output = initial.new_empty(time, *initial.shape) if reads else None
        for tile in _tiles(time, initial.numel()):
            parts = projected[tile].chunk(len(gates.activations), 2)
            for activate, part in zip(gates.activations, parts, strict=True):
                if (activated := activate(part)) is not part:
                    # what the gradient needs, where nothing else needs what was there
                    part.copy_(activated)
            given = (*parts, *_cut(others, count, tile))
            a, b, _ = gates.factors(*given)
            states[tile.start + 1 : tile.stop + 1] = b
            cuts = None if reset is None else reset[tile]
            scan_(a.contiguous(), states[tile.start : tile.stop + 1], cuts=cuts)
            if output is not None:
                output[tile] = gates.read(states[tile.start + 1 : tile.stop + 1], *given)
        ctx.gates, ctx.parts = gates, count
        return states[1:] if output is None else (output, states[1:]), (
            reset,
            states,
            projected,
            *others,
        )

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *output_grads: Tensor) -> tuple[Tensor | None, ...]:
        gates, count = ctx.gates, ctx.parts
        reset, states, projected, *others = kept
        grad_output, grad_states = (
            output_grads[0],
            output_grads[1] if len(output_grads) == 2 else None,
        )
        grad_projected = torch.empty_like(projected)
        grads = [
            torch.empty_like(t) if i < count else torch.zeros_like(t) for i, t in enumerate(others)
        ]
        carry = torch.zeros_like(states[0])
        for tile in reversed(_tiles(len(grad_output), carry.numel())):
            given = (*projected[tile].chunk(len(gates.activations), 2), *_cut(others, count, tile))
            out = (
                *grad_projected[tile].chunk(len(gates.activations), 2),
                *_cut(grads, count, tile),
            )
            before, h = states[tile], states[tile.start + 1 : tile.stop + 1]
            a, _, made = gates.factors(*given)
            cuts = None if reset is None else reset[tile]
            if cuts is not None:
                before = before.masked_fill(cuts.unsqueeze(2), 0.0)
            grad_here = grad_output[tile].contiguous()
            grad_h = gates.read_gradient(grad_here, *given)
            grad_h = grad_h.clone() if grad_states is None else grad_h + grad_states[tile]
            grad_h[-1] += carry
            scan_(a[1:].contiguous(), grad_h, reverse=True, cuts=None if cuts is None else cuts[1:])
            carry = grad_h[0] * a[0]
            if cuts is not None:
                carry.masked_fill_(cuts[0].unsqueeze(1), 0.0)
            gates.gradients(given, made, out, before, h, grad_h, grad_here)
        return grad_projected, carry, None, None, None, *grads


def _tiles(time: int, elements: int) -> list[slice]:
    size = max(1, _TILE // elements)
    return [slice(start, min(start + size, time)) for start in range(0, time, size)]


def _cut(tensors: Sequence[Tensor], count: int, tile: slice) -> list[Tensor]:
    return [t[tile] if i < count else t for i, t in enumerate(tensors)]
