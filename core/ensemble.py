"""Several trained models that speak with one voice: the mean of their probabilities.

Shapes: B batch, T time, D_i input and H_i output of member i, D and H their sums, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .recurrent import RecurrentCore
from .state import State


def mean_log_probabilities(logits: Iterable[Tensor]) -> Tensor:
    """Return the logarithm of the mean of distributions, at least in float32.

    Args:
        logits: Those of each member, all of one shape, the symbols last.

    Example:
        >>> import torch
        >>> one, other = torch.tensor([0.2, 0.8]).log(), torch.tensor([0.6, 0.4]).log()
        >>> [round(float(p), 3) for p in mean_log_probabilities([one, other]).exp()]
        [0.4, 0.6]
    """
    tables = [
        one.log_softmax(-1, dtype=torch.promote_types(one.dtype, torch.float32)) for one in logits
    ]
    return torch.stack(tables).logsumexp(0) - math.log(len(tables))


def mean_logits(logits: Iterable[Tensor]) -> Tensor:
    """Return the logits of the mean of probabilities that go by themselves, at least in float32.

    Args:
        logits: Those of each member, all of one shape; a sigmoid makes probabilities of them.

    Example:
        >>> import torch
        >>> one, other = torch.tensor([0.2, 0.8]).logit(), torch.tensor([0.6, 0.4]).logit()
        >>> [round(float(p), 3) for p in mean_logits([one, other]).sigmoid()]
        [0.4, 0.6]
    """
    wide = torch.stack(
        [one.to(torch.promote_types(one.dtype, torch.float32)) for one in logits]
    )  # (members, ...)
    # log p - log (1 - p), of which neither is ever taken from 1
    return functional.logsigmoid(wide).logsumexp(0) - functional.logsigmoid(-wide).logsumexp(0)


class EnsembleCore(nn.Module):
    """Cores side by side: each reads its own part of the input, and has its part of the output.

    It has what a trained model asks of its core, and is none: nothing is to be trained.

    Args:
        cores: The members.
    """

    def __init__(self, cores: Sequence[RecurrentCore]) -> None:
        super().__init__()
        self.members = nn.ModuleList(cores)
        self._inputs = [core.input_size for core in cores]
        self.causal = all(core.causal for core in cores)
        self.output_size = sum(core.output_size for core in cores)

    @property
    def _cores(self) -> list[RecurrentCore]:
        return cast("list[RecurrentCore]", list(self.members))

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first step, on the members' device.

        Args:
            batch_size: B.
        """
        return tuple(core.initial_state(batch_size) for core in self._cores)

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run sequences (B, T, D); see `RecurrentCore`."""
        parts = x.split(self._inputs, 2)
        states = [None] * len(parts) if state is None else state
        found = [
            core(part, one, lengths=lengths)
            for core, part, one in zip(self._cores, parts, states, strict=True)
        ]
        return torch.cat([output for output, _ in found], 2), tuple(after for _, after in found)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance one step (B, D)."""
        return self._advance([core.step for core in self._cores], x, state)

    def stepper(self) -> Callable[[Tensor, State], tuple[Tensor, State]]:
        """Make `step` ready for many calls without gradients; see `RecurrentCore.stepper`."""
        steps = [core.stepper() for core in self._cores]
        return lambda x, state: self._advance(steps, x, state)

    def _advance(
        self, steps: Sequence[Callable[..., tuple[Tensor, State]]], x: Tensor, state: State
    ) -> tuple[Tensor, State]:
        parts = x.split(self._inputs, 1)
        found = [step(part, one) for step, part, one in zip(steps, parts, state, strict=True)]
        return torch.cat([output for output, _ in found], 1), tuple(after for _, after in found)


class EnsembleHead(nn.Module):
    """The members' output layers, each for its part; what they say is the mean of it.

    Args:
        heads: The members.
        several: Whether classes go by themselves, as where an input may have several; else their
            probabilities add up to 1.
    """

    def __init__(self, heads: Sequence[nn.Linear], *, several: bool = False) -> None:
        super().__init__()
        self.members = nn.ModuleList(heads)
        self._outputs = [head.in_features for head in heads]
        self._mean = mean_logits if several else mean_log_probabilities

    def forward(self, output: Tensor) -> Tensor:
        """Return the logits (..., C) of the mean, of the cores' outputs (..., H)."""
        parts = output.split(self._outputs, -1)
        return self._mean(head(part) for head, part in zip(self.members, parts, strict=True))


class EnsembleFeatures(nn.Module):
    """What the members make of one input by themselves, side by side.

    Args:
        readers: What each of them reads with, (N, ...) in and (N, D_i) out.
        owners: The modules that do it.
    """

    def __init__(
        self, readers: Sequence[Callable[[Tensor], Tensor]], owners: Sequence[nn.Module]
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(owners)
        self._readers = readers

    def forward(self, input: Tensor) -> Tensor:
        """Return all features (N, D)."""
        return torch.cat([read(input) for read in self._readers], 1)
