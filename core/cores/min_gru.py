"""The minimal gated recurrent unit.

Shapes: B batch, T time, D input, H hidden.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.gated_scan import Gates, gated_recurrence
from .elementwise import ElementwiseCore, project


class MinGRUState(NamedTuple):
    """What a MinGRU carries from step to step.

    Attributes:
        hidden: h (B, H), the last output.
    """

    hidden: Tensor


class MinGRU(ElementwiseCore):
    r"""Minimal gated recurrent unit whose gate reads the input only, parallel.

    Feng et al., 2024, "Were RNNs all we needed?" (https://arxiv.org/abs/2410.01201):

        z_t = sigmoid(W_z x_t + b_z)                    update gate
        n_t = g(W_n x_t + b_n)                          candidate (the paper's h with a tilde)
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    The paper states it twice: with g(v) = v (section 3.1) and, for its computation in log space and
    its experiments, with g(v) = v + 0.5 where v >= 0 and sigmoid(v) elsewhere (appendix B), which
    keeps the state positive. `candidate` chooses; neither is computed in log space here, which
    would lose digits.

    Gate order z, n: `weight` (2H, D), `bias` (2H,). Initialised uniformly within 1 / sqrt(D), as
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
        self._gates = _MinGRUGates(choose("MinGRU", candidate))
        self.weight = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size)) if bias else None
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
    ) -> MinGRUState:
        """Returns zeros; see `RecurrentCore.initial_state`."""
        return MinGRUState(self._zeros(batch_size, self.hidden_size, device, dtype))

    def step(self, x: Tensor, state: MinGRUState) -> tuple[Tensor, MinGRUState]:
        """Advances one step; see `RecurrentCore.step`."""
        (hidden,) = state
        z, v = F.linear(x, self.weight, self.bias).to(hidden.dtype).chunk(2, 1)
        z = torch.sigmoid(z)
        hidden = (1 - z) * hidden + z * self._gates.candidate.value(v)
        return hidden.to(x.dtype), MinGRUState(hidden)

    def _run(
        self, x: Tensor, state: MinGRUState, reset: Tensor | None
    ) -> tuple[Tensor, MinGRUState]:
        given = (x, self.weight, self.bias)
        output, hidden = gated_recurrence(self._gates, project, given, state.hidden, reset=reset)
        return output, MinGRUState(hidden)

    def extra_repr(self) -> str:
        """Shows the options in the module's representation."""
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}, candidate={self.candidate!r}, chunk={self.chunk}{bias}"


class Candidate:
    """The identity as the candidate's g."""

    def value(self, v: Tensor) -> Tensor:
        """Returns g(v).

        Args:
            v: Any shape.
        """
        return v

    def gradient_(self, grad: Tensor, value: Tensor) -> None:
        """Multiplies a gradient in place by the slope of g.

        Args:
            grad: The gradient of g(v); becomes that of v.
            value: g(v), which tells the slope.
        """


class PositiveCandidate(Candidate):
    """v + 0.5 where v >= 0, sigmoid(v) elsewhere."""

    def value(self, v: Tensor) -> Tensor:
        """Returns g(v); see `Candidate.value`."""
        # torch.where takes five times as long on a CPU
        return torch.relu(v) + torch.sigmoid(v.clamp(max=0.0))

    def gradient_(self, grad: Tensor, value: Tensor) -> None:
        """Multiplies by the slope; see `Candidate.gradient_`."""
        rest = torch.ops.aten.threshold_backward(grad, value, 0.5).mul_(
            0.75
        )  # where v > 0: 1 less the 0.25 that follows
        sigmoid = value.clamp(max=0.5)
        grad.mul_(torch.addcmul(sigmoid, sigmoid, sigmoid, value=-1)).add_(rest)


def choose(owner: str, candidate: str) -> Candidate:
    """Returns the named candidate function; raises ValueError if there is none.

    Args:
        owner: Who asks, for the message.
        candidate: "positive" or "linear".
    """
    choices = {"positive": PositiveCandidate, "linear": Candidate}
    if candidate not in choices:
        raise ValueError(f"{owner}: candidate is {candidate!r}; it must be 'positive' or 'linear'")
    return choices[candidate]()


class _MinGRUGates(Gates):
    def __init__(self, candidate: Candidate) -> None:
        super().__init__(torch.sigmoid, candidate.value)
        self.candidate = candidate

    def factors(self, *given: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        z, n = given
        a = 1 - z
        return a, z * n, (a,)

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
        z, n = given
        grad_z, grad_n = out
        torch.mul(grad_h, z, out=grad_n)
        torch.sub(n, before, out=grad_z).mul_(grad_n).mul_(kept[0])
        self.candidate.gradient_(grad_n, n)
