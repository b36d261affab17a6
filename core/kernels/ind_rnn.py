"""The loop of the independently recurrent network, with its gradient.

Shapes: B batch, T time, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .loops import Loop, masks_of_steps, over_time


class IndRNNLoop(Loop):
    """The steps in place, both ways: two operations each, and nothing is kept but the states."""

    @staticmethod
    def formula(
        projected: Tensor,
        step: Callable[[Tensor, Tensor, Tensor], Tensor],
        weight: Tensor,
        hidden: Tensor,
        reset: Tensor | None,
    ) -> Tensor:
        """Run the core's step, as torch differentiates it; see `fast`."""

        def advance(given: tuple[Tensor, ...], hidden: Tensor) -> tuple[Tensor, Tensor]:
            projected_t, *fresh = given
            if fresh:
                hidden = hidden.masked_fill(fresh[0].unsqueeze(1), 0.0)
            hidden = step(projected_t, weight, hidden)
            return hidden, hidden

        given = (projected,) if reset is None else (projected, reset)
        return over_time(advance, given, hidden)[0]  # (T, B, H)

    @staticmethod
    def fast(
        ctx: Any,
        projected: Tensor,
        step: Callable[[Tensor, Tensor, Tensor], Tensor],
        weight: Tensor,
        initial: Tensor,
        reset: Tensor | None,
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Run the loop in place.

        Args:
            ctx: See `Loop.fast`.
            projected: W x_t + b (T, B, H).
            step: The core's own, for `formula`.
            weight: u (H,).
            initial: h before the first step (B, H).
            reset: Bool (T, B), True where a row starts anew, or None.

        Returns:
            The outputs (T, B, H); what `gradient` wants to see.
        """
        h = projected.clone()
        before = initial
        for h_t, fresh in zip(h.unbind(), masks_of_steps(reset, len(h)), strict=True):
            if fresh is not None:
                before = before.masked_fill(fresh, 0.0)
            h_t.addcmul_(weight, before).relu_()
            before = h_t
        return h, (h, weight, initial, reset)

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the steps; see `Loop.gradient`."""
        h, weight, initial, reset = kept
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        # the gradient of the state after a step that came through the next one
        carry = torch.zeros_like(initial)
        through_relu = torch.ops.aten.threshold_backward.grad_input
        last = True
        sources = (grad.unbind(), h.unbind(), masks_of_steps(reset, len(h)))
        for grad_t, h_t, fresh in zip(*(source[::-1] for source in sources), strict=True):
            if not last:
                grad_t.addcmul_(weight, carry)
            last = False
            through_relu(grad_t, h_t, 0, grad_input=grad_t)
            carry = grad_t if fresh is None else grad_t.masked_fill(fresh, 0.0)
        later = grad[1:] if reset is None else grad[1:].masked_fill(reset[1:].unsqueeze(2), 0.0)
        grad_weight = carry.mul(initial).sum(0) + (later * h[:-1]).sum((0, 1))
        if not grad_weight.isfinite().all():
            # A state may overflow where nobody looks: past a row's end, before a reset.
            grad_weight = _product(carry, initial).sum(0) + _product(later, h[:-1]).sum((0, 1))
        return grad, None, grad_weight, carry * weight, None


def _product(grad: Tensor, factor: Tensor) -> Tensor:
    """Multiply; the product is zero where the gradient is, whatever the factor."""
    return (grad * factor).masked_fill_(grad == 0, 0.0)
