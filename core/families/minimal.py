"""MinGRU and MinLSTM: one projection of the input makes the gates and the candidate.

Shapes: D input, H hidden, G gates.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from .elementwise import LinearCore, project


class MinimalCore(LinearCore):
    """A minimal recurrent network of Feng et al., 2024 (https://arxiv.org/abs/2410.01201).

    `weight` (G * H, D) and `bias` (G * H,), gate by gate and the candidate last, are initialised
    uniformly within 1 / sqrt(D), as `nn.Linear` does.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the hidden state and of the output.
        candidate: "positive" for the g of appendix B, "linear" for g(v) = v.
        bias: Whether there are biases.
        chunk: Steps at a time, computed again for the gradient to save memory; see
            `ElementwiseCore`.
    """

    gates: ClassVar[int]  # G, with the candidate

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
        if candidate not in ("positive", "linear"):
            raise ValueError(
                f"{type(self).__name__}: candidate is {candidate!r}; it must be 'positive' or "
                "'linear'"
            )
        self.candidate = candidate
        self.weight = nn.Parameter(torch.empty(self.gates * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(self.gates * hidden_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly within 1 / sqrt(D)."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.input_size**-0.5), self.input_size**-0.5)

    def _factors(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return self._gates(project(x, self.weight, self.bias, dtype=dtype))

    @abstractmethod
    def _gates(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Compute a and b, each (..., H), of the projected input (..., G * H)."""

    def _parts(self, projected: Tensor) -> tuple[Tensor, ...]:
        """Take apart the gates before their sigmoid, and the candidate, (..., H) each."""
        *gates, v = projected.chunk(self.gates, -1)
        return *gates, positive(v) if self.candidate == "positive" else v

    def extra_repr(self) -> str:
        """Show the options in the module's representation."""
        bias = "" if self.bias is not None else ", bias=False"
        sizes = f"{self.input_size}, {self.hidden_size}"
        return f"{sizes}, candidate={self.candidate!r}, chunk={self.chunk}{bias}"


def positive(v: Tensor) -> Tensor:
    """Compute v + 0.5 where v >= 0 and sigmoid(v) elsewhere.

    Args:
        v: Any shape.
    """
    # torch.where takes five times as long on a CPU
    return torch.relu(v) + torch.sigmoid(v.clamp(max=0.0))
