"""The step of ParaGRU with its derivatives, which Newton's method and the gradient take.

Shapes: L steps, B batch, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .diagonal import Tangent, pulled


class ParaGRULaw:
    """The law of one state tensor h and one weight, the diagonals a of z, r and c (3H,).

    Args:
        step: The core's own.
    """

    def __init__(self, step: Callable[..., tuple[Tensor, ...]]) -> None:
        self.step = step

    def tangent(
        self, projected: Tensor, before: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> Tangent:
        """Compute the state after and its derivatives; see `Law`."""
        (h,) = before
        a_z, a_r, a_c = weights[0].chunk(3)  # (H,) each
        x_z, x_r, x_c = projected.chunk(3, -1)  # (L, B, H) each
        z = torch.addcmul(x_z, a_z, h).sigmoid_()
        r = torch.addcmul(x_r, a_r, h).sigmoid_()
        rh = r * h
        c = torch.addcmul(x_c, a_c, rh).tanh_()
        jump = c - h
        after = torch.addcmul(h, z, jump)
        # of the state by what each nonlinearity is of
        keep = 1 - z
        by_z = jump.mul_(z).mul_(keep)
        by_c = c.mul_(c).neg_().add_(1).mul_(z)
        by_rh = by_c * a_c
        by_r = (by_rh * rh).mul_(1 - r)
        link = keep.addcmul_(by_z, a_z).addcmul_(by_r, a_r).addcmul_(by_rh, r)
        return Tangent([after], [[link]], (h, rh, by_z, by_r, by_c))

    def pull(self, kept: Sequence[Tensor], adjoint: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn the state's gradient into those of the projected input and the diagonals."""
        h, rh, *by = kept
        d_projected = pulled(by, adjoint[0])
        d_z, d_r, d_c = d_projected.chunk(3, -1)
        found = [(d * seen).sum((0, 1)) for d, seen in ((d_z, h), (d_r, h), (d_c, rh))]
        return d_projected, torch.cat(found)
