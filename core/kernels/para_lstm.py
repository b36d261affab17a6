"""The step of ParaLSTM with its derivatives, which Newton's method and the gradient take.

Shapes: L steps, B batch, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .diagonal import Tangent, pulled


class ParaLSTMLaw:
    """The law of the state tensors h and c, and of two weights.

    These are the diagonals a of f, o and z (3H,), and the peepholes of f and o (2H,).

    Args:
        step: The core's own.
    """

    def __init__(self, step: Callable[..., tuple[Tensor, ...]]) -> None:
        self.step = step

    def tangent(
        self, projected: Tensor, before: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> Tangent:
        """Compute the state after and its derivatives; see `Law`."""
        h, c = before
        a_f, a_o, a_z = weights[0].chunk(3)  # (H,) each
        c_f, c_o = weights[1].chunk(2)
        x_f, x_o, x_z = projected.chunk(3, -1)  # (L, B, H) each
        f = torch.addcmul(x_f, a_f, h).addcmul_(c_f, c).sigmoid_()
        z = torch.addcmul(x_z, a_z, h).tanh_()
        jump = c - z
        cell = torch.addcmul(z, f, jump)
        o = torch.addcmul(x_o, a_o, h).addcmul_(c_o, cell).sigmoid_()
        size = cell.tanh()
        hidden = o * size
        # of the cell, and of h with the cell as it is, by what each nonlinearity is of
        leave = 1 - f
        by_f = jump.mul_(f).mul_(leave)
        by_z = z.mul_(z).neg_().add_(1).mul_(leave)
        by_o = hidden * (1 - o)
        # of h by the cell: through its tanh and through the output gate
        by_cell = torch.addcmul(o, hidden, size, value=-1).addcmul_(by_o, c_o)
        cell_by_cell = f.addcmul_(by_f, c_f)
        cell_by_h = (by_f * a_f).addcmul_(by_z, a_z)
        h_by_h = (by_o * a_o).addcmul_(by_cell, cell_by_h)
        links = [[h_by_h, by_cell * cell_by_cell], [cell_by_h, cell_by_cell]]
        return Tangent([hidden, cell], links, (h, c, cell, by_cell, by_f, by_o, by_z))

    def pull(self, kept: Sequence[Tensor], adjoint: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn the state's gradients into those of the projected input and the weights."""
        h, before, cell, by_cell, by_f, by_o, by_z = kept
        d_h, d_cell = adjoint
        d_cell = torch.addcmul(d_cell, d_h, by_cell)
        d_projected = pulled((by_f, by_o, by_z), d_cell, d_h, d_cell)
        d_f, d_o, d_z = d_projected.chunk(3, -1)
        diagonals = [(d * h).sum((0, 1)) for d in (d_f, d_o, d_z)]
        peepholes = [(d_f * before).sum((0, 1)), (d_o * cell).sum((0, 1))]
        return d_projected, torch.cat(diagonals), torch.cat(peepholes)
