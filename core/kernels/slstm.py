"""The loop of the xLSTM's scalar LSTM, with its gradient.

Shapes: T time, N heads, B batch, S units of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .loops import Loop, blocks_backward, unroll, without_autocast


class SLSTMLoop(Loop):
    """The loop over time, with the gradient of R taken over all steps at once.

    It overwrites `projected`, which nobody else needs, with the gates: fresh memory costs more than
    the arithmetic.
    """

    @staticmethod
    def formula(
        projected: Tensor,
        step: Callable[..., tuple[Tensor, ...]],
        hidden: Tensor,
        c: Tensor,
        n: Tensor,
        m: Tensor,
        weight: Tensor,
    ) -> tuple[Tensor, ...]:
        """Run the core's step, as torch differentiates it; see `fast`."""
        return unroll(step, projected, (hidden, c, n, m), weight)

    @staticmethod
    def fast(
        ctx: Any,
        projected: Tensor,
        step: Callable[..., tuple[Tensor, ...]],
        hidden: Tensor,
        c: Tensor,
        n: Tensor,
        m: Tensor,
        weight: Tensor,
    ) -> tuple[tuple[Tensor, ...], Sequence[Tensor | None]]:
        """Run the loop in place.

        Args:
            ctx: See `Loop.fast`.
            projected: W x_t + b (T, N, B, 4S); holds z, i', f' and o after.
            step: The core's own, for `formula`.
            hidden: h before the first step (N, B, S).
            c: The cell, likewise.
            n: The normaliser, likewise.
            m: The stabiliser, likewise.
            weight: R transposed (N, S, 4S), in the dtype of the product.

        Returns:
            Outputs (T, N, B, S), the last h, c, n and m (N, B, S); what `gradient` wants to see.
        """
        time = projected.shape[0]
        with without_autocast(projected.device):
            gates = projected
            to_f = projected.new_empty(time, *hidden.shape)  # d log f / d f~
            wins = torch.empty_like(to_f, dtype=torch.bool)  # where i~ is the maximum
            hiddens, cells, norms = (to_f.new_empty(time + 1, *hidden.shape) for _ in range(3))
            hiddens[0], cells[0], norms[0] = hidden, c, n
            sources = (gates, to_f, wins, hiddens[1:], cells[1:], norms[1:])
            for gates_t, to_f_t, wins_t, hidden_t, c_t, n_t in zip(
                *(source.unbind() for source in sources), strict=True
            ):
                gates_t.add_(torch.bmm(hidden.to(weight.dtype), weight))
                z, i, f, o = gates_t.chunk(4, 2)  # (N, B, S) each
                kept = F.logsigmoid(f)
                torch.neg(f, out=to_f_t).sigmoid_()
                kept.add_(m)
                torch.gt(i, kept, out=wins_t)
                m = torch.maximum(kept, i)
                z.tanh_()
                i.sub_(m).exp_()
                torch.sub(kept, m, out=f).exp_()
                o.sigmoid_()
                torch.mul(f, c, out=c_t).addcmul_(i, z)
                torch.mul(f, n, out=n_t).add_(i)
                torch.div(c_t, n_t, out=hidden_t).mul_(o)
                hidden, c, n = hidden_t, c_t, n_t
        outputs = (hiddens[1:], hiddens[-1].clone(), cells[-1].clone(), norms[-1].clone(), m)
        return outputs, (gates, to_f, wins, hiddens, cells, norms, weight)

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the steps; see `Loop.gradient`."""
        d_output, d_hidden, d_c, d_n, d_m = grads
        gates, to_f, wins, hiddens, cells, norms, weight = kept
        time, heads, batch, size = to_f.shape
        with without_autocast(gates.device):
            d_gates = torch.empty_like(gates)  # of the layout of `gates`
            transposed = weight.transpose(1, 2)  # (N, 4S, S)
            for block in blocks_backward(time, heads * batch * size):
                # what needs no loop, (steps, N, B, S) each
                z, i, f, o = gates[block].chunk(4, 3)
                to_z, _, _, to_o = d_gates[block].chunk(4, 3)
                to_c = o / norms[1:][block]  # d h / d c
                ratio = cells[1:][block] / norms[1:][block]
                torch.ops.aten.sigmoid_backward.grad_input(ratio, o, grad_input=to_o)
                torch.ops.aten.tanh_backward.grad_input(i, z, grad_input=to_z)
                new_c, kept_c, kept_n = i * z, f * cells[:-1][block], f * norms[:-1][block]
                sources = (
                    d_gates[block], d_output[block], to_c, ratio, to_f[block], wins[block],
                    new_c, i, kept_c, kept_n, f,
                )  # fmt: skip
                for step in zip(*(source.unbind()[::-1] for source in sources), strict=True):
                    d_t, d_output_t, to_c_t, ratio_t, to_f_t, win, *factors = step
                    new_t, i_t, c_t, n_t, f_t = factors
                    d_z, d_i, d_f, d_o = d_t.chunk(4, 2)
                    # through the output to cell and normaliser
                    d_hidden = d_hidden + d_output_t
                    d_o.mul_(d_hidden)
                    through = d_hidden * to_c_t
                    d_c = d_c + through
                    d_n = torch.addcmul(d_n, through, ratio_t, value=-1.0)
                    d_z.mul_(d_c)
                    # i' and f' both contain m, which is i~ or log f + m_{t-1}: what m is gets the
                    # rest of d_m.
                    d_new = (d_c * new_t).addcmul_(d_n, i_t)
                    d_kept = (d_c * c_t).addcmul_(d_n, n_t)
                    torch.where(win, d_m - d_kept, d_new, out=d_i)
                    d_m = torch.where(win, d_kept, d_m - d_new)
                    torch.mul(d_m, to_f_t, out=d_f)
                    # to the step before
                    d_c, d_n = d_c * f_t, d_n * f_t
                    d_hidden = torch.bmm(d_t.to(weight.dtype), transposed).to(d_c.dtype)
            # R, over all steps at once
            rows = hiddens[:-1].permute(1, 3, 0, 2).flatten(2)  # (N, S, T * B)
            d_rows = d_gates.to(weight.dtype).transpose(0, 1).flatten(1, 2)  # (N, T * B, 4S)
            d_weight = torch.bmm(rows.to(weight.dtype), d_rows)
        return d_gates, None, d_hidden, d_c, d_n, d_m, d_weight
