"""LSTMs that run their own loop over time: the state, and recurrent dropout.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..dropout import probability
from ..recurrent import RecurrentCore
from ..schedule import Schedule
from ..state import LSTMState, State


class LSTMLoop(RecurrentCore):
    """An LSTM with a loop of its own: its weights, and recurrent dropout of the candidate.

    Recurrent dropout (Semeniuta et al., 2016, https://arxiv.org/abs/1603.05118) needs the candidate
    g_t inside the step, so it is no wrapper: torch's fused LSTM does not show it. In training

        c_t = f_t * c_{t-1} + i_t * d * g_t

    where d drops a unit with probability p and scales the others by 1 / (1 - p). One mask per row
    holds for a whole `forward`; `step` draws one per call.

    Gate order i, f, g, o: `weight_ih` (4H, D), `weight_hh` (4H, H).

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        recurrent_dropout: Probability of dropping a unit's candidate.
    """

    state_type = LSTMState
    recurrent_weights = ("weight_hh",)

    def __init__(self, input_size: int, hidden_size: int, recurrent_dropout: float) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.recurrent_dropout = probability(
            type(self).__name__, "recurrent_dropout", recurrent_dropout
        )
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly within 1 / sqrt(H)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def _unroll(self, x: Tensor, state: State, schedule: Schedule | None) -> tuple[Tensor, State]:
        if self.training and self.recurrent_dropout > 0:
            # The mask travels as more features of x, which are cut as x is.
            kept = self._draw(x).unsqueeze(1).expand(-1, x.shape[1], -1)  # (B, T, H)
            x = torch.cat((x, kept.to(x.dtype)), 2)  # (B, T, D + H)
        return super()._unroll(x, state, schedule)

    def _draw(self, x: Tensor) -> Tensor:
        """Draw bool (B, H), True where a row keeps a unit's candidate."""
        return torch.rand(x.shape[0], self.hidden_size, device=x.device) >= self.recurrent_dropout

    def _take_mask(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Separate x (B, T, D) from the mask, which is returned scaled, (B, H)."""
        if x.shape[2] == self.input_size:
            return x, None
        x, kept = x.split((self.input_size, self.hidden_size), 2)
        return x, kept[:, 0].to(dtype) / (1.0 - self.recurrent_dropout)

    def _step_mask(self, x: Tensor, dtype: torch.dtype) -> Tensor | None:
        """Draw the mask of one step's candidate, scaled, (B, H); None where nothing is dropped."""
        if not self.training or self.recurrent_dropout == 0:
            return None
        return self._draw(x).to(dtype) / (1.0 - self.recurrent_dropout)

    def extra_repr(self) -> str:
        """Show the sizes in the module's representation."""
        dropped = f", recurrent_dropout={self.recurrent_dropout}" if self.recurrent_dropout else ""
        return f"{self.input_size}, {self.hidden_size}{self._options()}{dropped}"

    def _options(self) -> str:
        """Return what else `extra_repr` shows."""
        return ""


def next_cell(gates: Tensor, cell: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute c_t and the output gate by the formula.

    Args:
        gates: i, f, g, o before their nonlinearities (B, 4H).
        cell: c_{t-1} (B, H).
        mask: Factor of the candidate (B, H), or None.

    Returns:
        c_t and o_t, each (B, H).
    """
    i, f, g, o = gates.chunk(4, 1)  # (B, H) each
    candidate = torch.tanh(g) if mask is None else torch.tanh(g) * mask
    return torch.sigmoid(f) * cell + torch.sigmoid(i) * candidate, torch.sigmoid(o)
