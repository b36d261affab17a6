"""A part of a text, read as batches.

Shapes: B rows, T steps of a chunk, N pairs of input and target.
"""

from __future__ import annotations

import numpy as np
import torch

from ..arrays import ArrayFile
from ..batch import TextBatch
from ..vocabulary import ByteVocabulary
from .sampler import Chunk


class StreamDataset:
    """The pairs of a part of a text, read as batches.

    Pair k is symbol `first + k` and the one after it.

    Args:
        tokens: The whole text.
        first: The first pair's input.
        length: N, the number of pairs.
    """

    def __init__(self, tokens: ArrayFile, first: int, length: int) -> None:
        self._tokens = tokens
        self._first = first
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, chunk: Chunk) -> TextBatch:
        """Return the batch of a chunk; steps past a row's length hold zeros."""
        index = np.array(chunk.starts)[:, None] + np.arange(chunk.steps)  # (B, T)
        index[index >= self._length] -= self._length
        index += self._first
        inputs, targets = self._tokens[index], self._tokens[index + 1]
        reset = inputs == ByteVocabulary.END
        if min(chunk.lengths) < chunk.steps:
            past = np.arange(chunk.steps) >= np.array(chunk.lengths)[:, None]  # (B, T)
            inputs[past], targets[past], reset[past] = 0, 0, False
        if chunk.first:
            reset[:, 0] = True
        return TextBatch(
            input=torch.from_numpy(inputs),
            target=torch.from_numpy(targets),
            reset=torch.from_numpy(reset),
            lengths=torch.tensor(chunk.lengths),
            start=torch.tensor(chunk.starts),
        )
