"""Gated recurrent unit.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.torch_core import TorchCore
from ..kernels.loops import transformed, whole_graph
from ..products import product
from ..state import HiddenState

GRUState = HiddenState


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

    Examples:
        >>> core = GRU(3, 8)
        >>> output, state = core(torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, state.hidden.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    gates = 3
    torch_class = nn.GRU

    def step(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        """Advance one step; see `RecurrentCore.step`."""
        (hidden,) = state
        weight_hh = self.weight_hh
        x_r, x_z, x_n = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, 1)  # (B, H) each
        h_r, h_z, h_n = F.linear(hidden.to(weight_hh.dtype), weight_hh, self.bias_hh).chunk(3, 1)
        r = torch.sigmoid(x_r + h_r)
        z = torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * h_n)
        hidden = n + z * (hidden - n)
        return hidden.to(x.dtype), GRUState(hidden)

    @torch.no_grad()
    def stepper(self) -> Callable[[Tensor, GRUState], tuple[Tensor, GRUState]]:
        """Make `step` ready: one sigmoid, and no biases to add; see `RecurrentCore.stepper`."""
        size = self.hidden_size
        read, keep = product(self.weight_ih, self.bias_ih), product(self.weight_hh, self.bias_hh)
        dtype = self.weight_hh.dtype

        def step(x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
            (hidden,) = state
            given = read(x)  # (B, 3H)
            kept = keep(hidden.to(dtype))  # (B, 3H)
            gates = given[:, : 2 * size].add_(kept[:, : 2 * size]).sigmoid_()  # (B, 2H)
            n = torch.addcmul(given[:, 2 * size :], gates[:, :size], kept[:, 2 * size :]).tanh_()
            hidden = torch.lerp(n.to(hidden.dtype), hidden, gates[:, size:].to(hidden.dtype))
            return hidden.to(x.dtype), GRUState(hidden)

        return step

    def _sequence(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        if transformed() or whole_graph():
            return cast("tuple[Tensor, GRUState]", super()._sequence(x, state))
        (hidden,) = state
        hx = hidden.unsqueeze(0).to(x.dtype)  # (1, B, H)
        output, hidden_n = self._kernel(torch.gru, x, hx, self._weights())
        return output.to(x.dtype), GRUState(hidden_n[0].to(hidden.dtype))
