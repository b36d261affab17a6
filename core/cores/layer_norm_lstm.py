"""Long short-term memory with layer normalisation.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.lstm_loop import LSTMLoop, next_cell
from ..kernels.loops import uncompiled, unroll
from ..state import LSTMState


class LayerNormLSTM(LSTMLoop):
    r"""LSTM that normalises its input, recurrence and cell, sequential.

    Ba, Kiros and Hinton, 2016 (https://arxiv.org/abs/1607.06450), equations 20 to 22 of the
    supplement:

        (i_t, f_t, g_t, o_t) = LN(W_x x_t; alpha_x) + LN(W_h h_{t-1}; alpha_h) + b
        c_t = sigmoid(f_t) * c_{t-1} + sigmoid(i_t) * tanh(g_t)
        h_t = sigmoid(o_t) * tanh(LN(c_t; alpha_c, beta_c))

    where LN(v; alpha, beta) = alpha * (v - mean(v)) / sqrt(var(v) + eps) + beta. The three
    normalisations are separate, and the two of the gates run over all 4H numbers at once, as in the
    paper, not gate by gate. The paper's beta_x, beta_h and b are only ever added, so one bias
    stands for the three.

    Gate order i, f, g, o: `weight_ih` (4H, D), `weight_hh` (4H, H), gains `gain_ih` (4H,),
    `gain_hh` (4H,) and `bias` (4H,); of the cell `gain_cell` (H,) and `bias_cell` (H,). Weights are
    initialised uniformly within 1 / sqrt(H), torch's default, gains at 1 and biases at 0, the
    paper's. The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        eps: Added to each variance; torch's default.
        recurrent_dropout: Probability of dropping a unit's candidate g in training, one mask per
            row for all steps of a `forward` (https://arxiv.org/abs/1603.05118).

    Examples:
        >>> core = LayerNormLSTM(3, 8, recurrent_dropout=0.1)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape, state.cell.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]), torch.Size([2, 8]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        eps: float = 1e-5,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size, recurrent_dropout)
        self.eps = eps
        self.gain_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.gain_hh = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.gain_cell = nn.Parameter(torch.empty(hidden_size))
        self.bias_cell = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights uniformly within 1 / sqrt(H); gains are 1, biases 0."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            if name.startswith("weight"):
                nn.init.uniform_(parameter, -bound, bound)
            else:
                nn.init.constant_(parameter, float(name.startswith("gain")))

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Advance one step; see `RecurrentCore.step`."""
        dtype = state.cell.dtype
        projected = _norm(F.linear(x, self.weight_ih).to(dtype), self.gain_ih, self.bias, self.eps)
        gains = (self.gain_hh, self.gain_cell, self.bias_cell)
        hidden, cell = _step(
            projected, *state, self.weight_hh, *gains, self._step_mask(x, dtype), self.eps
        )
        return hidden.to(x.dtype), LSTMState(hidden, cell)

    def _sequence(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        dtype = state.hidden.dtype
        values, mask = self._take_mask(x, dtype)
        projected = F.linear(values.transpose(0, 1), self.weight_ih)  # (T, B, 4H)
        weight_hh = self.weight_hh.to(projected.dtype)  # autocast's choice, too
        projected = _norm(projected.to(dtype), self.gain_ih, self.bias, self.eps)
        gains = (self.gain_hh, self.gain_cell, self.bias_cell)
        output, *state_n = uncompiled(unroll)(
            _step, projected, state, weight_hh, *gains, mask, self.eps
        )
        return output.transpose(0, 1).to(x.dtype), LSTMState(*state_n)  # (B, T, H)

    def _options(self) -> str:
        return f", eps={self.eps}"


def _norm(v: Tensor, gain: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """Compute LN in the dtype of `v`."""
    return F.layer_norm(
        v, v.shape[-1:], gain.to(v.dtype), None if bias is None else bias.to(v.dtype), eps
    )


def _step(
    projected: Tensor,  # LN(W_x x_t) + b (B, 4H)
    hidden: Tensor,
    cell: Tensor,
    weight: Tensor,
    gain: Tensor,
    gain_cell: Tensor,
    bias_cell: Tensor,
    mask: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    recurrent = F.linear(hidden.to(weight.dtype), weight).to(cell.dtype)  # (B, 4H)
    recurrent = _norm(recurrent, gain, None, eps)
    cell, o = next_cell(projected + recurrent, cell, mask)
    return o * torch.tanh(_norm(cell, gain_cell, bias_cell, eps)), cell
