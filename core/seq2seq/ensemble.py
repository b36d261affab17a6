"""Several encoders and decoders that write with one voice: the mean of their probabilities.

An ensemble of decoders is searched as one decoder is: greedily, with a beam, or by drawing.

Shapes: B rows, S memory steps, N rows of a search, T target steps, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ..ensemble import mean_log_probabilities
from ..state import State
from .decoder import Decoded, SequenceDecoder
from .encoder import Memory
from .shortlist import Allowed


class EnsembleMemory(NamedTuple):
    """What several encoders found of the same inputs.

    Attributes:
        members: What each of them found; their steps may be different ones.
    """

    members: tuple[Memory, ...]

    @property
    def lengths(self) -> Tensor | None:
        """The valid vectors of each row (B,) of the first."""
        return self.members[0].lengths

    def row(self, number: int) -> EnsembleMemory:
        """Return one row by itself, without padding.

        Args:
            number: Which.
        """
        return EnsembleMemory(tuple(memory.row(number) for memory in self.members))


class EnsembleEncoder(nn.Module):
    """Encoders that read the same.

    Args:
        encoders: The members.
    """

    def __init__(self, encoders: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(encoders)

    def forward(self, *inputs: Any) -> EnsembleMemory:
        """Read.

        Args:
            inputs: What each member is given.
        """
        return EnsembleMemory(tuple(encoder(*inputs) for encoder in self.members))

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the first member's grid of an image; see `ImageEncoder`.

        Args:
            height: The image's.
            width: The image's.
        """
        grid: tuple[int, int] = self.members[0].grid(height, width)  # type: ignore[operator]
        return grid


class EnsembleDecoder(nn.Module):
    """Decoders of one vocabulary; a symbol's probability is the mean of theirs.

    It has what a trained model asks of its decoder: the output is log-probabilities already, which
    `head` leaves as they are.

    Args:
        decoders: The members.

    Raises:
        ValueError: Their vocabularies have different sizes.
    """

    def __init__(self, decoders: Sequence[SequenceDecoder]) -> None:
        super().__init__()
        sizes = [decoder.head.out_features for decoder in decoders]
        if len(set(sizes)) != 1:
            raise ValueError(
                f"EnsembleDecoder: vocabularies of {', '.join(map(str, sizes))} symbols; all "
                "members must have the same one"
            )
        self.members = nn.ModuleList(decoders)
        self.head = nn.Identity()

    @property
    def _decoders(self) -> list[SequenceDecoder]:
        return cast("list[SequenceDecoder]", list(self.members))

    @property
    def attention(self) -> nn.Module | None:
        """The first member's attention; None where one of them has none."""
        members = [decoder.attention for decoder in self._decoders]
        return None if None in members else members[0]

    def prepare(self, memory: EnsembleMemory) -> State:
        """Do once what every step needs of a memory: a state with B rows.

        Args:
            memory: What the encoders found.
        """
        return tuple(
            decoder.prepare(one)
            for decoder, one in zip(self._decoders, memory.members, strict=True)
        )

    def initial_state(self, memory: EnsembleMemory) -> State:
        """Return the state before the first symbol.

        Args:
            memory: What the encoders found.
        """
        return tuple(
            decoder.initial_state(one)
            for decoder, one in zip(self._decoders, memory.members, strict=True)
        )

    def forward(
        self, tokens: Tensor, prepared: State, state: State, *, sampling: float = 0.0
    ) -> Decoded:
        """Read a known target (teacher forcing).

        Args:
            tokens: What comes before each symbol (B, T) int64.
            prepared: What `prepare` returned.
            state: The state before the first step.
            sampling: Not of use here: nothing is trained.

        Returns:
            Log-probabilities (B, T, V), the mean of the members' attention ((B, T, 0) where there
            is none, or of different places), and the final state.
        """
        found = [
            decoder(tokens, ready, before)
            for decoder, ready, before in zip(self._decoders, prepared, state, strict=True)
        ]
        tables = mean_log_probabilities(
            decoder.head(one.output) for decoder, one in zip(self._decoders, found, strict=True)
        )
        weights = [one.attention for one in found]  # (B, T, S) each
        alike = self.attention is not None and len({one.shape for one in weights}) == 1
        seen = torch.stack(weights).mean(0) if alike else weights[0][..., :0]
        return Decoded(tables, seen, tuple(one.state for one in found))  # type: ignore[arg-type]

    def step(self, tokens: Tensor, state: State, prepared: State) -> tuple[Tensor, State]:
        """Predict the next symbol after one symbol; see `SequenceDecoder`.

        Args:
            tokens: (N,) int64.
            state: The state before them.
            prepared: What `prepare` returned.

        Returns:
            Log-probabilities (N, V) and the state after them.
        """
        return _step([decoder.step for decoder in self._decoders], tokens, state, prepared)

    def stepper(self) -> Callable[[Tensor, State, State], tuple[Tensor, State]]:
        """Make `step` ready for many calls without gradients; see `RecurrentCore.stepper`."""
        steps = [decoder.stepper() for decoder in self._decoders]
        return lambda tokens, state, prepared: _step(steps, tokens, state, prepared)

    def searcher(
        self, prepared: State, allowed: Allowed | None = None
    ) -> tuple[Callable[[Tensor, State, State], tuple[Tensor, State]], State]:
        """Make `step` ready to search one memory; see `SequenceDecoder.searcher`.

        Args:
            prepared: What `prepare` returned.
            allowed: The symbols that may come; None: all.
        """
        ready = [
            decoder.searcher(one, allowed)
            for decoder, one in zip(
                self._decoders, cast("tuple[State, ...]", prepared), strict=True
            )
        ]
        steps = [step for step, _ in ready]
        step = partial(_step, steps)
        return step, tuple(one for _, one in ready)


def _step(
    steps: Sequence[Callable[..., tuple[Tensor, Any]]],
    tokens: Tensor,
    state: State,
    prepared: State,
) -> tuple[Tensor, State]:
    found = [
        step(tokens, before, ready)
        for step, before, ready in zip(steps, state, prepared, strict=True)
    ]
    return mean_log_probabilities(logits for logits, _ in found), tuple(one for _, one in found)
