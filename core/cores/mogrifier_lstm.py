"""The Mogrifier LSTM.

Shapes: B batch, T time, D input, H hidden, K rank, N rounds that scale x, M rounds that scale h.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..autocast import autocast_enabled
from ..families.lstm_loop import LSTMLoop, next_cell
from ..kernels.loops import product_dtype
from ..kernels.mogrifier_lstm import MogrifierLoop
from ..state import LSTMState


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

    Examples:
        >>> core = MogrifierLSTM(3, 8, rounds=4, rank=2)
        >>> output, state = core(torch.randn(2, 5, 3))
        >>> output.shape, state.hidden.shape, state.cell.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]), torch.Size([2, 8]))
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
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        scalings = {
            "q": ((rounds + 1) // 2, input_size, hidden_size),
            "r": (rounds // 2, hidden_size, input_size),
        }
        for name, (count, rows, columns) in scalings.items():
            shapes = {f"weight_{name}": (rows, columns)}
            if rank is not None:
                shapes = {
                    f"weight_{name}_left": (rows, rank),
                    f"weight_{name}_right": (rank, columns),
                }
            for factor, shape in shapes.items() if count else ():
                self.register_parameter(factor, nn.Parameter(torch.empty(count, *shape)))
        self.reset_parameters()

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Advance one step; see `RecurrentCore.step`."""
        weights = (self.weight_ih, self.weight_hh, self.bias)
        if x.dtype != self.weight_ih.dtype and not autocast_enabled(x.device.type):
            raise RuntimeError("x and the weights have two types")  # as torch says at other cores
        mask = self._step_mask(x, state.cell.dtype)
        hidden, cell = _step(x, *state, *weights, mask, self._factors(), *self._scalings())
        return hidden.to(x.dtype), LSTMState(hidden, cell)

    def _sequence(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        values, mask = self._take_mask(x, state.hidden.dtype)
        dtype = product_dtype(x, self.weight_ih)
        output, *state_n = MogrifierLoop.call(
            values.transpose(0, 1).to(state.hidden.dtype),  # (T, B, D)
            _step,
            *state,
            self.weight_ih.to(dtype),
            self.weight_hh.to(dtype),
            self.bias.to(state.hidden.dtype),
            mask,
            self._factors(),
            *(scaling.to(dtype) for scaling in self._scalings()),
        )
        return output.transpose(0, 1).to(x.dtype), LSTMState(*state_n)  # (B, T, H)

    def _factors(self) -> int:
        """Return how many matrices each Q and R is a product of."""
        return 1 if self.rank is None else 2

    def _scalings(self) -> list[Tensor]:
        """Return the matrices of Q^1, R^2, Q^3, ..., factor by factor."""
        suffixes = ("",) if self.rank is None else ("_left", "_right")
        stacks = [
            [getattr(self, f"weight_{name}{suffix}").unbind() for suffix in suffixes]
            for name in "qr"[: self.rounds]  # without two rounds nothing scales h
        ]
        return [stack[i // 2] for i in range(self.rounds) for stack in stacks[i % 2]]

    def _options(self) -> str:
        rank = "" if self.rank is None else f", rank={self.rank}"
        return f", rounds={self.rounds}{rank}"


def _step(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    mask: Tensor | None,
    factors: int,
    *scalings: Tensor,
) -> tuple[Tensor, Tensor]:
    for i in range(len(scalings) // factors):
        logits = hidden if i % 2 == 0 else x
        for matrix in reversed(scalings[factors * i : factors * (i + 1)]):
            logits = F.linear(logits.to(matrix.dtype), matrix)
        scale = 2 * torch.sigmoid(logits.to(cell.dtype))
        if i % 2 == 0:
            x = scale * x  # x^{i+1} (B, D)
        else:
            hidden = scale * hidden  # h^{i+1} (B, H)
    gates = F.linear(x.to(weight_ih.dtype), weight_ih, bias.to(weight_ih.dtype))
    gates = gates + F.linear(hidden.to(weight_hh.dtype), weight_hh)  # (B, 4H)
    cell, o = next_cell(gates, cell, mask)
    return o * torch.tanh(cell), cell
