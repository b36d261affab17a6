"""The loop of the LSTM with layer normalisation, with its gradient.

Shapes: B batch, T time, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .loops import Loop, blocks_backward, unroll, without_autocast
from .lstm_gates import advance, derivatives


class LayerNormLoop(Loop):
    """The loop over time, with the gradients of all parameters taken over all steps at once.

    It overwrites `projected`, which nobody else needs, with the gates: fresh memory costs more than
    the arithmetic.
    """

    @staticmethod
    def formula(
        projected: Tensor,
        step: Callable[..., tuple[Tensor, ...]],
        hidden: Tensor,
        cell: Tensor,
        *others: Any,
    ) -> tuple[Tensor, ...]:
        """Run the core's step, as torch differentiates it; see `fast`."""
        return unroll(step, projected, (hidden, cell), *others)

    @staticmethod
    def fast(
        ctx: Any,
        projected: Tensor,
        step: Callable[..., tuple[Tensor, ...]],
        hidden: Tensor,
        cell: Tensor,
        weight: Tensor,
        gain: Tensor,
        gain_cell: Tensor,
        bias_cell: Tensor,
        mask: Tensor | None,
        eps: float,
    ) -> tuple[tuple[Tensor, ...], Sequence[Tensor | None]]:
        """Run the loop in place.

        Args:
            ctx: See `Loop.fast`.
            projected: LN(W_x x_t) + b (T, B, 4H); holds the gates after.
            step: The core's own, for `formula`.
            hidden: h before the first step (B, H).
            cell: c before the first step (B, H).
            weight: W_h (4H, H), in the dtype of the product.
            gain: alpha_h (4H,).
            gain_cell: alpha_c (H,).
            bias_cell: beta_c (H,).
            mask: Factor of the candidate (B, H), or None.
            eps: Added to each variance.

        Returns:
            Outputs (T, B, H), the last h and c (B, H); what `gradient` wants to see.
        """
        time, batch, size = *projected.shape[:2], hidden.shape[1]
        with without_autocast(projected.device):
            gates = projected
            products = torch.empty_like(projected)  # W_h h_{t-1}
            cells, hiddens = (projected.new_empty(time + 1, batch, size) for _ in range(2))
            squashed = projected.new_empty(time, batch, size)  # tanh(LN(c_t))
            cells[0], hiddens[0] = cell, hidden
            weight_t = weight.t()  # (H, 4H)
            statistics: list[tuple[Tensor, ...]] = []
            sources = (gates, products, squashed, cells[1:], hiddens[1:])
            steps = zip(*(source.unbind() for source in sources), strict=True)
            for gates_t, product, squashed_t, cell_t, hidden_t in steps:
                if weight.dtype == product.dtype:
                    torch.mm(hidden, weight_t, out=product)
                else:
                    product.copy_(torch.mm(hidden.to(weight.dtype), weight_t))
                normed, *of_product = torch.native_layer_norm(product, (4 * size,), gain, None, eps)
                gates_t.add_(normed)
                advance(gates_t, cell, mask, cell_t)
                normed, *of_cell = torch.native_layer_norm(
                    cell_t, (size,), gain_cell, bias_cell, eps
                )
                torch.tanh(normed, out=squashed_t)
                torch.mul(gates_t[:, 3 * size :], squashed_t, out=hidden_t)
                statistics.append((*of_product, *of_cell))
                hidden, cell = hidden_t, cell_t
            moments = [torch.stack(moment) for moment in zip(*statistics, strict=True)]  # (T, B, 1)
        parameters = (weight, gain, gain_cell, bias_cell, mask)
        kept = (gates, products, squashed, cells, hiddens, *parameters, *moments)
        return (hiddens[1:], hiddens[-1].clone(), cells[-1].clone()), kept

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the steps; see `Loop.gradient`."""
        d_output, d_hidden, d_cell = grads
        gates, products, squashed, cells, hiddens, *parameters = kept
        weight, gain, gain_cell, bias_cell, mask, *moments = parameters
        time, batch, size = squashed.shape
        norm_backward = torch.ops.aten.native_layer_norm_backward
        # which gradients of (input, gain, bias): within the loop that of the input alone
        through = (True, False, False)
        with without_autocast(gates.device):
            d_gates = torch.empty_like(gates)
            d_products = torch.empty_like(products, dtype=weight.dtype)
            d_normed = torch.empty_like(squashed)  # of LN(c_t)
            forget = gates.view(time, batch, 4, size)[:, :, 1]  # (T, B, H)
            sources = (d_output, forget, products, cells[1:], d_gates, d_products, d_normed)
            for part in blocks_backward(time, batch * size):
                slopes = derivatives(
                    gates[part], cells[:-1][part], squashed[part], mask, d_gates[part]
                )
                parts = (slopes, *(source[part] for source in (*sources, *moments)))
                for step in zip(*(part.unbind()[::-1] for part in parts), strict=True):
                    slope, d_output_t, f, product, cell, d_gates_t, d_product, d_normed_t = step[:8]
                    moments_t = step[8:]
                    d_hidden = d_hidden + d_output_t
                    # through the output, tanh and LN to the cell
                    torch.mul(d_hidden, slope, out=d_normed_t)
                    d_cell = d_cell + norm_backward(
                        d_normed_t, cell, (size,), *moments_t[2:], gain_cell, bias_cell, through
                    )[0]  # fmt: skip
                    # to the inputs of the gates
                    d_split = d_gates_t.view(batch, 4, size)
                    d_split[:, :3].mul_(d_cell.unsqueeze(1))
                    d_split[:, 3].mul_(d_hidden)
                    # to the step before
                    d_cell = d_cell * f
                    d_product.copy_(norm_backward(
                        d_gates_t, product, (4 * size,), *moments_t[:2], gain, None, through
                    )[0])  # fmt: skip
                    d_hidden = torch.mm(d_product, weight).to(d_cell.dtype)
            # parameters, over all steps at once
            d_weight = d_products.flatten(0, 1).t() @ hiddens[:-1].flatten(0, 1).to(weight.dtype)
            d_gain = norm_backward(
                d_gates, products, (4 * size,), *moments[:2], gain, None, (False, True, False)
            )[1]
            d_cell_norm = norm_backward(
                d_normed, cells[1:], (size,), *moments[2:], gain_cell, bias_cell,
                (False, True, True),
            )  # fmt: skip
        return d_gates, None, d_hidden, d_cell, d_weight, d_gain, *d_cell_norm[1:], None, None
