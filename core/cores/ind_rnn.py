"""The independently recurrent network.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.loops import Loop, masks_of_steps
from .elementwise import ElementwiseCore, project


class IndRNNState(NamedTuple):
    """What an IndRNN carries from step to step.

    Attributes:
        hidden: h (B, H), the last output.
    """

    hidden: Tensor


class IndRNN(ElementwiseCore):
    r"""Independently recurrent network: each unit remembers itself only, through a relu, sequential.

    Li et al., 2018 (https://arxiv.org/abs/1803.04831):

        h_t = relu(W x_t + u * h_{t-1} + b)

    `weight_ih` (H, D), `weight_hh` (H,) the paper's u, `bias` (H,). Initialised as in the paper: u
    uniformly within 0 and 1; W uniformly within 1 / sqrt(D), as `nn.Linear` does; the bias is zero.
    The initial state is zero.

    A unit whose u exceeds 1 in size grows without bound. For sequences of T steps the paper clips u
    to 2^(1/T) in size after each update: `core.weight_hh.data.clamp_(-bound, bound)`.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        bias: Whether there is a bias.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.
    """

    recurrent_weights = ("weight_hh",)

    def __init__(
        self, input_size: int, hidden_size: int, *, bias: bool = True, chunk: int | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, chunk=chunk)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters as the class says."""
        nn.init.uniform_(self.weight_ih, -(self.input_size**-0.5), self.input_size**-0.5)
        nn.init.uniform_(self.weight_hh, 0.0, 1.0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> IndRNNState:
        """Returns zeros; see `RecurrentCore.initial_state`."""
        return IndRNNState(self._zeros(batch_size, self.hidden_size, device, dtype))

    def step(self, x: Tensor, state: IndRNNState) -> tuple[Tensor, IndRNNState]:
        """Advances one step; see `RecurrentCore.step`."""
        (hidden,) = state
        projected = F.linear(x, self.weight_ih, self.bias).to(hidden.dtype)
        hidden = torch.relu(projected + self.weight_hh.to(hidden.dtype) * hidden)
        return hidden.to(x.dtype), IndRNNState(hidden)

    def _run(
        self, x: Tensor, state: IndRNNState, reset: Tensor | None
    ) -> tuple[Tensor, IndRNNState]:
        (hidden,) = state
        weight, given = self.weight_hh.to(hidden.dtype), (x, self.weight_ih, self.bias)
        output = _Recurrence.call(
            weight, hidden, reset, source=partial(_projected, hidden.dtype), given=given
        )
        return output, IndRNNState(output)

    def extra_repr(self) -> str:
        """Shows the options in the module's representation."""
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}, chunk={self.chunk}{bias}"


def _projected(dtype: torch.dtype, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return project(x, weight, bias).to(dtype)


class _Recurrence(Loop):
    """The steps in place, forward and backward: two operations each, and nothing is kept but the states."""

    @staticmethod
    def formula(projected: Tensor, weight: Tensor, hidden: Tensor, reset: Tensor | None) -> Tensor:
        outputs = []
        for t, step in enumerate(projected.unbind(0)):
            if reset is not None:
                hidden = hidden.masked_fill(reset[t].unsqueeze(1), 0.0)
            hidden = torch.relu(step + weight * hidden)
            outputs.append(hidden)
        return torch.stack(outputs)

    @staticmethod
    def fast(
        ctx: Any, projected: Tensor, weight: Tensor, initial: Tensor, reset: Tensor | None
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        h = projected.clone()
        before = initial
        for step, fresh in zip(h.unbind(0), masks_of_steps(reset, len(h)), strict=True):
            step.addcmul_(
                weight, before if fresh is None else before.masked_fill(fresh, 0.0)
            ).relu_()
            before = step
        return h, (h, weight, initial, reset)

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, initial, reset = kept
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        # the gradient of the state after a step that came through the next one
        carry = torch.zeros_like(initial)
        threshold = torch.ops.aten.threshold_backward
        last = True
        for step, after, fresh in zip(
            grad.unbind(0)[::-1],
            h.unbind(0)[::-1],
            masks_of_steps(reset, len(h))[::-1],
            strict=True,
        ):
            if not last:
                step.addcmul_(weight, carry)
            last = False
            threshold.grad_input(step, after, 0, grad_input=step)
            carry = step if fresh is None else step.masked_fill(fresh, 0.0)
        later = grad[1:] if reset is None else grad[1:].masked_fill(reset[1:].unsqueeze(2), 0.0)
        grad_weight = carry.mul(initial).sum(0) + (later * h[:-1]).sum((0, 1))
        if not grad_weight.isfinite().all():
            # A state may overflow where nobody looks: past a row's end, before a reset.
            grad_weight = _product(carry, initial).sum(0) + _product(later, h[:-1]).sum((0, 1))
        return grad, grad_weight, carry * weight, None


def _product(grad: Tensor, factor: Tensor) -> Tensor:
    """The product that is zero where the gradient is, whatever the factor."""
    return (grad * factor).masked_fill_(grad == 0, 0.0)
