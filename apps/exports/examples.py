"""Examples of what graphs are given: what torch follows through a model, and the names of it."""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.seq2seq.decoder import DecoderState
from ...core.seq2seq.encoder import Memory
from ...core.state import leaves
from ...tasks.sequence_model import EncoderDecoder
from .modules import carried, names

ROWS, WIDTH, STEPS = 3, 2, 5  # sizes that no part of a model is taken for


def names_of(model: EncoderDecoder) -> tuple[list[str], list[str]]:
    """Return the names of what a decoder reads of the memory, and of the state it begins with.

    Args:
        model: The decoder's model.
    """
    decoder = model.decoder
    memory = [] if decoder.attention is None else ["memory_keys", "memory_values", "memory_bias"]
    state = names(decoder.core.initial_state(1), "state")
    return memory, [*state, *(["state_feed"] if decoder.input_feeding else [])]


def decoder_example(model: EncoderDecoder) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Return what `DecoderStep` is given: the state (R, k, ...), symbols (R, k), and the memory.

    Args:
        model: The decoder's model.
    """
    decoder = model.decoder
    held = carried(decoder, _state(model))
    before = [leaf.unsqueeze(1).repeat(1, WIDTH, *[1] * (leaf.dim() - 1)) for leaf in held]
    tokens = torch.ones(ROWS, WIDTH, dtype=torch.int64)
    prepared: list[Tensor] = []
    if decoder.attention is not None:
        values = torch.zeros(ROWS, STEPS, decoder.attention.memory_size)
        prepared = leaves(decoder.prepare(Memory(values)))
    return before, tokens, prepared


def _state(model: EncoderDecoder) -> DecoderState:
    decoder = model.decoder
    size = decoder.bridge.in_features if decoder.bridge is not None else 1
    return decoder.initial_state(Memory(torch.zeros(ROWS, STEPS, size)))
