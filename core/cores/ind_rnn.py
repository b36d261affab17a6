"""The independently recurrent network.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.elementwise import ElementwiseCore, project
from ..kernels.ind_rnn import IndRNNLoop
from ..state import HiddenState

IndRNNState = HiddenState


class IndRNN(ElementwiseCore):
    r"""Independently recurrent network: each unit remembers itself alone, sequential.

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

    Examples:
        >>> core = IndRNN(3, 8)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
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
        """Draw the parameters as the class says."""
        nn.init.uniform_(self.weight_ih, -(self.input_size**-0.5), self.input_size**-0.5)
        nn.init.uniform_(self.weight_hh, 0.0, 1.0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def step(self, x: Tensor, state: IndRNNState) -> tuple[Tensor, IndRNNState]:
        """Advance one step; see `RecurrentCore.step`."""
        (hidden,) = state
        projected = F.linear(x, self.weight_ih, self.bias).to(hidden.dtype)  # (B, H)
        hidden = _step(projected, self.weight_hh.to(hidden.dtype), hidden)
        return hidden.to(x.dtype), IndRNNState(hidden)

    def _run(
        self, x: Tensor, state: IndRNNState, reset: Tensor | None
    ) -> tuple[Tensor, IndRNNState]:
        (hidden,) = state
        output = IndRNNLoop.call(
            _step, self.weight_hh.to(hidden.dtype), hidden, reset,
            source=partial(project, dtype=hidden.dtype), given=(x, self.weight_ih, self.bias),
        )  # fmt: skip
        return output, IndRNNState(output)  # (T, B, H)

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}, chunk={self.chunk}{bias}"


def _step(projected: Tensor, weight: Tensor, hidden: Tensor) -> Tensor:
    return torch.relu(projected + weight * hidden)
