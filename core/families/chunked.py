"""Cores with a memory of matrices whose sequence runs chunk by chunk, in products of matrices.

Shapes: B batch, T time, D input, H output, C chunks of L steps.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.loops import transformed
from ..schedule import Schedule, steps_before
from ..state import State, leaves
from .elementwise import project
from .heads import HeadsCore
from .short_convolution import Rows

_MODERATE = 1e6


class ChunkedCore(HeadsCore):
    """A core whose memory decays and learns: as attention within a chunk, as a state between them.

    Lengths are taken within the chunks, and so are many resets: where nothing stays, a row starts
    anew. On other devices than a CPU, and where numbers are not finite or huge, which products
    would carry over a reset, the sequence is cut at the resets instead.

    Args:
        input_size: D, size of one step's input.
        hidden_size: H, size of the output.
        num_heads: Number of memories; divides H.
        chunk_size: The most steps that run at once.
    """

    parallel = True
    _slack = 64  # measured on CPUs: a cut costs about as much as this many steps of one row

    def __init__(self, input_size: int, hidden_size: int, num_heads: int, chunk_size: int) -> None:
        super().__init__(input_size, hidden_size, num_heads)
        if chunk_size < 1:
            raise ValueError(
                f"{type(self).__name__}: chunk_size is {chunk_size}; a chunk has at least 1 step"
            )
        self.chunk_size = chunk_size

    @abstractmethod
    def _run(self, x: Tensor, state: Any, rows: Rows) -> tuple[Tensor, State]:
        """Run a batch, chunk by chunk.

        Args:
            x: Input (B, T, D), at least one row and one step; zero past the lengths.
            state: The state before the first step, of the boundary's dtype.
            rows: Lengths and resets.

        Returns:
            Output (B, T, H) in the dtype of `x`, anything past the lengths, and the state at the
            lengths.
        """

    def _sequence(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        return self._run(x, state, Rows())

    def _ragged(self, x: Tensor, state: Any, lengths: list[int]) -> tuple[Tensor, State]:
        return self._masked(x, state, lengths, None)

    def _masked(
        self, x: Tensor, state: Any, lengths: list[int], reset: Tensor | None
    ) -> tuple[Tensor, State]:
        if min(lengths) == x.shape[1]:
            return self._run(x, state, Rows(reset=reset))
        padding = ~steps_before(lengths, x.shape[1], x.device)  # (B, T)
        output, state = self._run(_without(x, padding), state, Rows(lengths, padding, reset))
        return _without(output, padding), state

    def _unroll(self, x: Tensor, state: State, schedule: Schedule | None) -> tuple[Tensor, State]:
        if schedule is not None and schedule.reset is not None and not self._idle(x, schedule):
            many = len(schedule.segments) > 1 + x.shape[1] // self.chunk_size
            # elsewhere asking for numbers would wait
            if many and x.device.type == "cpu" and not transformed():
                real = _without(x, ~schedule.valid())
                if all(_moderate(part) for part in (real, *leaves(state))):
                    found = self._masked(x, state, schedule.lengths, schedule.reset.to(x.device))
                    if all(math.isfinite(part.detach().sum().item()) for part in leaves(found)):
                        return found
        return super()._unroll(x, state, schedule)

    def extra_repr(self) -> str:
        """Show the sizes in the module's representation."""
        return f"{super().extra_repr()}, chunk_size={self.chunk_size}"


def _without(x: Tensor, padding: Tensor) -> Tensor:
    """Clear (B, T, ...) past the rows' lengths."""
    return x.masked_fill(padding.unsqueeze(2), 0.0)


def _moderate(x: Tensor) -> bool:
    """Tell whether all numbers are finite, and their products: zero times infinity is no number."""
    return x.numel() == 0 or bool(x.detach().abs().max() < _MODERATE)


def in_chunks(x: Tensor, most: int, *, exactly: bool = False, value: float = 0.0) -> Tensor:
    """Cut the time axis into as few equal chunks as may be, and as short as they then may be.

    Args:
        x: (B, T, ...).
        most: Steps of the longest chunk that may be.
        exactly: Whether they have that length.
        value: What is past the last step.

    Returns:
        (B, C, L, ...).
    """
    time = x.shape[1]
    chunks = -(-time // most)
    length = most if exactly else -(-time // chunks)
    if more := chunks * length - time:
        x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, more), value=value)
    return x.view(len(x), chunks, length, *x.shape[2:])


def pairwise_decay(log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply the decays between each two steps of a chunk.

    Their logarithms are added up anew for each pair, where a difference of two sums would lose
    digits after a strong decay.

    Args:
        log_decay: Logarithm of each step's decay, (..., L), at most 0; minus infinity where nothing
            stays.

    Returns:
        (..., L, L): at [t, s] what is left at step t of what was written at step s, 0 before it
        was; and (..., L): what is left at each step of what was there before the chunk.
    """
    length = log_decay.shape[-1]
    ones = log_decay.new_ones(length, length, dtype=torch.bool)
    sums = log_decay.unsqueeze(-1).expand(*log_decay.shape, length)  # [t, s]: of step t
    sums = sums.masked_fill(ones.triu(), 0.0).cumsum(-2).masked_fill(ones.triu(1), -torch.inf)
    between = torch.exp(sums)
    return between, between[..., 0] * torch.exp(log_decay[..., :1])


def draw_decay(rate: Tensor, bias: Tensor, least: float) -> None:
    """Initialise log-decays -exp(`rate`) * softplus(... + `bias`) as the code of Mamba-2 does.

    Args:
        rate: Becomes the logarithm of a number uniform within `least` and 16.
        bias: Its softplus becomes log-uniform within 0.001 and 0.1.
        least: The least rate.
    """
    with torch.no_grad():
        rate.uniform_(least, 16.0).log_()
        width = bias.uniform_(math.log(0.001), math.log(0.1)).exp_()
        bias.copy_(width + torch.log(-torch.expm1(-width)))  # the inverse of softplus


def products(
    x: Tensor,
    weight: Tensor,
    sizes: Sequence[int],
    dtype: torch.dtype,
    bias: Tensor | None = None,
) -> list[Tensor]:
    """Multiply inputs by a matrix made of several.

    Args:
        x: Input (..., D).
        weight: All matrices, one below the other, (sum of sizes, D).
        sizes: Rows of each.
        dtype: The results'.
        bias: Likewise, (sum of sizes,); None where there is none.

    Returns:
        One result a matrix, (..., size) each.
    """
    if x.dim() == 2:
        return list(F.linear(x, weight, bias).to(dtype).split(sizes, 1))
    # one by one: the gradient of taking a long product apart is to put it together
    biases = [None] * len(sizes) if bias is None else bias.split(sizes)
    return [
        project(x, part, added, dtype=dtype)
        for part, added in zip(weight.split(sizes), biases, strict=True)
    ]


def rms_norm(x: Tensor, epsilon: float) -> Tensor:
    """Divide by the root of the mean square.

    Args:
        x: (..., E).
        epsilon: Added to the mean square.
    """
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)


def draw_linear(*weights: Tensor) -> None:
    """Draw matrices as `nn.Linear` does: uniformly within 1 / sqrt of their columns.

    Args:
        *weights: (..., D) each.
    """
    for weight in weights:
        nn.init.uniform_(weight, -(weight.shape[-1] ** -0.5), weight.shape[-1] ** -0.5)
