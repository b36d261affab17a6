"""The simple recurrence.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.torch_core import TorchCore
from ..kernels.loops import transformed, whole_graph
from ..state import HiddenState

RNNState = HiddenState


class RNN(TorchCore):
    r"""The simple (Elman) recurrence, sequential.

    Elman, 1990 (https://doi.org/10.1207/s15516709cog1402_1), as in `torch.nn.RNN`:

        h_t = tanh(W_xh x_t + b_xh + W_hh h_{t-1} + b_hh)

    or with relu in place of tanh. `weight_ih` (H, D), `weight_hh` (H, H), `bias_ih` (H,), `bias_hh`
    (H,). Initialised uniformly within 1 / sqrt(H), torch's default. The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        nonlinearity: "tanh" or "relu".
        bias: Whether there are biases.

    Examples:
        >>> core = RNN(3, 8, nonlinearity="relu")
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    gates = 1
    torch_class = nn.RNN

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity is {nonlinearity!r}; it must be 'tanh' or 'relu'")
        super().__init__(input_size, hidden_size, bias=bias)
        self.nonlinearity = nonlinearity
        if nonlinearity == "relu":
            # unbounded: steps past a row's end could overflow and spoil its gradient
            self._slack = 0

    def step(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        """Advance one step; see `RecurrentCore.step`."""
        (hidden,) = state
        weight_hh = self.weight_hh
        recurrent = F.linear(hidden.to(weight_hh.dtype), weight_hh, self.bias_hh)
        total = F.linear(x, self.weight_ih, self.bias_ih) + recurrent  # (B, H)
        output = torch.tanh(total) if self.nonlinearity == "tanh" else torch.relu(total)
        return output.to(x.dtype), RNNState(output.to(hidden.dtype))

    def _sequence(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        if transformed() or whole_graph():
            return cast("tuple[Tensor, RNNState]", super()._sequence(x, state))
        (hidden,) = state
        kernel = torch.rnn_tanh if self.nonlinearity == "tanh" else torch.rnn_relu
        hx = hidden.unsqueeze(0).to(x.dtype)  # (1, B, H)
        output, hidden_n = self._kernel(kernel, x, hx, self._weights())
        return output.to(x.dtype), RNNState(hidden_n[0].to(hidden.dtype))

    @classmethod
    def _options_of(cls, module: nn.RNNBase) -> dict[str, Any]:
        return {"nonlinearity": module.nonlinearity}

    def torch_options(self) -> dict[str, Any]:
        """Return the arguments of the torch module beyond its sizes."""
        return {**super().torch_options(), "nonlinearity": self.nonlinearity}
