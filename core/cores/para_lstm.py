"""The long short-term memory with diagonal recurrence.

Shapes: B batch, D input, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..families.diagonal import DiagonalCore
from ..kernels.diagonal import Law
from ..kernels.para_lstm import ParaLSTMLaw
from ..state import LSTMState


class ParaLSTM(DiagonalCore):
    r"""LSTM whose units see nothing but themselves, so that it trains in parallel.

    Danieli et al., 2025, ParaRNN (https://arxiv.org/abs/2510.21450), equations 3.1b and 3.3: with
    peepholes, and the input gate as what the forget gate leaves (Greff et al., 2015,
    https://arxiv.org/abs/1503.04069):

        f_t = sigmoid(a_f * h_{t-1} + B_f x_t + c_f * c_{t-1} + b_f)      forget gate
        z_t = tanh(a_z * h_{t-1} + B_z x_t + b_z)                         candidate
        c_t = f_t * c_{t-1} + (1 - f_t) * z_t
        o_t = sigmoid(a_o * h_{t-1} + B_o x_t + c_o * c_t + b_o)          output gate
        h_t = o_t * tanh(c_t)

    where a and the peepholes c_f, c_o are vectors, the diagonals of matrices. A unit hears of the
    others through the layer below: stack layers. Nonlinear as it is, its states are found in
    parallel by Newton's method, to float32's rounding the same as step by step; that is done on a
    GPU, while a CPU runs the steps.

    Gate order f, o, z, that of the authors' code: `weight_ih` (3H, D), `weight_hh` (3H,) of the
    diagonals a, `weight_peephole` (2H,) of c_f and c_o, `bias` (3H,). Initialised as there:
    `weight_ih` uniform within sqrt(6 / (D + H)), the diagonals normal with deviation 2 / sqrt(5H),
    biases zero but for b_f, which falls from 0 at the first unit to -1 at the last. (There B may
    have blocks for heads, which is a `weight_ih` with zeros.) The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of hidden state, cell and output.
        bias: Whether there are biases.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.

    Examples:
        >>> core = ParaLSTM(3, 8)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape, state.cell.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]), torch.Size([2, 8]))
    """

    state_type = LSTMState

    def __init__(
        self, input_size: int, hidden_size: int, *, bias: bool = True, chunk: int | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias=bias, chunk=chunk)
        self.weight_peephole = nn.Parameter(torch.empty(2 * hidden_size))
        self.reset_parameters()

    def _law(self) -> Law:
        return ParaLSTMLaw(_step)

    def _diagonals(self) -> list[Tensor]:
        return [self.weight_hh, self.weight_peephole]


def _step(
    projected: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor, peephole: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute h_t and c_t, (..., H), of B x_t + b (..., 3H), h_{t-1}, c_{t-1} and the diagonals."""
    size = hidden.shape[-1]
    a_f, a_o, a_z = weight.chunk(3)  # (H,) each
    c_f, c_o = peephole.chunk(2)
    x_f, x_o, x_z = projected.split(size, -1)  # (..., H) each
    f = torch.sigmoid(torch.addcmul(torch.addcmul(x_f, a_f, hidden), c_f, cell))
    z = torch.tanh(torch.addcmul(x_z, a_z, hidden))
    cell = torch.lerp(z, cell, f)
    o = torch.sigmoid(torch.addcmul(torch.addcmul(x_o, a_o, hidden), c_o, cell))
    return o * torch.tanh(cell), cell
