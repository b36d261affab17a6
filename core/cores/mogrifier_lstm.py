"""The Mogrifier LSTM.

Shapes: B batch, T time, D input, H hidden, K rank, N rounds that scale x, M rounds that scale h.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.loops import Loop, product_dtype, without_autocast
from .lstm import LSTMState
from .lstm_loop import LSTMLoop, advance, blocks_backward, derivatives, next_cell


class MogrifierLSTM(LSTMLoop):
    r"""LSTM whose input and hidden state scale each other before each step, sequential.

    Melis, Kocisky and Blunsom, 2020 (https://arxiv.org/abs/1909.01792), equations 1 and 2. With
    x^{-1} = x_t and h^0 = h_{t-1}, for i = 1, ..., rounds:

        x^i = 2 sigmoid(Q^i h^{i-1}) * x^{i-2}      for odd i
        h^i = 2 sigmoid(R^i x^{i-1}) * h^{i-2}      for even i

    and then the LSTM, of the last x and h:

        (i_t, f_t, g_t, o_t) = W_x x + W_h h + b
        c_t = sigmoid(f_t) * c_{t-1} + sigmoid(i_t) * tanh(g_t)
        h_t = sigmoid(o_t) * tanh(c_t)

    Without rounds it is the LSTM. With `rank`, Q^i = Q^i_left Q^i_right and R^i likewise.

    Gate order i, f, g, o: `weight_ih` (4H, D), `weight_hh` (4H, H), `bias` (4H,). `weight_q` (N, D,
    H) holds Q^1, Q^3, ..., `weight_r` (M, H, D) holds R^2, R^4, ...; with `rank` they are
    `weight_q_left` (N, D, K) and `weight_q_right` (N, K, H), `weight_r_left` (M, H, K) and
    `weight_r_right` (M, K, D). Everything is initialised uniformly within 1 / sqrt(H), torch's
    default for the LSTM. The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        rounds: How often x and h are scaled, in turn; the paper finds 5 or 6 best.
        rank: K, rank of Q and R; full when not given. The paper uses 40 to 90.
        recurrent_dropout: Probability of dropping a unit's candidate g in training, one mask per
            row for all steps of a `forward` (https://arxiv.org/abs/1603.05118).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        rounds: int = 5,
        rank: int | None = None,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size, recurrent_dropout)
        if rounds < 0:
            raise ValueError(
                f"MogrifierLSTM: rounds is {rounds}; it is at least 0, which is the plain LSTM"
            )
        if rank is not None and rank < 1:
            raise ValueError(
                f"MogrifierLSTM: rank is {rank}; it is at least 1, or None for full matrices"
            )
        self.rounds = rounds
        self.rank = rank
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        scalings = {
            "q": ((rounds + 1) // 2, input_size, hidden_size),
            "r": (rounds // 2, hidden_size, input_size),
        }
        for name, (count, rows, columns) in scalings.items():
            if count and rank is None:
                self.register_parameter(
                    f"weight_{name}", nn.Parameter(torch.empty(count, rows, columns))
                )
            elif count and rank is not None:
                self.register_parameter(
                    f"weight_{name}_left", nn.Parameter(torch.empty(count, rows, rank))
                )
                self.register_parameter(
                    f"weight_{name}_right", nn.Parameter(torch.empty(count, rank, columns))
                )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws every parameter uniformly within 1 / sqrt(H)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Advances one step; see `RecurrentCore.step`."""
        mask = self._step_mask(x, state.cell.dtype)
        hidden, cell = _step(
            x, *state, self.weight_ih, self.weight_hh, self.bias, mask, self._scalings()
        )
        return hidden.to(x.dtype), LSTMState(hidden, cell)

    def _scalings(self) -> list[tuple[Tensor, ...]]:
        """The matrices Q^1, R^2, Q^3, ..., each as the factors it is a product of."""
        suffixes = ("",) if self.rank is None else ("_left", "_right")
        present = "qr"[: self.rounds]  # without two rounds nothing scales h
        parts = [
            list(
                zip(
                    *(getattr(self, f"weight_{name}{suffix}").unbind() for suffix in suffixes),
                    strict=True,
                )
            )
            for name in present
        ]
        return [parts[i % 2][i // 2] for i in range(self.rounds)]

    def _sequence(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        values, mask = self._take_mask(x, state.hidden.dtype)
        dtype = product_dtype(x, self.weight_ih)
        weight = torch.cat((self.weight_ih, self.weight_hh), 1).to(dtype)
        scalings = [factor.to(dtype) for factors in self._scalings() for factor in factors]
        output, *state_n = _Loop.call(
            values.transpose(0, 1).to(state.hidden.dtype),
            *state,
            weight,
            self.bias.to(state.hidden.dtype),
            mask,
            1 if self.rank is None else 2,
            *scalings,
        )
        return output.transpose(0, 1).to(x.dtype), LSTMState(*state_n)

    def extra_repr(self) -> str:
        """Shows the sizes in the module's representation."""
        rank = "" if self.rank is None else f", rank={self.rank}"
        dropped = f", recurrent_dropout={self.recurrent_dropout}" if self.recurrent_dropout else ""
        return f"{self.input_size}, {self.hidden_size}, rounds={self.rounds}{rank}{dropped}"


def _step(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    mask: Tensor | None,
    scalings: Sequence[Sequence[Tensor]],  # Q^1, R^2, Q^3, ..., each as its factors
) -> tuple[Tensor, Tensor]:
    scaled_x, scaled_h = x, hidden
    for number, factors in enumerate(scalings, 1):
        logits = scaled_h if number % 2 else scaled_x
        for factor in reversed(factors):
            logits = F.linear(logits.to(factor.dtype), factor)
        if number % 2:
            scaled_x = 2 * torch.sigmoid(logits.to(cell.dtype)) * scaled_x
        else:
            scaled_h = 2 * torch.sigmoid(logits.to(cell.dtype)) * scaled_h
    gates = F.linear(scaled_x.to(weight_ih.dtype), weight_ih, bias.to(weight_ih.dtype))
    gates = gates + F.linear(scaled_h.to(weight_hh.dtype), weight_hh)
    cell, o = next_cell(gates, cell, mask)
    return o * torch.tanh(cell), cell


class _Loop(Loop):
    """The loop over time, time-major, with the gradients of all parameters taken over all steps at once.

    The last two x and h of a step lie side by side, so that W_x x + W_h h is one product. Each
    round i keeps its factor 2 sigmoid(.), what it scaled and what it multiplied with each matrix,
    for all steps.
    """

    @staticmethod
    def formula(
        x: Tensor,
        hidden: Tensor,
        cell: Tensor,
        weight: Tensor,
        bias: Tensor,
        mask: Tensor | None,
        factors: int,
        *scalings: Tensor,
    ) -> tuple[Tensor, ...]:
        weight_ih, weight_hh = weight.split((x.shape[2], hidden.shape[1]), 1)
        rounds = [scalings[i : i + factors] for i in range(0, len(scalings), factors)]
        outputs = []
        for x_t in x.unbind(0):
            hidden, cell = _step(x_t, hidden, cell, weight_ih, weight_hh, bias, mask, rounds)
            outputs.append(hidden)
        return torch.stack(outputs), hidden, cell

    @staticmethod
    def fast(
        ctx: Any,
        x: Tensor,  # (T, B, D)
        hidden: Tensor,
        cell: Tensor,
        weight: Tensor,  # (4H, D + H)
        bias: Tensor,
        mask: Tensor | None,
        factors: int,  # matrices per round
        *scalings: Tensor,
    ) -> tuple[tuple[Tensor, ...], Sequence[Tensor | None]]:
        time, batch, size = *x.shape[:2], hidden.shape[1]
        rounds = len(scalings) // factors
        with without_autocast(x.device):
            joined = x.new_empty(time, batch, x.shape[2] + size)  # x^last, h^last
            gates = x.new_empty(time, batch, 4 * size)
            squashed = x.new_empty(time, batch, size)  # tanh(c_t)
            cells, hiddens = (x.new_empty(time + 1, batch, size) for _ in range(2))
            cells[0], hiddens[0] = cell, hidden
            # Between the rounds: x^{-1}, h^0, x^1, h^2, ... The last of both are in `joined`.
            ends = joined.split((x.shape[2], size), 2)
            chain = [x, hiddens[:-1]]
            chain += [
                ends[i % 2] if i + 2 >= rounds else torch.empty_like(ends[i % 2])
                for i in range(rounds)
            ]
            scales = [torch.empty_like(part) for part in chain[2:]]
            middles = (
                [x.new_empty(time, batch, scaling.shape[0]) for scaling in scalings[1::2]]
                if factors == 2
                else []
            )
            weight_t, transposed = weight.t(), [scaling.t() for scaling in scalings]
            by_step = [_by_step(parts, time) for parts in (chain, scales, middles, ends)]
            steps = zip(
                *by_step, joined.unbind(), gates.unbind(), squashed.unbind(), cells[1:].unbind(),
                hiddens[1:].unbind(), strict=True,
            )  # fmt: skip
            for (
                parts,
                scales_t,
                middles_t,
                ends_t,
                joined_t,
                gates_t,
                squashed_t,
                cell_t,
                hidden_t,
            ) in steps:
                for i, scale in enumerate(scales_t):
                    left = parts[i + 1]
                    if factors == 2:
                        left = _product(left, transposed[2 * i + 1], middles_t[i])
                    _product(left, transposed[factors * i], scale).sigmoid_().mul_(2)
                    torch.mul(scale, parts[i], out=parts[i + 2])
                for i in range(rounds, 2):  # what no round has scaled
                    ends_t[i].copy_(parts[i])
                _product(joined_t, weight_t, gates_t).add_(bias)
                advance(gates_t, cell, mask, cell_t)
                torch.tanh(cell_t, out=squashed_t)
                torch.mul(gates_t[:, 3 * size :], squashed_t, out=hidden_t)
                cell = cell_t
        ctx.factors, ctx.rounds = factors, rounds
        kept = (gates, squashed, cells, weight, mask, joined, *scalings, *chain, *scales, *middles)
        return (hiddens[1:], hiddens[-1].clone(), cells[-1].clone()), kept

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_output, d_hidden, d_cell = grads
        gates, squashed, cells, weight, mask, joined, *rest = kept
        factors, rounds, (time, batch, size) = ctx.factors, ctx.rounds, squashed.shape
        scalings, rest = rest[: factors * rounds], rest[factors * rounds :]
        chain, scales, middles = (
            rest[: rounds + 2],
            rest[rounds + 2 : 2 * rounds + 2],
            rest[2 * rounds + 2 :],
        )
        with without_autocast(gates.device):
            forget = gates.view(time, batch, 4, size)[:, :, 1]
            d_gates, d_x = torch.empty_like(gates), torch.empty_like(chain[0])
            d_logits = [torch.empty_like(scale) for scale in scales]
            d_middles = [torch.empty_like(middle) for middle in middles]
            for block in blocks_backward(time, batch * size):
                slopes = derivatives(
                    gates[block], cells[:-1][block], squashed[block], mask, d_gates[block]
                )
                scales_b, logits_b, middles_b = (
                    [part[block] for part in parts] for parts in (scales, d_logits, d_middles)
                )
                for part, scale, d_logit in zip(chain, scales_b, logits_b, strict=False):
                    # d scale / d logit = scale - scale^2 / 2, times what was scaled
                    torch.addcmul(scale, scale, scale, value=-0.5, out=d_logit).mul_(part[block])
                steps = zip(
                    *(_by_step(parts, len(slopes)) for parts in (scales_b, logits_b, middles_b)),
                    *(source[block].unbind() for source in (d_output, forget, d_gates, d_x)),
                    slopes.unbind(),
                    strict=True,
                )
                for (
                    scales_t,
                    logits_t,
                    middles_t,
                    d_output_t,
                    f,
                    d_gates_t,
                    d_x_t,
                    slope,
                ) in reversed(list(steps)):
                    d_hidden = d_hidden + d_output_t
                    d_cell = torch.addcmul(d_cell, d_hidden, slope)
                    d_split = d_gates_t.view(batch, 4, size)
                    d_split[:, :3].mul_(d_cell.unsqueeze(1))
                    d_split[:, 3].mul_(d_hidden)
                    d_cell = d_cell * f
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
            d_scalings = []
            for i, d_logit in enumerate(d_logits):
                if factors == 2:
                    d_scalings.append(_over_time(d_logit, middles[i], weight.dtype))
                    d_logit = d_middles[i]
                d_scalings.append(_over_time(d_logit, chain[i + 1], weight.dtype))
            d_weight = _over_time(d_gates, joined, weight.dtype)
        return d_x, d_hidden, d_cell, d_weight, d_gates.sum((0, 1)), None, None, *d_scalings


def _product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Multiplies matrices in the dtype of `right`; the result has that of `left`."""
    if left.dtype == right.dtype:
        return torch.mm(left, right, out=out)
    product = torch.mm(left.to(right.dtype), right)
    return product.to(left.dtype) if out is None else out.copy_(product)


def _over_time(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum over all steps of left^T right."""
    return left.flatten(0, 1).to(dtype).t() @ right.flatten(0, 1).to(dtype)


def _by_step(parts: Sequence[Tensor], time: int) -> list[tuple[Tensor, ...]]:
    """Turns tensors (T, ...) into one tuple of tensors per step."""
    return list(zip(*(part.unbind() for part in parts), strict=True)) if parts else [()] * time
