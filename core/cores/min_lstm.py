"""The minimal LSTM.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.gated_scan import Gates, gated_recurrence
from .elementwise import ElementwiseCore, project
from .min_gru import Candidate, choose


class MinLSTMState(NamedTuple):
    """What a MinLSTM carries from step to step.

    Attributes:
        hidden: h (B, H), the last output.
    """

    hidden: Tensor


class MinLSTM(ElementwiseCore):
    r"""Minimal LSTM whose gates read the input only and are normalised, parallel.

    Feng et al., 2024, "Were RNNs all we needed?" (https://arxiv.org/abs/2410.01201):

        f_t = sigmoid(W_f x_t + b_f)                    forget gate
        i_t = sigmoid(W_i x_t + b_i)                    input gate
        n_t = g(W_n x_t + b_n)                          candidate (the paper's h with a tilde)
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * n_t

    g is the paper's: g(v) = v in section 3.2, or the positive function of appendix B; see `MinGRU`.
    The shares are computed as sigmoid(log f_t - log i_t), which stays right where both gates are
    shut.

    Gate order f, i, n: `weight` (3H, D), `bias` (3H,). Initialised uniformly within 1 / sqrt(D), as
    `nn.Linear` does. The initial state is zero.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        candidate: "positive" for the g of appendix B, "linear" for g(v) = v.
        bias: Whether there are biases.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.
    """

    parallel = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        candidate: Literal["positive", "linear"] = "positive",
        bias: bool = True,
        chunk: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, chunk=chunk)
        self.candidate = candidate
        self._gates = _MinLSTMGates(choose("MinLSTM", candidate))
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws every parameter uniformly within 1 / sqrt(D)."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.input_size**-0.5), self.input_size**-0.5)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> MinLSTMState:
        """Returns zeros; see `RecurrentCore.initial_state`."""
        return MinLSTMState(self._zeros(batch_size, self.hidden_size, device, dtype))

    def step(self, x: Tensor, state: MinLSTMState) -> tuple[Tensor, MinLSTMState]:
        """Advances one step; see `RecurrentCore.step`."""
        (hidden,) = state
        f, i, v = F.linear(x, self.weight, self.bias).to(hidden.dtype).chunk(3, 1)
        share = torch.sigmoid(F.logsigmoid(f) - F.logsigmoid(i))
        hidden = share * hidden + (1 - share) * self._gates.candidate.value(v)
        return hidden.to(x.dtype), MinLSTMState(hidden)

    def _run(
        self, x: Tensor, state: MinLSTMState, reset: Tensor | None
    ) -> tuple[Tensor, MinLSTMState]:
        given = (x, self.weight, self.bias)
        output, hidden = gated_recurrence(self._gates, project, given, state.hidden, reset=reset)
        return output, MinLSTMState(hidden)

    def extra_repr(self) -> str:
        """Shows the options in the module's representation."""
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}, candidate={self.candidate!r}, chunk={self.chunk}{bias}"


class _MinLSTMGates(Gates):
    def __init__(self, candidate: Candidate) -> None:
        super().__init__(_nothing, _nothing, candidate.value)
        self.candidate = candidate

    def factors(self, *given: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        f, i, n = given
        # sigmoid(log sigmoid(f) - log sigmoid(i)) without a logarithm; sigmoid(v) = exp(min(v, 0))
        # sigmoid(|v|).
        f_open, i_open = torch.sigmoid(f.abs()), torch.sigmoid(i.abs())
        share = f_open / (f_open + i_open * torch.exp(i.clamp(max=0.0) - f.clamp(max=0.0)))
        rest = 1 - share
        return share, rest * n, (share, rest)

    def gradients(
        self,
        given: tuple[Tensor, ...],
        kept: tuple[Tensor, ...],
        out: tuple[Tensor, ...],
        before: Tensor,
        h: Tensor,
        grad_h: Tensor,
        grad_output: Tensor,
    ) -> None:
        f, i, n = given
        share, rest = kept
        grad_f, grad_i, grad_n = out
        torch.mul(grad_h, rest, out=grad_n)
        inner = torch.sub(before, n).mul_(grad_n).mul_(share)  # of the logarithms' difference
        torch.mul(inner, torch.sigmoid(-f), out=grad_f)
        torch.mul(inner.neg_(), torch.sigmoid(-i), out=grad_i)
        self.candidate.gradient_(grad_n, n)


def _nothing(v: Tensor) -> Tensor:
    return v
