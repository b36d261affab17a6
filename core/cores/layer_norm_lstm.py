"""Long short-term memory with layer normalisation.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.loops import Loop, without_autocast
from .lstm import LSTMState
from .lstm_loop import LSTMLoop, advance, blocks_backward, derivatives, next_cell


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
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.gain_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.gain_hh = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.gain_cell = nn.Parameter(torch.empty(hidden_size))
        self.bias_cell = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights uniformly within 1 / sqrt(H); gains are 1, biases 0."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            if name.startswith("weight"):
                nn.init.uniform_(parameter, -bound, bound)
            else:
                nn.init.constant_(parameter, float(name.startswith("gain")))

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Advances one step; see `RecurrentCore.step`."""
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
        gains = (gain.to(dtype) for gain in (self.gain_hh, self.gain_cell, self.bias_cell))
        output, *state_n = _Loop.call(
            *state, weight_hh, *gains, mask, self.eps,
            source=partial(_norm, eps=self.eps), given=(projected.to(dtype), self.gain_ih, self.bias),
        )  # fmt: skip
        return output.transpose(0, 1).to(x.dtype), LSTMState(*state_n)

    def extra_repr(self) -> str:
        """Shows the sizes in the module's representation."""
        dropped = f", recurrent_dropout={self.recurrent_dropout}" if self.recurrent_dropout else ""
        return f"{self.input_size}, {self.hidden_size}, eps={self.eps}{dropped}"


def _norm(v: Tensor, gain: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """LN in the dtype of `v`."""
    return F.layer_norm(
        v, v.shape[-1:], gain.to(v.dtype), None if bias is None else bias.to(v.dtype), eps
    )


def _step(
    projected: Tensor,  # (B, 4H), normalised
    hidden: Tensor,
    cell: Tensor,
    weight: Tensor,
    gain: Tensor,
    gain_cell: Tensor,
    bias_cell: Tensor,
    mask: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    recurrent = _norm(F.linear(hidden.to(weight.dtype), weight).to(cell.dtype), gain, None, eps)
    cell, o = next_cell(projected + recurrent, cell, mask)
    return o * torch.tanh(_norm(cell, gain_cell, bias_cell, eps)), cell


class _Loop(Loop):
    """The loop over time, time-major, with the gradients of all parameters taken over all steps at once.

    It overwrites `projected`, which nobody else needs, with the gates: fresh memory costs more than
    the arithmetic.
    """

    @staticmethod
    def formula(
        projected: Tensor, hidden: Tensor, cell: Tensor, *others: Any
    ) -> tuple[Tensor, ...]:
        outputs = []
        for step in projected.unbind(0):
            hidden, cell = _step(step, hidden, cell, *others)
            outputs.append(hidden)
        return torch.stack(outputs), hidden, cell

    @staticmethod
    def fast(
        ctx: Any,
        projected: Tensor,  # (T, B, 4H), normalised
        hidden: Tensor,
        cell: Tensor,
        weight: Tensor,
        gain: Tensor,
        gain_cell: Tensor,
        bias_cell: Tensor,
        mask: Tensor | None,
        eps: float,
    ) -> tuple[tuple[Tensor, ...], Sequence[Tensor | None]]:
        time, batch, size = *projected.shape[:2], hidden.shape[1]
        with without_autocast(projected.device):
            gates = projected
            products = torch.empty_like(projected)  # W_h h_{t-1}
            cells, hiddens = (projected.new_empty(time + 1, batch, size) for _ in range(2))
            squashed = projected.new_empty(time, batch, size)  # tanh(LN(c_t))
            cells[0], hiddens[0] = cell, hidden
            weight_t = weight.t()
            statistics: list[tuple[Tensor, ...]] = []
            steps = zip(
                gates.unbind(), products.unbind(), squashed.unbind(), cells[1:].unbind(),
                hiddens[1:].unbind(), strict=True,
            )  # fmt: skip
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
            moments = [torch.stack(moment) for moment in zip(*statistics, strict=True)]
        kept = (
            gates,
            products,
            squashed,
            cells,
            hiddens,
            weight,
            gain,
            gain_cell,
            bias_cell,
            mask,
            *moments,
        )
        return (hiddens[1:], hiddens[-1].clone(), cells[-1].clone()), kept

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_output, d_hidden, d_cell = grads
        (
            gates,
            products,
            squashed,
            cells,
            hiddens,
            weight,
            gain,
            gain_cell,
            bias_cell,
            mask,
            *moments,
        ) = kept
        time, batch, size = squashed.shape
        norm_backward = torch.ops.aten.native_layer_norm_backward
        with without_autocast(gates.device):
            d_gates, d_products = (
                torch.empty_like(gates),
                torch.empty_like(products, dtype=weight.dtype),
            )
            d_normed = torch.empty_like(squashed)  # of LN(c_t)
            forget = gates.view(time, batch, 4, size)[:, :, 1]
            for part in blocks_backward(time, batch * size):
                slopes = derivatives(
                    gates[part], cells[:-1][part], squashed[part], mask, d_gates[part]
                )
                sources = (
                    d_output,
                    forget,
                    products,
                    cells[1:],
                    d_gates,
                    d_products,
                    d_normed,
                    *moments,
                )
                steps = zip(
                    slopes.unbind(), *(source[part].unbind() for source in sources), strict=True
                )
                for (
                    slope,
                    d_output_t,
                    f,
                    product,
                    cell,
                    d_gates_t,
                    d_product,
                    d_normed_t,
                    *moments_t,
                ) in reversed(list(steps)):
                    d_hidden = d_hidden + d_output_t
                    torch.mul(d_hidden, slope, out=d_normed_t)
                    through_norm, _, _ = norm_backward(
                        d_normed_t,
                        cell,
                        (size,),
                        *moments_t[2:],
                        gain_cell,
                        bias_cell,
                        (True, False, False),
                    )
                    d_cell = d_cell + through_norm
                    d_split = d_gates_t.view(batch, 4, size)
                    d_split[:, :3].mul_(d_cell.unsqueeze(1))
                    d_split[:, 3].mul_(d_hidden)
                    d_cell = d_cell * f
                    through_norm, _, _ = norm_backward(
                        d_gates_t,
                        product,
                        (4 * size,),
                        *moments_t[:2],
                        gain,
                        None,
                        (True, False, False),
                    )
                    d_hidden = torch.mm(d_product.copy_(through_norm), weight).to(d_cell.dtype)
            d_weight = d_products.flatten(0, 1).t() @ hiddens[:-1].flatten(0, 1).to(weight.dtype)
            d_gain = norm_backward(
                d_gates, products, (4 * size,), *moments[:2], gain, None, (False, True, False)
            )[1]
            d_cell_norm = norm_backward(
                d_normed,
                cells[1:],
                (size,),
                *moments[2:],
                gain_cell,
                bias_cell,
                (False, True, True),
            )
        return d_gates, d_hidden, d_cell, d_weight, d_gain, *d_cell_norm[1:], None, None
