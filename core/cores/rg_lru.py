"""The real-gated linear recurrent unit.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.gated_scan import Gates, gated_recurrence
from .elementwise import ElementwiseCore, project

_POWER = 8.0  # the paper's c
_LEAST = 1e-30  # of 1 - a^2: its root has no slope at 0, where the recurrence gate underflows


class RGLRUState(NamedTuple):
    """What an RGLRU carries from step to step.

    Attributes:
        hidden: h (B, H), the last output.
    """

    hidden: Tensor


class RGLRU(ElementwiseCore):
    r"""Real-gated linear recurrent unit of Griffin, with its input projection, parallel.

    De et al., 2024 (https://arxiv.org/abs/2402.19427), section 2.4, on a projected input u_t:

        u_t = W_u x_t + b_u                             input projection
        r_t = sigmoid(W_r u_t + b_r)                    recurrence gate
        i_t = sigmoid(W_i u_t + b_i)                    input gate
        a_t = a^(c r_t), a = sigmoid(lambda), c = 8
        h_t = a_t * h_{t-1} + sqrt(1 - a_t^2) * (i_t * u_t)

    computed as log a_t = -c r_t softplus(-lambda). The equations hold at the first step and after a
    reset, too, where h_{t-1} is zero; DeepMind's code leaves the root out there. Griffin's block
    has a short convolution before and a gated branch beside this layer, which belong to the model
    around it.

    `weight_in` (H, D), `bias_in` (H,); gate order r, i: `weight_gates` (2H, H), `bias_gates` (2H,);
    `decay` (H,), the paper's capital lambda. Initialised as in the paper: weights normal with
    variance 1 / fan-in (LeCun), biases zero, `decay` such that a^c is uniform within 0.9 and 0.999.
    The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.
    """

    parallel = True

    def __init__(self, input_size: int, hidden_size: int, *, chunk: int | None = None) -> None:
        super().__init__(input_size, hidden_size, chunk=chunk)
        self._gates = _RGLRUGates(torch.sigmoid, torch.sigmoid)
        self.weight_in = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias_in = nn.Parameter(torch.empty(hidden_size))
        self.weight_gates = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.bias_gates = nn.Parameter(torch.empty(2 * hidden_size))
        self.decay = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters as the class says."""
        nn.init.normal_(self.weight_in, 0.0, self.input_size**-0.5)
        nn.init.normal_(self.weight_gates, 0.0, self.hidden_size**-0.5)
        nn.init.zeros_(self.bias_in)
        nn.init.zeros_(self.bias_gates)
        with torch.no_grad():
            a = self.decay.uniform_(0.9, 0.999).pow_(1 / _POWER)
            self.decay.copy_(torch.log(a / (1 - a)))

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> RGLRUState:
        """Returns zeros; see `RecurrentCore.initial_state`."""
        return RGLRUState(self._zeros(batch_size, self.hidden_size, device, dtype))

    def step(self, x: Tensor, state: RGLRUState) -> tuple[Tensor, RGLRUState]:
        """Advances one step; see `RecurrentCore.step`."""
        (hidden,) = state
        u = F.linear(x, self.weight_in, self.bias_in)
        r, i = torch.sigmoid(
            F.linear(u, self.weight_gates, self.bias_gates).to(hidden.dtype)
        ).chunk(2, 1)
        log_a = -_POWER * r * F.softplus(-self.decay.to(hidden.dtype))
        root = torch.sqrt(torch.expm1(2 * log_a).neg().clamp(min=_LEAST))
        hidden = torch.exp(log_a) * hidden + root * (i * u.to(hidden.dtype))
        return hidden.to(x.dtype), RGLRUState(hidden)

    def _run(self, x: Tensor, state: RGLRUState, reset: Tensor | None) -> tuple[Tensor, RGLRUState]:
        u = project(x, self.weight_in, self.bias_in)
        given = (u, self.weight_gates, self.bias_gates)
        output, hidden = gated_recurrence(
            self._gates,
            project,
            given,
            state.hidden,
            sequences=[u],
            parameters=[self.decay],
            reset=reset,
        )
        return output, RGLRUState(hidden)

    def extra_repr(self) -> str:
        """Shows the options in the module's representation."""
        return f"{self.input_size}, {self.hidden_size}, chunk={self.chunk}"


class _RGLRUGates(Gates):
    def factors(self, *given: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        r, i, u, decay = given
        log_a = r * (-_POWER * F.softplus(-decay))
        a = torch.exp(log_a)
        root = torch.sqrt(torch.expm1(2 * log_a).neg().clamp(min=_LEAST))
        scaled = root * i
        return a, scaled * u, (a, root, scaled)

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
        r, i, u, decay = given
        a, root, scaled = kept
        grad_r, grad_i, grad_u, grad_decay = out
        torch.mul(grad_h, scaled, out=grad_u)
        grad_product = grad_h * u
        torch.addcmul(i, i, i, value=-1, out=grad_i).mul_(grad_product).mul_(root)
        # log a moves a by a, and the root by -a^2 / root.
        slope = torch.div(a, root).mul_(i).mul_(grad_product).neg_()
        grad_log = slope.addcmul_(grad_h, before).mul_(a)
        grad_rate = grad_log * r
        grad_decay.add_(grad_rate.sum((0, 1)) * (_POWER * torch.sigmoid(-decay)))
        torch.mul(grad_rate, 1 - r, out=grad_r).mul_(-_POWER * F.softplus(-decay))
