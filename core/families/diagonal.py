"""Gated cores whose units see nothing but themselves: trained step by step or by Newton's method.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..kernels.diagonal import DiagonalLoop, Law, worth_newton
from ..state import State
from .elementwise import ElementwiseCore, project


class DiagonalCore(ElementwiseCore):
    """A core of three gates whose hidden-to-hidden matrices are diagonal.

    Danieli et al., 2025, ParaRNN (https://arxiv.org/abs/2510.21450). `weight_ih` (3H, D),
    `weight_hh` (3H,), the diagonals gate by gate, and `bias` (3H,).

    On a CPU a sequence is run step by step, elsewhere by Newton's method, which finds all steps at
    once: to float32's rounding the same numbers. Each iteration waits for one number from the
    device.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        bias: Whether there are biases.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.
    """

    parallel = True
    recurrent_weights = ("weight_hh",)

    def __init__(
        self, input_size: int, hidden_size: int, *, bias: bool = True, chunk: int | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, chunk=chunk)
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size)) if bias else None

    def reset_parameters(self) -> None:
        """Draw the parameters as the class says."""
        size = self.hidden_size
        bound = (6 / (self.input_size + size)) ** 0.5
        nn.init.uniform_(self.weight_ih, -bound, bound)
        for diagonal in self._diagonals():
            nn.init.normal_(diagonal, 0.0, 2 * (5 * size) ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
            with torch.no_grad():
                self.bias[:size] = -torch.linspace(0, 1, size)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Advance one step; see `RecurrentCore.step`."""
        dtype = state[0].dtype
        projected = project(x, self.weight_ih, self.bias, dtype=dtype)  # (B, 3H)
        state = self.state_type(*self._law().step(projected, *state, *self._weights(dtype)))
        return state[0].to(x.dtype), state

    def _run(self, x: Tensor, state: Any, reset: Tensor | None) -> tuple[Tensor, State]:
        dtype = state[0].dtype
        states = DiagonalLoop.call(
            self._law(), worth_newton(x), reset, len(state), *state, *self._weights(dtype),
            source=partial(project, dtype=dtype), given=(x, self.weight_ih, self.bias),
        )  # fmt: skip
        return states[0], self.state_type(*states)  # (T, B, H) each

    def _weights(self, dtype: torch.dtype) -> list[Tensor]:
        return [weight.to(dtype) for weight in self._diagonals()]

    @abstractmethod
    def _law(self) -> Law:
        """Return the step, of a projected input (..., 3H), the state and `_diagonals`."""

    def _diagonals(self) -> list[Tensor]:
        """Return the weights that the step takes."""
        return [self.weight_hh]

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}, chunk={self.chunk}{bias}"
