"""The loop of the Mogrifier LSTM, with its gradient.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .loops import Loop, blocks_backward, unroll, without_autocast


class MogrifierLoop(Loop):
    """The loop over time, with the gradients of all parameters taken over all steps at once.

    The last two x and h of a step lie side by side, so that W_x x + W_h h is one product. Each
    round i keeps its factor 2 sigmoid(.), what it scaled and what it multiplied with each matrix,
    for all steps.
    """

    @staticmethod
    def formula(
        x: Tensor,
        step: Callable[..., tuple[Tensor, ...]],
        hidden: Tensor,
        cell: Tensor,
        *others: Any,
    ) -> tuple[Tensor, ...]:
        """Run the core's step, as torch differentiates it; see `fast`."""
        return unroll(step, x, (hidden, cell), *others)

    @staticmethod
    def fast(
        ctx: Any,
        x: Tensor,
        step: Callable[..., tuple[Tensor, ...]],
        hidden: Tensor,
        cell: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias: Tensor,
        mask: Tensor | None,
        factors: int,
        *scalings: Tensor,
    ) -> tuple[tuple[Tensor, ...], Sequence[Tensor | None]]:
        """Run the loop.

        Args:
            ctx: See `Loop.fast`.
            x: Input (T, B, D).
            step: The core's own, for `formula`.
            hidden: h before the first step (B, H).
            cell: c before the first step (B, H).
            weight_ih: W_x (4H, D), in the dtype of the products.
            weight_hh: W_h (4H, H), likewise.
            bias: b (4H,).
            mask: Factor of the candidate (B, H), or None.
            factors: Matrices that each round multiplies with, 1 or 2.
            *scalings: Those of Q^1, R^2, Q^3, ..., in the dtype of the products.

        Returns:
            Outputs (T, B, H), the last h and c (B, H); what `gradient` wants to see.
        """
        time, batch, size = *x.shape[:2], hidden.shape[1]
        rounds = len(scalings) // factors
        weight = torch.cat((weight_ih, weight_hh), 1)  # (4H, D + H)
        with without_autocast(x.device):
            joined = x.new_empty(time, batch, x.shape[2] + size)  # x^last, h^last
            gates = x.new_empty(time, batch, 4 * size)
            squashed = x.new_empty(time, batch, size)  # tanh(c_t)
            cells, hiddens = (x.new_empty(time + 1, batch, size) for _ in range(2))
            cells[0], hiddens[0] = cell, hidden
            # Between the rounds: x^{-1}, h^0, x^1, h^2, ... The last of both are in `joined`.
            ends = joined.split((x.shape[2], size), 2)  # (T, B, D) and (T, B, H)
            chain = [x, hiddens[:-1]]
            chain += [
                ends[i % 2] if i + 2 >= rounds else torch.empty_like(ends[i % 2])
                for i in range(rounds)
            ]
            scales = [torch.empty_like(part) for part in chain[2:]]
            # what the second matrix of each round is multiplied with
            middles = [
                x.new_empty(time, batch, scaling.shape[0])
                for scaling in (scalings[1::2] if factors == 2 else ())
            ]
            weight_t, transposed = weight.t(), [scaling.t() for scaling in scalings]
            by_step = [_by_step(parts, time) for parts in (chain, scales, middles, ends)]
            wholes = (joined, gates, squashed, cells[1:], hiddens[1:])
            steps = zip(*by_step, *(whole.unbind() for whole in wholes), strict=True)
            for parts, scales_t, middles_t, ends_t, joined_t, *rest in steps:
                gates_t, squashed_t, cell_t, hidden_t = rest
                for i, scale in enumerate(scales_t):
                    left = parts[i + 1]
                    if factors == 2:
                        left = _product(left, transposed[2 * i + 1], middles_t[i])
                    _product(left, transposed[factors * i], scale).sigmoid_().mul_(2)
                    torch.mul(scale, parts[i], out=parts[i + 2])
                for i in range(rounds, 2):  # what no round has scaled
                    ends_t[i].copy_(parts[i])
                _product(joined_t, weight_t, gates_t).add_(bias)
                _advance(gates_t, cell, mask, cell_t)
                torch.tanh(cell_t, out=squashed_t)
                torch.mul(gates_t[:, 3 * size :], squashed_t, out=hidden_t)
                cell = cell_t
        ctx.factors, ctx.rounds = factors, rounds
        kept = (gates, squashed, cells, weight, mask, joined, *scalings, *chain, *scales, *middles)
        return (hiddens[1:], hiddens[-1].clone(), cells[-1].clone()), kept

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the steps; see `Loop.gradient`."""
        d_output, d_hidden, d_cell = grads
        gates, squashed, cells, weight, mask, joined, *rest = kept
        factors, rounds, (time, batch, size) = ctx.factors, ctx.rounds, squashed.shape
        scalings, rest = rest[: factors * rounds], rest[factors * rounds :]
        chain, rest = rest[: rounds + 2], rest[rounds + 2 :]
        scales, middles = rest[:rounds], rest[rounds:]
        with without_autocast(gates.device):
            forget = gates.view(time, batch, 4, size)[:, :, 1]  # (T, B, H)
            d_gates, d_x = torch.empty_like(gates), torch.empty_like(chain[0])
            d_logits = [torch.empty_like(scale) for scale in scales]
            d_middles = [torch.empty_like(middle) for middle in middles]
            for block in blocks_backward(time, batch * size):
                slopes = _derivatives(
                    gates[block], cells[:-1][block], squashed[block], mask, d_gates[block]
                )
                by_round = [[p[block] for p in parts] for parts in (scales, d_logits, d_middles)]
                for part, scale, d_logit in zip(chain, *by_round[:2], strict=False):
                    # d scale / d logit = scale - scale^2 / 2, times what was scaled
                    torch.addcmul(scale, scale, scale, value=-0.5, out=d_logit).mul_(part[block])
                wholes = (*(p[block] for p in (d_output, forget, d_gates, d_x)), slopes)
                steps = zip(
                    *(_by_step(parts, len(slopes)) for parts in by_round),
                    *(whole.unbind() for whole in wholes),
                    strict=True,
                )
                for scales_t, logits_t, middles_t, *rest_t in reversed(list(steps)):
                    d_output_t, f, d_gates_t, d_x_t, slope = rest_t
                    d_hidden = d_hidden + d_output_t
                    # through the output and tanh to the cell, and to the inputs of the gates
                    d_cell = torch.addcmul(d_cell, d_hidden, slope)
                    d_split = d_gates_t.view(batch, 4, size)
                    d_split[:, :3].mul_(d_cell.unsqueeze(1))
                    d_split[:, 3].mul_(d_hidden)
                    d_cell = d_cell * f
                    # through the rounds, the last first
                    d_ends = list(_product(d_gates_t, weight).split((d_x.shape[2], size), 1))
                    for i in reversed(range(rounds)):
                        d_logit = logits_t[i].mul_(d_ends[i % 2])
                        d_ends[i % 2] = d_ends[i % 2] * scales_t[i]
                        if factors == 2:
                            d_logit = _product(d_logit, scalings[2 * i], middles_t[i])
                        last = scalings[factors * (i + 1) - 1]
                        d_ends[1 - i % 2] = d_ends[1 - i % 2] + _product(d_logit, last)
                    d_x_t.copy_(d_ends[0])
                    d_hidden = d_ends[1]
            # parameters, over all steps at once
            d_scalings = []
            for i, d_logit in enumerate(d_logits):
                if factors == 2:
                    d_scalings.append(_over_time(d_logit, middles[i], weight.dtype))
                    d_logit = d_middles[i]
                d_scalings.append(_over_time(d_logit, chain[i + 1], weight.dtype))
            d_weights = _over_time(d_gates, joined, weight.dtype).split((d_x.shape[2], size), 1)
        d_bias = d_gates.sum((0, 1))
        return d_x, None, d_hidden, d_cell, *d_weights, d_bias, None, None, *d_scalings


def _product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Multiply matrices in the dtype of `right`; the result has that of `left`."""
    if left.dtype == right.dtype:
        return torch.mm(left, right, out=out)
    product = torch.mm(left.to(right.dtype), right)
    return product.to(left.dtype) if out is None else out.copy_(product)


def _over_time(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the sum over all steps of left^T right."""
    return left.flatten(0, 1).to(dtype).t() @ right.flatten(0, 1).to(dtype)


def _by_step(parts: Sequence[Tensor], time: int) -> list[tuple[Tensor, ...]]:
    """Turn tensors (T, ...) into one tuple of tensors per step."""
    return list(zip(*(part.unbind() for part in parts), strict=True)) if parts else [()] * time


def _advance(gates: Tensor, cell: Tensor, mask: Tensor | None, out: Tensor) -> None:
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


def _derivatives(
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
