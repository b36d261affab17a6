"""Gated recurrent unit.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.loops import transformed
from .torch_core import TorchCore


class GRUState(NamedTuple):
    """What a GRU carries from step to step.

    Attributes:
        hidden: h (B, H), the last output.
    """

    hidden: Tensor


class GRU(TorchCore):
    r"""Gated recurrent unit, sequential.

    Cho et al., 2014 (https://arxiv.org/abs/1406.1078), with the reset gate after the matrix product
    as in `torch.nn.GRU` and cuDNN:

        r_t = sigmoid(W_xr x_t + b_xr + W_hr h_{t-1} + b_hr)           reset gate
        z_t = sigmoid(W_xz x_t + b_xz + W_hz h_{t-1} + b_hz)           update gate
        n_t = tanh(W_xn x_t + b_xn + r_t * (W_hn h_{t-1} + b_hn))      candidate
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Gate order r, z, n: `weight_ih` (3H, D), `weight_hh` (3H, H), `bias_ih` (3H,), `bias_hh` (3H,).
    Initialised uniformly within 1 / sqrt(H), torch's default. The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        bias: Whether there are biases.
    """

    gates = 3
    torch_class = nn.GRU

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> GRUState:
        """Returns zeros; see `RecurrentCore.initial_state`."""
        return GRUState(self._zeros(batch_size, self.hidden_size, device, dtype))

    def step(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        """Advances one step; see `RecurrentCore.step`."""
        (hidden,) = state
        weight_hh = self.weight_hh
        x_r, x_z, x_n = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, 1)
        h_r, h_z, h_n = F.linear(hidden.to(weight_hh.dtype), weight_hh, self.bias_hh).chunk(3, 1)
        r = torch.sigmoid(x_r + h_r)
        z = torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * h_n)
        hidden = n + z * (hidden - n)
        return hidden.to(x.dtype), GRUState(hidden)

    def _sequence(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        if transformed():
            return cast("tuple[Tensor, GRUState]", super()._sequence(x, state))
        (hidden,) = state
        output, hidden_n = self._kernel(
            torch.gru, x, hidden.unsqueeze(0).to(x.dtype), self._weights()
        )
        return output.to(x.dtype), GRUState(hidden_n[0].to(hidden.dtype))
