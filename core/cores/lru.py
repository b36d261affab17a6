"""The linear recurrent unit.

Shapes: B batch, T time, D input, H output, N numbers of the state.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..families.elementwise import ElementwiseCore, project
from ..kernels.loops import over_time, whole_graph
from ..kernels.scan import linear_recurrence


class LRUState(NamedTuple):
    """What an LRU carries from step to step: a complex state, in its two parts.

    Attributes:
        real: Real part of x (B, N).
        imaginary: Imaginary part of x (B, N).
    """

    real: Tensor
    imaginary: Tensor


class LRU(ElementwiseCore):
    r"""Linear recurrent unit, parallel.

    Orvieto et al., 2023 (https://arxiv.org/abs/2303.06349), section 3 and appendix A, with the
    input u_t and the complex state x_t:

        lambda = exp(-exp(nu) + i exp(theta))
        x_t = lambda * x_{t-1} + exp(gamma) * (B u_t)
        y_t = Re(C x_t) + D u_t

    B and C are complex. nu, theta and gamma are the logarithms that the paper's code learns:
    nu_log, theta_log and gamma_log. The initial state is zero. The paper's block has a norm before
    this layer and a gated linear unit after it, which belong to the model around it.

    `weight_in` (2N, D): the real part of B above the imaginary one; `weight_out` (H, 2N): the real
    part of C beside the imaginary one; `weight_skip` (H, D): D, a diagonal in the paper's code,
    where H is the size of the input; `nu`, `theta`, `gamma` (N,). Initialised as there: lambda
    uniform in the ring of the complex plane between the radii 0 and 1 up to the phase 2 pi, gamma
    such that white noise gives a state of its own size, exp(2 gamma) = 1 - |lambda|^2; both parts
    of B normal with variance 1 / 2D, those of C with 1 / N, D with 1 / D.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the output.
        state_size: N; H when not given.
        least_radius: Of |lambda| at the beginning.
        most_radius: Of |lambda| at the beginning; for long memories the paper takes radii up to
            0.999.
        most_phase: Of lambda at the beginning; for long memories the paper takes pi / 10.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.

    Examples:
        >>> core = LRU(3, 8, state_size=4, least_radius=0.9, most_radius=0.999)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.real.shape, state.imaginary.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 4]), torch.Size([2, 4]))
    """

    parallel = True
    state_type = LRUState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        state_size: int | None = None,
        least_radius: float = 0.0,
        most_radius: float = 1.0,
        most_phase: float = 2 * math.pi,
        chunk: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, chunk=chunk)
        if state_size is not None and state_size < 1:
            raise ValueError(f"LRU: state_size is {state_size}; it is at least 1, or None")
        if not 0.0 <= least_radius < most_radius <= 1.0:
            raise ValueError(
                f"LRU: the radii are from {least_radius} to {most_radius}; they rise within 0 and 1"
            )
        if not 0.0 < most_phase <= 2 * math.pi:
            raise ValueError(f"LRU: most_phase is {most_phase}; it is above 0 and up to 2 pi")
        self.state_size = hidden_size if state_size is None else state_size
        self.radii = (least_radius, most_radius)
        self.most_phase = most_phase
        self.weight_in = nn.Parameter(torch.empty(2 * self.state_size, input_size))
        self.weight_out = nn.Parameter(torch.empty(hidden_size, 2 * self.state_size))
        self.weight_skip = nn.Parameter(torch.empty(hidden_size, input_size))
        self.nu = nn.Parameter(torch.empty(self.state_size))
        self.theta = nn.Parameter(torch.empty(self.state_size))
        self.gamma = nn.Parameter(torch.empty(self.state_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters as the class says."""
        nn.init.normal_(self.weight_in, 0.0, (2 * self.input_size) ** -0.5)
        nn.init.normal_(self.weight_out, 0.0, self.state_size**-0.5)
        nn.init.normal_(self.weight_skip, 0.0, self.input_size**-0.5)
        least, most = self.radii
        with torch.no_grad():
            # never 0 or 1: their logarithms have none
            area = self.nu.uniform_().clamp_(1e-6, 1.0 - 1e-6)
            squared = area * (most**2 - least**2) + least**2  # |lambda|^2
            self.nu.copy_(torch.log(-0.5 * torch.log(squared)))
            self.gamma.copy_(0.5 * torch.log1p(-squared))
            self.theta.uniform_().clamp_(min=1e-6).mul_(self.most_phase).log_()

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the two parts."""
        return dict.fromkeys(LRUState._fields, (self.state_size,))

    def _factor(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return real and imaginary part of lambda (N,)."""
        size, phase = torch.exp(-torch.exp(self.nu.to(dtype))), torch.exp(self.theta.to(dtype))
        return size * torch.cos(phase), size * torch.sin(phase)

    def _enter(self, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Return both parts of exp(gamma) * B u (..., N, 2) of u (..., D)."""
        # real and imaginary part side by side, as a complex number has them
        weight = self.weight_in * torch.exp(self.gamma).repeat(2).unsqueeze(1)
        weight = weight.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)  # (2N, D)
        return project(u, weight, None, dtype=dtype).view(*u.shape[:-1], self.state_size, 2)

    def _leave(self, x: Tensor, u: Tensor) -> Tensor:
        """Return y (..., H) of both parts of the state (..., N, 2) and u (..., D)."""
        real, imaginary = self.weight_out.chunk(2, 1)
        weight = torch.stack((real, -imaginary), 2).flatten(1)  # (H, 2N)
        x = x.flatten(-2).to(u.dtype)
        return project(x, weight, None, dtype=u.dtype) + project(
            u, self.weight_skip, None, dtype=u.dtype
        )

    def step(self, x: Tensor, state: LRUState) -> tuple[Tensor, LRUState]:
        """Advance one step; see `RecurrentCore.step`."""
        factor = self._factor(state.real.dtype)
        parts, after = _advance(factor, self._enter(x, state.real.dtype), state)
        return self._leave(parts, x), after

    def _run(self, x: Tensor, state: LRUState, reset: Tensor | None) -> tuple[Tensor, LRUState]:
        if whole_graph():  # which takes neither complex numbers nor resets
            advance = partial(_advance, self._factor(state.real.dtype))
            parts, _ = over_time(advance, self._enter(x, state.real.dtype), state)  # (T, B, N, 2)
            return self._leave(parts, x), LRUState(*parts.unbind(-1))
        entered = torch.view_as_complex(self._enter(x, state.real.dtype))  # (T, B, N)
        factor = torch.complex(*self._factor(state.real.dtype)).expand_as(entered)
        states = linear_recurrence(factor, entered, torch.complex(*state), reset)
        return self._leave(torch.view_as_real(states), x), LRUState(states.real, states.imag)

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        sizes = f"{self.input_size}, {self.hidden_size}, state_size={self.state_size}"
        return f"{sizes}, chunk={self.chunk}"


def _advance(
    factor: tuple[Tensor, Tensor], entered: Tensor, state: LRUState
) -> tuple[Tensor, LRUState]:
    """Multiply complex numbers by their parts: both of the next state (B, N, 2), and the state."""
    (a, a_i), (before, before_i), (b, b_i) = factor, state, entered.unbind(-1)  # (N,), (B, N)
    after = LRUState(a * before - a_i * before_i + b, a * before_i + a_i * before + b_i)
    return torch.stack(after, -1), after
