"""Long short-term memory.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.torch_core import TorchCore, finish
from ..kernels.loops import transformed
from ..schedule import steps_before
from ..state import LSTMState as LSTMState


class LSTM(TorchCore):
    r"""Long short-term memory with forget gates, sequential.

    Hochreiter and Schmidhuber, 1997 (https://doi.org/10.1162/neco.1997.9.8.1735); forget gates by
    Gers et al., 2000 (https://doi.org/10.1162/089976600300015015). As in `torch.nn.LSTM`:

        i_t = sigmoid(W_xi x_t + b_xi + W_hi h_{t-1} + b_hi)      input gate
        f_t = sigmoid(W_xf x_t + b_xf + W_hf h_{t-1} + b_hf)      forget gate
        g_t = tanh(W_xg x_t + b_xg + W_hg h_{t-1} + b_hg)         candidate
        o_t = sigmoid(W_xo x_t + b_xo + W_ho h_{t-1} + b_ho)      output gate
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = o_t * tanh(c_t)

    Gate order i, f, g, o: `weight_ih` (4H, D), `weight_hh` (4H, H), `bias_ih` (4H,), `bias_hh`
    (4H,). Initialised uniformly within 1 / sqrt(H), torch's default (the forget bias is not
    raised). The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        bias: Whether there are biases.

    Examples:
        >>> core = LSTM(3, 8)
        >>> output, state = core(torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, state.hidden.shape, state.cell.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]), torch.Size([2, 8]))
    """

    gates = 4
    torch_class = nn.LSTM
    state_type = LSTMState

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Advance one step; see `RecurrentCore.step`."""
        return _step(x, state, *self._weights())

    @torch.no_grad()
    def stepper(self) -> Callable[[Tensor, LSTMState], tuple[Tensor, LSTMState]]:
        """Make `step` ready: one matrix product and one sigmoid; see `RecurrentCore.stepper`."""
        size = self.hidden_size
        weight = torch.cat((self.weight_ih, self.weight_hh), 1)  # (4H, D + H)
        bias = sum(self._weights()[2:], weight.new_zeros(4 * size))
        # tanh(g) = 2 sigmoid(2 g) - 1
        weight[2 * size : 3 * size] *= 2
        bias[2 * size : 3 * size] *= 2
        weight = weight.t()  # (D + H, 4H)

        def step(x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
            hidden, cell = state
            joined = torch.cat((x, hidden.to(x.dtype)), 1)  # (B, D + H)
            gates = torch.addmm(bias, joined, weight).sigmoid().to(cell.dtype)  # (B, 4H)
            i, f, g, o = gates.view(-1, 4, size).unbind(1)  # (B, H) each
            cell = torch.addcmul(f * cell - i, i, g, value=2)
            hidden = o * cell.tanh()
            return hidden.to(x.dtype), LSTMState(hidden, cell)

        return step

    def _sequence(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        if x.shape[1] <= 2 and not x.is_cuda:
            # oneDNN prepares the weights anew at each call, which takes longer than two steps
            # (measured: 4 ms of 5).
            return cast("tuple[Tensor, LSTMState]", super()._sequence(x, state))
        return self._run(x, state, self._weights())

    def _ragged(self, x: Tensor, state: LSTMState, lengths: list[int]) -> tuple[Tensor, LSTMState]:
        # torch returns the cell at T only. One more feature, 1 past a row's end, shuts the input
        # gate and opens the forget gate there so far that the cell stays as it is, to the last bit.
        padding = ~steps_before(lengths, x.shape[1], x.device).unsqueeze(2)  # (B, T, 1)
        weight, *others = self._weights()
        gate = weight.new_zeros(4, self.hidden_size, 1)
        gate[0], gate[1] = -1e4, 1e4
        weight = torch.cat((weight, gate.flatten(0, 1)), 1)  # (4H, D + 1)
        marked = torch.cat((x.masked_fill(padding, 0.0), padding.to(x.dtype)), 2)  # (B, T, D + 1)
        output, after = self._run(marked, state, [weight, *others])
        output, hidden = finish(output, padding, lengths, state[0])
        return output, LSTMState(hidden, after.cell)

    def _run(self, x: Tensor, state: LSTMState, weights: list[Tensor]) -> tuple[Tensor, LSTMState]:
        if transformed():
            outputs = []
            for x_t in x.unbind(1):
                output, state = _step(x_t, state, *weights)
                outputs.append(output)
            return torch.stack(outputs, 1), state
        hidden, cell = state
        hx = hidden.unsqueeze(0).to(x.dtype), cell.unsqueeze(0).to(x.dtype)  # (1, B, H) each
        try:
            output, hidden_n, cell_n = self._kernel(torch.lstm, x, hx, weights)
        except RuntimeError as error:
            # oneDNN has no half-precision LSTM on older processors (bfloat16 needs AVX-512,
            # pytorch#88136).
            if x.is_cuda or "primitive" not in str(error):
                raise
            with torch.autocast("cpu", enabled=False):
                hx = hidden.unsqueeze(0), cell.unsqueeze(0)
                weights = [weight.float() for weight in weights]
                output, hidden_n, cell_n = self._kernel(torch.lstm, x.float(), hx, weights)
        return output.to(x.dtype), LSTMState(hidden_n[0].to(hidden.dtype), cell_n[0].to(cell.dtype))


def _step(
    x: Tensor,
    state: LSTMState,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
) -> tuple[Tensor, LSTMState]:
    hidden, cell = state
    recurrent = F.linear(hidden.to(weight_hh.dtype), weight_hh, bias_hh)
    i, f, g, o = (F.linear(x, weight_ih, bias_ih) + recurrent).chunk(4, 1)  # (B, H) each
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    hidden = torch.sigmoid(o) * torch.tanh(cell)
    return hidden.to(x.dtype), LSTMState(hidden, cell)
