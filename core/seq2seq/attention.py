"""Attention: a weighted mean of the memory, weighted by how well each vector answers a query.

The memory is projected once, whatever the number of queries. Shapes: B batch, T queries (steps, or
beams), S memory steps, Q query features, M memory features, A attention features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from .encoder import Memory


class Prepared(NamedTuple):
    """A memory, ready for queries; a state like any other (rows may be selected).

    Attributes:
        keys: What queries are compared with (B, S, A).
        values: What is averaged (B, S, M), zero where not valid.
        bias: Added to the scores (B, S): 0 where valid, half of the dtype's least number elsewhere.

    Example:
        >>> import torch
        >>> from unrolled.core import DotAttention, Memory
        >>> memory = Memory(torch.ones(1, 3, 4), lengths=torch.tensor([2]))
        >>> DotAttention(4, 4).prepare(memory).bias == 0
        tensor([[ True,  True, False]])
    """

    keys: Tensor
    values: Tensor
    bias: Tensor


class Attention(nn.Module, ABC):
    """Scores, their softmax over the valid steps, and the mean of the values under it.

    A row without any valid step gets a context of zeros.

    Args:
        query_size: Q.
        memory_size: M; the context has as many features.

    Example:
        >>> import torch
        >>> from unrolled.core import DotAttention, Memory
        >>> attention = DotAttention(4, 4)
        >>> prepared = attention.prepare(Memory(torch.randn(2, 5, 4)))
        >>> context, weights = attention(torch.randn(2, 3, 4), prepared)
        >>> context.shape, weights.shape
        (torch.Size([2, 3, 4]), torch.Size([2, 3, 5]))
    """

    __call__: Callable[..., tuple[Tensor, Tensor]]

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        for name, size in (("query_size", query_size), ("memory_size", memory_size)):
            if size < 1:
                raise ValueError(f"{type(self).__name__}: {name} is {size}; sizes are at least 1")
        self.query_size = query_size
        self.memory_size = memory_size

    @abstractmethod
    def keys(self, output: Tensor) -> Tensor:
        """Turn the memory's vectors (B, S, M) into keys (B, S, A)."""

    @abstractmethod
    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Compare queries (B, T, Q) with keys (B, S, A); return (B, T, S)."""

    def prepare(self, memory: Memory) -> Prepared:
        """Do once what does not depend on the query.

        Args:
            memory: What the encoder found.
        """
        valid = memory.valid()  # (B, S)
        output = memory.output  # (B, S, M)
        # Half of the least number: with a score added it stays finite, in 16 bits as well, and so
        # does an empty row.
        bias = output.new_zeros(valid.shape).masked_fill(~valid, torch.finfo(output.dtype).min / 2)
        if memory.lengths is not None:
            output = output.masked_fill(~valid.unsqueeze(2), 0.0)
        return Prepared(self.keys(output), output, bias)  # keys (B, S, A)

    def forward(self, query: Tensor, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            query: (B, T, Q).
            prepared: What `prepare` returned.

        Returns:
            Context (B, T, M) and weights (B, T, S), which sum to 1 over the valid steps.
        """
        scores = self.scores(query, prepared.keys) + prepared.bias.unsqueeze(1)  # (B, T, S)
        weights = scores.softmax(-1).to(prepared.values.dtype)
        return torch.bmm(weights, prepared.values), weights  # (B, T, M), (B, T, S)


AttentionFactory: TypeAlias = Callable[[int, int], Attention]
"""Makes an attention from the sizes of query and memory: how a decoder receives it."""


class AdditiveAttention(Attention):
    """score = v^T tanh(W q + U m + b), of Bahdanau et al. 2015 (https://arxiv.org/abs/1409.0473).

    Args:
        query_size: Q.
        memory_size: M.
        attention_size: A; Q when not given.

    Example:
        >>> import torch
        >>> from unrolled.core import Memory
        >>> attention = AdditiveAttention(4, 6, attention_size=8)
        >>> attention.prepare(Memory(torch.randn(2, 5, 6))).keys.shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self, query_size: int, memory_size: int, *, attention_size: int | None = None
    ) -> None:
        super().__init__(query_size, memory_size)
        size = query_size if attention_size is None else attention_size
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(memory_size, size)
        self.energy = nn.Linear(size, 1, bias=False)

    def keys(self, output: Tensor) -> Tensor:
        """Return U m + b."""
        keys: Tensor = self.key(output)  # (B, S, A)
        return keys

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Compare; holds (B, T, S, A) numbers."""
        summed = self.query(query).unsqueeze(2) + keys.unsqueeze(1)  # (B, T, S, A)
        scores: Tensor = self.energy(summed.tanh_())  # (B, T, S, 1)
        return scores.squeeze(3)


class DotAttention(Attention):
    """score = q^T m, of Luong et al. 2015 (https://arxiv.org/abs/1508.04025).

    Args:
        query_size: Q.
        memory_size: M, which must be Q.

    Example:
        >>> import torch
        >>> attention = DotAttention(2, 2)
        >>> attention.scores(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0]]]))
        tensor([[[11.]]])
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        if query_size != memory_size:
            raise ValueError(
                f"DotAttention: the query has {query_size} features and the memory {memory_size}; "
                "they must be equal: change a core's size, or take GeneralAttention"
            )

    def keys(self, output: Tensor) -> Tensor:
        """Return the vectors themselves."""
        return output

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return q^T m."""
        return torch.bmm(query, keys.transpose(1, 2))  # (B, T, S)


class GeneralAttention(Attention):
    """score = q^T W m, of Luong et al. 2015 (https://arxiv.org/abs/1508.04025).

    Args:
        query_size: Q.
        memory_size: M.

    Example:
        >>> import torch
        >>> from unrolled.core import Memory
        >>> attention = GeneralAttention(4, 6)
        >>> attention.prepare(Memory(torch.randn(2, 5, 6))).keys.shape
        torch.Size([2, 5, 4])
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        self.key = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, output: Tensor) -> Tensor:
        """Return W m."""
        keys: Tensor = self.key(output)  # (B, S, Q)
        return keys

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return q^T (W m)."""
        return torch.bmm(query, keys.transpose(1, 2))  # (B, T, S)


class GatedAttention(Attention):
    """context = sigmoid(f^T q + b) * (another attention's context), of Xu et al. 2015.

    The gate lets a decoder look away, at words that no place of the image shows
    (https://arxiv.org/abs/1502.03044, section 4.2.1). The weights are those of the other attention;
    they sum to 1.

    Args:
        query_size: Q.
        memory_size: M.
        attention: Makes the other attention.

    Example:
        >>> import torch
        >>> from unrolled.core import Memory
        >>> attention = GatedAttention(4, 4, attention=DotAttention)
        >>> prepared = attention.prepare(Memory(torch.randn(2, 5, 4)))
        >>> attention(torch.randn(2, 3, 4), prepared)[0].shape
        torch.Size([2, 3, 4])
    """

    def __init__(
        self, query_size: int, memory_size: int, *, attention: AttentionFactory = AdditiveAttention
    ) -> None:
        super().__init__(query_size, memory_size)
        self.attention = attention(query_size, memory_size)
        self.gate = nn.Linear(query_size, 1)

    def keys(self, output: Tensor) -> Tensor:
        """Return the other attention's."""
        return self.attention.keys(output)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return the other attention's."""
        return self.attention.scores(query, keys)

    def forward(self, query: Tensor, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Attend, and weigh the context; see `Attention.forward`."""
        context, weights = self.attention(query, prepared)
        gate = torch.sigmoid(self.gate(query))  # (B, T, 1)
        return gate * context, weights
