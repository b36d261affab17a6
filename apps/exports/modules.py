"""The parts of a model as graphs have them: tensors in, tensors out, the state as a flat list.

Shapes: B rows, T steps, V symbols or classes; R rows of a memory, k hypotheses of each, S vectors
of a row, M features of each, O output of the decoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from ...core.recurrent import RecurrentCore
from ...core.seq2seq.attention import Prepared
from ...core.seq2seq.decoder import DecoderState, SequenceDecoder
from ...core.seq2seq.encoder import Memory
from ...core.state import State, leaves, where_rows
from ...core.vision.encoders import FrameEncoder
from ...tasks.sequence_model import EncoderDecoder


class Stepping(Protocol):
    """A model of streams: a core, and a step from inputs (B, ...) to logits (B, V)."""

    core: RecurrentCore

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance one step."""


def names(state: State, prefix: str) -> list[str]:
    """Return a name for each tensor of a state, in the order of `leaves`.

    Args:
        state: Any state.
        prefix: What each name begins with; fields and numbers of layers follow.
    """
    if isinstance(state, Tensor):
        return [prefix]
    fields = getattr(state, "_fields", None) or map(str, range(len(state)))
    return [
        name
        for field, part in zip(fields, state, strict=True)
        for name in names(part, f"{prefix}_{field}")
    ]


def rebuilt(like: State, flat: Iterator[Tensor]) -> State:
    """Return a state of tensors in the order of `leaves`.

    Args:
        like: A state of the wanted structure.
        flat: Its tensors.
    """
    if isinstance(like, Tensor):
        return next(flat)
    parts = [rebuilt(part, flat) for part in like]
    return cast("State", like._make(parts)) if hasattr(like, "_make") else tuple(parts)


class ModelStep(nn.Module):
    """A step of a language model, or of one that labels frames.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.like = model.core.initial_state(1)

    def forward(self, state: list[Tensor], input: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the tensors of the state after an input (B, ...), and logits (B, V)."""
        logits, after = self.model.step(input, rebuilt(self.like, iter(state)))
        return leaves(after), logits


class ModelSequence(nn.Module):
    """A sequence of a language model, or of one that labels frames; rows of one length.

    Args:
        reading: Makes the core's input (B, T, D).
        core: The core.
        head: Makes logits of its output.
    """

    def __init__(self, reading: nn.Module, core: RecurrentCore, head: nn.Module) -> None:
        super().__init__()
        self.reading, self.core, self.head = reading, core, head
        self.like = core.initial_state(1)

    def forward(self, state: list[Tensor], input: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the tensors of the state after inputs (B, T, ...), and logits (B, T, V).

        No state is the initial one, and none is returned for it.
        """
        before = rebuilt(self.like, iter(state)) if state else None
        output, after = self.core(self.reading(input), before)
        return leaves(after) if state else [], self.head(output)


class MaskedStep(nn.Module):
    """A step of a core in rows that may have ended, or, read backwards, not have begun.

    Args:
        core: A causal core.
    """

    def __init__(self, core: RecurrentCore) -> None:
        super().__init__()
        self.core = core
        self.like = core.initial_state(1)

    def forward(self, state: list[Tensor], x: Tensor, valid: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the tensors of the state after x (B, D), and the output (B, H).

        Where valid (B,) is false, the state stays, and the output is zero.
        """
        before = rebuilt(self.like, iter(state))
        output, after = self.core.step(x, before)
        kept = where_rows(valid, after, before)
        return leaves(kept), torch.where(valid.unsqueeze(1), output, 0.0)


class AtOnce(nn.Module):
    """An encoder of frames that takes any number of them at once: a graph can't count pieces.

    Args:
        encoder: The encoder.
    """

    def __init__(self, encoder: FrameEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor) -> Tensor:
        """Return the vectors (N, D) of frames (N, 3, H, W) uint8."""
        output: Tensor = self.encoder.project(self.encoder._pool(frames))
        return output


class Frames(nn.Module):
    """What a core reads of frames side by side.

    Args:
        model: A model that labels frames.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input: Tensor) -> Tensor:
        """Return (B, T, D) of frames (B, T, ...)."""
        features: Tensor = self.model.features(input.flatten(0, 1))
        return features.view(input.shape[0], input.shape[1], features.shape[1])


class Begin(nn.Module):
    """What a decoder needs of a memory: once what every step needs, and the state before the first.

    Args:
        decoder: The decoder.
        lengths: Whether rows have lengths.
    """

    def __init__(self, decoder: SequenceDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, output: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """Return keys, values and bias (none without attention), and the state (R, 1, ...)."""
        memory = Memory(output, lengths)
        prepared = self.decoder.prepare(memory)
        state = self.decoder.initial_state(memory)
        return [*leaves(prepared), *(leaf.unsqueeze(1) for leaf in carried(self.decoder, state))]


class SentenceReader(nn.Module):
    """An encoder of sentences of one length, and what the decoder needs of what it reads.

    Args:
        model: A translation model.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.begin = Begin(model.decoder)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return what `Begin` does of sentences (R, S)."""
        return cast("list[Tensor]", self.begin(self.encoder(tokens).output))


class Looking(nn.Module):
    """An image encoder, and what the decoder needs of what it sees.

    Args:
        model: A captioning model.
    """

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.begin = Begin(model.decoder)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return what `Begin` does of images (R, 3, S, S) uint8."""
        return cast("list[Tensor]", self.begin(self.encoder(images).output))


class DecoderStep(nn.Module):
    """A step of a decoder with k hypotheses of each row.

    Args:
        decoder: The decoder.
    """

    def __init__(self, decoder: SequenceDecoder) -> None:
        super().__init__()
        self.decoder = decoder
        self.like = decoder.core.initial_state(1)

    def forward(
        self, state: list[Tensor], tokens: Tensor, memory: list[Tensor]
    ) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """Advance.

        Args:
            state: Tensors (R, k, ...): the core's, and with input feeding the output before.
            tokens: (R, k) int64.
            memory: Keys, values and bias (R, S, ...); none without attention.

        Returns:
            The tensors of the state after them, logits (R, k, V), and the weights over the memory
            (R, k, S) as a list of one, of none without attention.
        """
        decoder, (rows, width) = self.decoder, tokens.shape
        flat = iter([leaf.flatten(0, 1) for leaf in state])
        core = rebuilt(self.like, flat)
        x = decoder.embedding(tokens.flatten())  # (R k, E)
        if decoder.input_feeding:
            x = torch.cat((x, next(flat)), 1)
        h, core = decoder.core.step(x, core)  # (R k, H)
        prepared: State = Prepared(*memory) if memory else ()
        output, weights = decoder._attend(h.view(rows, width, h.shape[1]), prepared)  # (R, k, O)
        after = [leaf.unflatten(0, (rows, width)) for leaf in leaves(core)]
        if decoder.input_feeding:
            after.append(output)
        return after, decoder.head(output), [weights] if memory else []


def carried(decoder: SequenceDecoder, state: DecoderState) -> list[Tensor]:
    """Return the tensors that a decoder's graph carries: the core's, and the output if it is fed.

    Args:
        decoder: The decoder.
        state: Its state.
    """
    return [*leaves(state.core), *([state.feed] if decoder.input_feeding else [])]
