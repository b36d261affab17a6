"""A text as a language model reads it, one symbol after another, and goes on from where it was.

Shapes: V vocabulary, U units of the core's whole state.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ...data.vocabularies.subwords import SubwordVocabulary
from ...data.vocabulary import Vocabulary
from ...tasks.char_lm.writing import as_text
from ..pictures.texts import ids_of
from ..plots.neurons import numbered, vectors

if TYPE_CHECKING:
    from ...core.state import State
    from ...tasks.char_lm.model import CharModel

_KEPT = 32  # symbols from one state that is kept to the next
_GUESSES = 5


class Guess(NamedTuple):
    """What a model holds likely in a place: a symbol and its probability."""

    symbol: str
    probability: float


class Symbol(NamedTuple):
    """A part of a text that stands for itself: a character, a word, a subword.

    Attributes:
        text: It, as it stands in the text.
        ids: What the model reads for it: several are the bytes of a character.
    """

    text: str
    ids: tuple[int, ...]


class Seen(NamedTuple):
    """A symbol that was read.

    Attributes:
        symbol: The symbol.
        bits: How unlikely it was.
        guesses: What was held likeliest in its place.
        units: The state after it (U,).
    """

    symbol: Symbol
    bits: float
    guesses: list[Guess]
    units: Tensor


class TextReading:
    """What a model made of a text; of a text that is changed, only what follows is read anew.

    Args:
        model: The model.

    Attributes:
        seen: The symbols that were read.
        same: How many of them were read already, before the last text.
        unit_names: What the units are called; none where the state has no vectors.
    """

    def __init__(self, model: CharModel) -> None:
        self.model = model
        self.seen: list[Seen] = []
        self.same = 0
        self._step = model.stepper()
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
        symbols = symbols_of(self.model, text)  # before anything is given up
        pairs = zip(symbols, self.seen, strict=False)
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1].symbol, pairs))
        if same < len(self.seen):
            same -= same % _KEPT
            del self.seen[same:]
            self._kept = {place: kept for place, kept in self._kept.items() if place <= same}
            self._state, self._nats = self._kept[same]
        self.same = same
        for symbol in symbols[same:]:
            self._see(symbol)

    def _see(self, symbol: Symbol) -> None:
        guesses, bits = self._guesses(self._nats), 0.0
        state, nats = self._state, self._nats
        for number in symbol.ids:
            bits -= float(nats[number]) / math.log(2)
            state, nats = self._advanced([number], state)
        leaves = [leaf[0].float().cpu() for _, leaf in vectors(state)]
        units = torch.cat(leaves) if leaves else torch.empty(0)  # (U,)
        self.seen.append(Seen(symbol, bits, guesses, units))
        self._state, self._nats = state, nats
        if len(self.seen) % _KEPT == 0:
            self._kept[len(self.seen)] = (state, nats)

    def _advanced(self, numbers: list[int], state: State) -> tuple[State, Tensor]:
        """Return the state after a symbol, and the log-probabilities of what follows (V,)."""
        symbol = torch.tensor(numbers, device=self.model.device)
        logits, state = self._step(symbol, state)  # (1, V)
        return state, logits[0].float().log_softmax(-1).cpu()

    def _guesses(self, nats: Tensor) -> list[Guess]:
        found = nats.topk(min(_GUESSES, len(nats)))
        return [
            Guess(_name(self.model.vocabulary, number), math.exp(value))
            for number, value in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]


def symbols_of(model: CharModel, text: str) -> list[Symbol]:
    """Return what a model reads one after another in a text.

    Args:
        model: The model.
        text: The text.

    Raises:
        DataError: It has characters that the model never saw.
    """
    vocabulary = model.vocabulary
    if vocabulary.kind not in ("words", "subwords"):
        ids = ids_of(model, text)
        return [Symbol(one, tuple(numbers)) for one, numbers in zip(text, ids, strict=True)]
    decoder = vocabulary.decoder()  # knows where a space is
    return [
        Symbol(as_text(decoder.push([number])) or _name(vocabulary, number), (number,))
        for number in vocabulary.encode(text, unknown="replace").tolist()
    ]


def _name(vocabulary: Vocabulary, number: int) -> str:
    if number == vocabulary.END:
        return "(end)"
    if number in vocabulary.never_written:
        return "(unknown)"
    if isinstance(vocabulary, SubwordVocabulary):
        return vocabulary.names[number]
    return as_text(vocabulary.decode([number]))
