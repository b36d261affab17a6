"""What LSTMs that run their own loop over time share: recurrent dropout, and the gates forward and backward.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..dropout import probability
from ..recurrent import RecurrentCore
from ..schedule import Schedule
from ..state import State
from .lstm import LSTMState


class LSTMLoop(RecurrentCore):
    """An LSTM with a loop of its own: the state, and recurrent dropout of the candidate.

    Recurrent dropout (Semeniuta et al., 2016, https://arxiv.org/abs/1603.05118) needs the candidate
    g_t inside the step, so it is no wrapper: torch's fused LSTM does not show it. In training

        c_t = f_t * c_{t-1} + i_t * d * g_t

    where d drops a unit with probability p and scales the others by 1 / (1 - p). One mask per row
    holds for a whole `forward`; `step` draws one per call.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        recurrent_dropout: Probability of dropping a unit's candidate.
    """

    recurrent_weights = ("weight_hh",)

    def __init__(self, input_size: int, hidden_size: int, recurrent_dropout: float) -> None:
        if hidden_size < 1:
            raise ValueError(
                f"{type(self).__name__}: hidden_size is {hidden_size}; sizes are at least 1"
            )
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.recurrent_dropout = probability(
            type(self).__name__, "recurrent_dropout", recurrent_dropout
        )

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> LSTMState:
        """Returns zeros; see `RecurrentCore.initial_state`."""
        hidden = self._zeros(batch_size, self.hidden_size, device, dtype)
        return LSTMState(hidden, torch.zeros_like(hidden))

    def _unroll(self, x: Tensor, state: State, schedule: Schedule | None) -> tuple[Tensor, State]:
        if self.training and self.recurrent_dropout > 0:
            # The mask travels as more features of x, which are cut as x is.
            kept = self._draw(x).unsqueeze(1).expand(-1, x.shape[1], -1)
            x = torch.cat((x, kept.to(x.dtype)), 2)
        return super()._unroll(x, state, schedule)

    def _draw(self, x: Tensor) -> Tensor:
        """Bool (B, H), True where a row keeps a unit's candidate."""
        return torch.rand(x.shape[0], self.hidden_size, device=x.device) >= self.recurrent_dropout

    def _take_mask(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Separates x (B, T, D) from the mask, which is returned scaled, (B, H)."""
        if x.shape[2] == self.input_size:
            return x, None
        x, kept = x.split((self.input_size, self.hidden_size), 2)
        return x, kept[:, 0].to(dtype) / (1.0 - self.recurrent_dropout)

    def _step_mask(self, x: Tensor, dtype: torch.dtype) -> Tensor | None:
        """The mask of one step's candidate, scaled, (B, H); None where nothing is dropped."""
        if not self.training or self.recurrent_dropout == 0:
            return None
        return self._draw(x).to(dtype) / (1.0 - self.recurrent_dropout)


def next_cell(gates: Tensor, cell: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Computes c_t and the output gate by the formula.

    Args:
        gates: i, f, g, o before their nonlinearities (B, 4H).
        cell: c_{t-1} (B, H).
        mask: Factor of the candidate (B, H), or None.

    Returns:
        c_t and o_t, each (B, H).
    """
    i, f, g, o = gates.chunk(4, 1)
    candidate = torch.tanh(g) if mask is None else torch.tanh(g) * mask
    return torch.sigmoid(f) * cell + torch.sigmoid(i) * candidate, torch.sigmoid(o)


def advance(gates: Tensor, cell: Tensor, mask: Tensor | None, out: Tensor) -> None:
    """Runs the gates of one step, in place.

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
    i, f = if_.split(hidden, 1)
    torch.mul(f, cell, out=out)
    out.addcmul_(i, g if mask is None else g * mask)


def derivatives(
    gates: Tensor, before: Tensor, squashed: Tensor, mask: Tensor | None, out: Tensor
) -> Tensor:
    """Everything that a backward loop multiplies with and that needs no loop.

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
    i, f, g, o = gates.chunk(4, 2)
    to_i, to_f, to_g, to_o = out.chunk(4, 2)
    through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input
    through_sigmoid(g if mask is None else g * mask, i, grad_input=to_i)
    through_sigmoid(before, f, grad_input=to_f)
    torch.ops.aten.tanh_backward.grad_input(i if mask is None else i * mask, g, grad_input=to_g)
    through_sigmoid(squashed, o, grad_input=to_o)
    slopes: Tensor = torch.ops.aten.tanh_backward(o, squashed)
    return slopes


def blocks_backward(time: int, numbers: int) -> list[slice]:
    """Cuts a backward loop into blocks, the last first.

    What needs no loop is computed for a block at once: few calls where steps are small, and never
    more than the cache holds (measured: for the whole sequence at once it takes twice as long).

    Args:
        time: T.
        numbers: B * H.

    Returns:
        Slices of the steps.
    """
    length = max(1, 32768 // numbers)
    return [slice(max(stop - length, 0), stop) for stop in range(time, 0, -length)]
