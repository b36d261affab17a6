"""The scalar LSTM of the xLSTM.

Shapes: B batch, T time, D input, H hidden, N heads, S = H / N units of a head.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..families.heads import HeadsCore
from ..kernels.loops import product_dtype
from ..kernels.slstm import SLSTMLoop


class SLSTMState(NamedTuple):
    """What an sLSTM carries from step to step.

    The paper's cell is exp(m) * cell, its normaliser exp(m) * normalizer.

    Attributes:
        hidden: h (B, H), the last output.
        cell: c (B, H), the memory.
        normalizer: n (B, H), the sum of the weights in `cell`; zero where nothing has been seen,
            else at least 1.
        stabilizer: m (B, H), the logarithm of the scale of `cell` and `normalizer`.
    """

    hidden: Tensor
    cell: Tensor
    normalizer: Tensor
    stabilizer: Tensor


class SLSTM(HeadsCore):
    r"""sLSTM, the xLSTM's LSTM with exponential gates, sequential.

    Beck et al., 2024 (https://arxiv.org/abs/2405.04517), equations 8 to 18, stabilised (15 to 17):

        z_t = tanh(W_z x_t + R_z h_{t-1} + b_z)             cell input
        i~_t = W_i x_t + R_i h_{t-1} + b_i                  input gate, i_t = exp(i~_t)
        f~_t = W_f x_t + R_f h_{t-1} + b_f                  forget gate, f_t = sigmoid(f~_t)
        o_t = sigmoid(W_o x_t + R_o h_{t-1} + b_o)          output gate
        m_t = max(log f_t + m_{t-1}, i~_t)                  stabiliser
        i'_t = exp(i~_t - m_t),  f'_t = exp(log f_t + m_{t-1} - m_t)
        c_t = f'_t * c_{t-1} + i'_t * z_t
        n_t = f'_t * n_{t-1} + i'_t
        h_t = o_t * c_t / n_t

    The forget gate is the paper's sigmoid, not its exponential. R is block-diagonal: the units of a
    head see that head alone. Where n_{t-1} = 0 nothing has been seen and m_{t-1} counts as minus
    infinity, so the initial state is zero throughout, h does not depend on m_0 and n_t is at least
    1 from the first step on.

    This is the cell with its input projection. The block around it (layer norm, convolution of the
    gates' inputs, group norm of each head, feed-forward, residual) is not part of it: see
    `Stacked`.

    Gate order z, i, f, o: `weight_ih` (4H, D), `weight_hh` (4H, S), `bias` (4H,); within a gate the
    rows of the first head come first. Initialised uniformly within 1 / sqrt(H), torch's default for
    the LSTM.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        num_heads: N, blocks of the recurrent weights; divides H. The paper uses 4.

    Examples:
        >>> core = SLSTM(3, 8, num_heads=2)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape, state.cell.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]), torch.Size([2, 8]))
    """

    state_type = SLSTMState
    recurrent_weights = ("weight_hh",)

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        super().__init__(input_size, hidden_size, num_heads)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, self.head_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly within 1 / sqrt(H)."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def step(self, x: Tensor, state: SLSTMState) -> tuple[Tensor, SLSTMState]:
        """Advance one step; see `RecurrentCore.step`."""
        hidden, c, n, m = state
        heads = self.weight_hh.view(4, self.num_heads, self.head_size, self.head_size)
        by_head = hidden.to(heads.dtype).unflatten(1, (self.num_heads, self.head_size))  # (B, N, S)
        recurrent = torch.einsum("gnij,bnj->bgni", heads, by_head).flatten(1)  # (B, 4H)
        gates = (F.linear(x, self.weight_ih, self.bias) + recurrent).to(c.dtype)
        state = SLSTMState(*_gated(gates, c, n, m.masked_fill(n == 0, -torch.inf)))
        return state.hidden.to(x.dtype), state

    def _sequence(self, x: Tensor, state: SLSTMState) -> tuple[Tensor, SLSTMState]:
        by_head = self._weight_by_head
        weight_ih, bias = by_head(self.weight_ih).flatten(0, 1), by_head(self.bias).flatten()
        # (N, S, 4S)
        recurrent = by_head(self.weight_hh).transpose(1, 2).to(product_dtype(x, self.weight_ih))
        hidden, c, n, m = (self._rows_by_head(leaf) for leaf in state)
        m = m.masked_fill(n == 0, -torch.inf)
        output, *state_n = SLSTMLoop.call(
            _step, hidden, c, n, m, recurrent,
            source=partial(_projected, self.num_heads, state.hidden.dtype),
            given=(x.transpose(0, 1), weight_ih, bias),
        )  # fmt: skip
        output = output.permute(2, 0, 1, 3).flatten(2)  # (T, N, B, S) -> (B, T, H)
        leaves = (leaf.transpose(0, 1).flatten(1) for leaf in state_n)  # (N, B, S) -> (B, H)
        return output.to(x.dtype), SLSTMState(*leaves)

    def _weight_by_head(self, weight: Tensor) -> Tensor:
        """Sort rows that lie gate by gate (4H, ...) head by head, (N, 4S, ...)."""
        gates = weight.view(4, self.num_heads, self.head_size, -1)
        return gates.transpose(0, 1).flatten(1, 2)

    def _rows_by_head(self, leaf: Tensor) -> Tensor:
        """Take a part of the state (B, H) apart into heads, (N, B, S)."""
        return leaf.view(leaf.shape[0], self.num_heads, self.head_size).transpose(0, 1).contiguous()


def _projected(heads: int, dtype: torch.dtype, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Project x (T, B, D), its gates sorted by head, (T, N, B, 4S)."""
    projected = F.linear(x, weight, bias).to(dtype)
    return projected.view(*projected.shape[:2], heads, -1).transpose(1, 2)


def _step(
    projected: Tensor, hidden: Tensor, c: Tensor, n: Tensor, m: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    """Advance all heads one step: gates (N, B, 4S), state (N, B, S), R transposed (N, S, 4S)."""
    return _gated(projected + torch.bmm(hidden.to(weight.dtype), weight).to(c.dtype), c, n, m)


def _gated(gates: Tensor, c: Tensor, n: Tensor, m: Tensor) -> tuple[Tensor, ...]:
    """Compute h, c, n and m (..., S) of z, i~, f~ and o before their nonlinearities (..., 4S)."""
    z, i, f, o = gates.chunk(4, -1)
    kept = F.logsigmoid(f) + m
    m = torch.maximum(kept, i)
    i, f = torch.exp(i - m), torch.exp(kept - m)
    c = f * c + i * torch.tanh(z)
    n = f * n + i
    return torch.sigmoid(o) * c / n, c, n, m
