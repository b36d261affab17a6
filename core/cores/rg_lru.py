"""The real-gated linear recurrent unit.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.elementwise import LinearCore, project
from ..state import HiddenState

_POWER = 8.0  # the paper's c
_LEAST = 1e-30  # of 1 - a^2: its root has no slope at 0, where the recurrence gate underflows

RGLRUState = HiddenState


class RGLRU(LinearCore):
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

    Examples:
        >>> core = RGLRU(3, 8, chunk=4)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    def __init__(self, input_size: int, hidden_size: int, *, chunk: int | None = None) -> None:
        super().__init__(input_size, hidden_size, chunk=chunk)
        self.weight_in = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias_in = nn.Parameter(torch.empty(hidden_size))
        self.weight_gates = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.bias_gates = nn.Parameter(torch.empty(2 * hidden_size))
        self.decay = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters as the class says."""
        nn.init.normal_(self.weight_in, 0.0, self.input_size**-0.5)
        nn.init.normal_(self.weight_gates, 0.0, self.hidden_size**-0.5)
        nn.init.zeros_(self.bias_in)
        nn.init.zeros_(self.bias_gates)
        with torch.no_grad():
            a = self.decay.uniform_(0.9, 0.999).pow_(1 / _POWER)
            self.decay.copy_(torch.log(a / (1 - a)))

    def _factors(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        u = project(x, self.weight_in, self.bias_in)  # (..., H)
        gates = project(u, self.weight_gates, self.bias_gates).to(dtype)
        r, i = torch.sigmoid(gates).chunk(2, -1)
        log_a = r * (-_POWER * F.softplus(-self.decay.to(dtype)))
        root = torch.sqrt(torch.expm1(2 * log_a).neg().clamp(min=_LEAST))  # sqrt(1 - a^2)
        return torch.exp(log_a), root * (i * u.to(dtype))

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        return f"{self.input_size}, {self.hidden_size}, chunk={self.chunk}"
