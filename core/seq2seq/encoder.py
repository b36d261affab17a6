"""The encoder of a sequence of symbols, and what every encoder hands to a decoder.

Shapes: B batch, S source steps, E embedding, M memory features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..checks import check_lengths_known
from ..dropout import LockedDropout
from ..masks import valid_steps
from ..recurrent import CoreFactory
from ..state import State


class Memory(NamedTuple):
    """What an encoder found: a vector for every step of a sentence, or for every place of an image.

    Attributes:
        output: The vectors (B, S, M).
        lengths: Valid vectors of each row (B,) int64, best kept on the CPU; None: all of S.
        state: The encoder's final state, where it has one.

    Example:
        >>> import torch
        >>> Memory(torch.randn(2, 3, 8), lengths=torch.tensor([3, 1])).valid()
        tensor([[ True,  True,  True],
                [ True, False, False]])
    """

    output: Tensor
    lengths: Tensor | None = None
    state: State = ()

    def row(self, number: int) -> Memory:
        """Return one row by itself, without padding.

        Args:
            number: Which.
        """
        length = None if self.lengths is None else int(self.lengths[number])
        return Memory(self.output[number : number + 1, :length])  # (1, S, M)

    def valid(self) -> Tensor:
        """Say which vectors are real: (B, S) bool on the output's device."""
        rows, steps = self.output.shape[:2]
        if self.lengths is None:
            return torch.ones(rows, steps, dtype=torch.bool, device=self.output.device)
        check_lengths_known("Memory", self.lengths, rows, steps)
        return valid_steps(self.lengths, steps).to(self.output.device, non_blocking=True)


class SequenceEncoder(nn.Module):
    """Symbols in, a memory out: embedding, dropout, a core of any kind.

    Args:
        embedding: The symbols' vectors; it may be another module's, to share its weights.
        core: Makes the core from the embedding's size; bidirectional ones fit best (Bahdanau et al.
            2015, https://arxiv.org/abs/1409.0473).
        dropout: Locked dropout of the core's input and output (Gal and Ghahramani 2016,
            https://arxiv.org/abs/1512.05287).

    Example:
        >>> import torch
        >>> from unrolled.core import LSTM, Bidirectional
        >>> core = lambda size: Bidirectional(size, lambda size: LSTM(size, 16))
        >>> encoder = SequenceEncoder(torch.nn.Embedding(100, 8), core)
        >>> encoder(torch.randint(100, (2, 5)), lengths=torch.tensor([5, 3])).output.shape
        torch.Size([2, 5, 32])
    """

    def __init__(self, embedding: nn.Embedding, core: CoreFactory, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = embedding
        self.core = core(embedding.embedding_dim)
        self.dropout = LockedDropout(dropout)

    @property
    def output_size(self) -> int:
        """M, the memory's features."""
        return self.core.output_size

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Memory:
        """Read a batch of sequences.

        Args:
            tokens: (B, S) int64.
            lengths: Real steps of each row (B,) int64, on the CPU; 0 is legal.

        Returns:
            The memory; vectors past a row's length are zero.
        """
        x = self.dropout(self.embedding(tokens))  # (B, S, E)
        output, state = self.core(x, lengths=lengths)  # (B, S, M)
        return Memory(self.dropout(output), lengths, state)
