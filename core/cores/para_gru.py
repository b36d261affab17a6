"""The gated recurrent unit with diagonal recurrence.

Shapes: B batch, D input, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..families.diagonal import DiagonalCore
from ..kernels.diagonal import Law
from ..kernels.para_gru import ParaGRULaw
from ..state import HiddenState

ParaGRUState = HiddenState


class ParaGRU(DiagonalCore):
    r"""Gated recurrent unit whose units see nothing but themselves, so that it trains in parallel.

    Danieli et al., 2025, ParaRNN (https://arxiv.org/abs/2510.21450), equations 3.1a and 3.3:

        z_t = sigmoid(a_z * h_{t-1} + B_z x_t + b_z)            update gate
        r_t = sigmoid(a_r * h_{t-1} + B_r x_t + b_r)            reset gate
        c_t = tanh(a_c * (r_t * h_{t-1}) + B_c x_t + b_c)       candidate
        h_t = (1 - z_t) * h_{t-1} + z_t * c_t

    where a are vectors, the diagonals of a GRU's recurrent matrices. A unit hears of the others
    through the layer below: stack layers. Nonlinear as it is, its states are found in parallel by
    Newton's method, to float32's rounding the same as step by step; that is done on a GPU, while a
    CPU runs the steps.

    Gate order z, r, c: `weight_ih` (3H, D), `weight_hh` (3H,) of the diagonals, `bias` (3H,).
    Initialised as in the authors' code: `weight_ih` uniform within sqrt(6 / (D + H)), `weight_hh`
    normal with deviation 2 / sqrt(5H), biases zero but for b_z, which falls from 0 at the first
    unit to -1 at the last. (There B may have blocks for heads, which is a `weight_ih` with zeros.)
    The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        bias: Whether there are biases.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.

    Examples:
        >>> core = ParaGRU(3, 8)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, bias: bool = True, chunk: int | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias=bias, chunk=chunk)
        self.reset_parameters()

    def _law(self) -> Law:
        return ParaGRULaw(_step)


def _step(projected: Tensor, hidden: Tensor, weight: Tensor) -> tuple[Tensor]:
    """Compute h_t, (..., H), of B x_t + b (..., 3H), h_{t-1} and the diagonals (3H,)."""
    size = hidden.shape[-1]
    a_z, a_r, a_c = weight.chunk(3)  # (H,) each
    x_z, x_r, x_c = projected.split(size, -1)  # (..., H) each
    z = torch.sigmoid(torch.addcmul(x_z, a_z, hidden))
    r = torch.sigmoid(torch.addcmul(x_r, a_r, hidden))
    c = torch.tanh(torch.addcmul(x_c, a_c, r * hidden))
    return (torch.lerp(hidden, c, z),)
