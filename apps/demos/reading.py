"""A text as a language model reads it, one symbol after another, and goes on from where it was.

Shapes: V vocabulary, U units of the core's whole state.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..pictures.texts import ids_of
from ..plots.neurons import numbered, vectors

if TYPE_CHECKING:
    from ...core.state import State
    from ...tasks.char_lm.model import CharModel

_KEPT = 32  # characters from one state that is kept to the next
_GUESSES = 5


class Guess(NamedTuple):
    """What a model holds likely in a place: a symbol and its probability."""

    symbol: str
    probability: float


class Seen(NamedTuple):
    """A character that was read.

    Attributes:
        character: The character.
        bits: How unlikely it was.
        guesses: What was held likeliest in its place.
        units: The state after it (U,).
    """

    character: str
    bits: float
    guesses: list[Guess]
    units: Tensor


class Reading:
    """What a model made of a text; of a text that is changed, only what follows is read anew.

    Args:
        model: The model.

    Attributes:
        seen: The characters that were read.
        unit_names: What the units are called; none where the state has no vectors.
    """

    def __init__(self, model: CharModel) -> None:
        self.model = model
        self.seen: list[Seen] = []
        self._step = model.core.stepper()
        with torch.inference_mode():
            state, nats = self._advanced([model.vocabulary.END], model.core.initial_state(1))
        self._kept = {0: (state, nats)}
        self._state, self._nats = state, nats  # after all that was seen
        self.unit_names = [
            name for part, leaf in vectors(state) for name in numbered(part, leaf.shape[1])
        ]

    @property
    def next(self) -> list[Guess]:
        """What the model holds likeliest after the text."""
        return self._guesses(self._nats)

    @torch.inference_mode()
    def read(self, text: str) -> None:
        """Read a text; what it shares with the last one was read already.

        Args:
            text: The whole text.

        Raises:
            DataError: It has characters that the model never saw.
        """
        ids = ids_of(self.model, text)  # before anything is given up
        same = 0
        while same < min(len(text), len(self.seen)) and text[same] == self.seen[same].character:
            same += 1
        if same < len(self.seen):
            same -= same % _KEPT
            del self.seen[same:]
            self._kept = {place: kept for place, kept in self._kept.items() if place <= same}
            self._state, self._nats = self._kept[same]
        for character, numbers in zip(text[same:], ids[same:], strict=True):
            self._see(character, numbers)

    def _see(self, character: str, numbers: list[int]) -> None:
        guesses, bits = self._guesses(self._nats), 0.0
        state, nats = self._state, self._nats
        for number in numbers:  # several are the bytes of one character
            bits -= float(nats[number]) / math.log(2)
            state, nats = self._advanced([number], state)
        leaves = [leaf[0].float().cpu() for _, leaf in vectors(state)]
        units = torch.cat(leaves) if leaves else torch.empty(0)  # (U,)
        self.seen.append(Seen(character, bits, guesses, units))
        self._state, self._nats = state, nats
        if len(self.seen) % _KEPT == 0:
            self._kept[len(self.seen)] = (state, nats)

    def _advanced(self, numbers: list[int], state: State) -> tuple[State, Tensor]:
        """Return the state after a symbol, and the log-probabilities of what follows (V,)."""
        symbol = torch.tensor(numbers, device=self.model.device)
        output, state = self._step(self.model.embedding(symbol), state)  # (1, H)
        return state, self.model.head(output)[0].float().log_softmax(-1).cpu()

    def _guesses(self, nats: Tensor) -> list[Guess]:
        found = nats.topk(min(_GUESSES, len(nats)))
        decode = self.model.vocabulary.decode
        return [
            Guess(decode([number]) or "⏹", math.exp(value))
            for number, value in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]
