"""The gates of an LSTM, forward and backward, for the loops that run them in place.

Shapes: B batch, T time, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor


def advance(gates: Tensor, cell: Tensor, mask: Tensor | None, out: Tensor) -> None:
    """Run the gates of one step, in place.

    Args:
        gates: i, f, g, o before their nonlinearities (B, 4H); holds them after.
        cell: c_{t-1} (B, H).
        mask: Factor of the candidate (B, H), or None.
        out: Receives c_t (B, H).
    """
    hidden = cell.shape[1]
    if_, g, o = gates.split((2 * hidden, hidden, hidden), 1)
    if_.sigmoid_()
    g.tanh_()
    o.sigmoid_()
    i, f = if_.split(hidden, 1)  # (B, H) each
    torch.mul(f, cell, out=out)
    out.addcmul_(i, g if mask is None else g * mask)


def derivatives(
    gates: Tensor, before: Tensor, squashed: Tensor, mask: Tensor | None, out: Tensor
) -> Tensor:
    """Compute everything that a backward loop multiplies with and that needs no loop.

    Args:
        gates: i, f, g, o after their nonlinearities (T, B, 4H).
        before: c_{t-1} (T, B, H).
        squashed: tanh of the cell as the output gate sees it (T, B, H).
        mask: Factor of the candidate (B, H), or None.
        out: Receives the factors (T, B, 4H) that turn the gradients of (c, c, c, h) into those of
            the gates' inputs.

    Returns:
        Factors (T, B, H) that turn the gradient of h into that of tanh's input.
    """
    i, f, g, o = gates.chunk(4, 2)  # (T, B, H) each
    to_i, to_f, to_g, to_o = out.chunk(4, 2)
    through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input
    through_sigmoid(g if mask is None else g * mask, i, grad_input=to_i)
    through_sigmoid(before, f, grad_input=to_f)
    torch.ops.aten.tanh_backward.grad_input(i if mask is None else i * mask, g, grad_input=to_g)
    through_sigmoid(squashed, o, grad_input=to_o)
    slopes: Tensor = torch.ops.aten.tanh_backward(o, squashed)
    return slopes
