"""Attention: a weighted mean of the memory, weighted by how well each vector answers a query.

The memory is projected once, whatever the number of queries. Shapes: B batch, T queries (steps, or
beams), S memory steps, Q query features, M memory features, A attention features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from ..checks import describe
from ..products import layer
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

        Raises:
            ValueError: It is no memory of vectors of the right size.
        """
        self._check_memory(memory)
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

        Raises:
            ValueError: The queries don't go with the memory.
        """
        self._check_query(query, prepared)
        return averaged(self.scores(query, prepared.keys), prepared)

    def searcher(self, prepared: Prepared) -> tuple[Attend, Prepared]:
        """Make ready for many queries of one memory, without gradients.

        Args:
            prepared: What `prepare` returned.

        Returns:
            A function like `forward`, and what to give it: another `Prepared` of the same rows.
        """
        return self, prepared

    def _check_memory(self, memory: Memory) -> None:
        bare = isinstance(memory, Tensor)
        output: Any = memory if bare else memory.output
        shaped = output.dim() == 3 and output.shape[2] == self.memory_size
        if bare or not shaped or not output.is_floating_point():
            raise ValueError(
                f"{type(self).__name__}: the memory is {describe(output)}; it must be "
                f"Memory(output, lengths), output a float tensor (B, S, {self.memory_size})"
            )

    def _check_query(self, query: Tensor, prepared: Prepared) -> None:
        """Refuse what would be broadcast; a graph has shapes that it can't compare."""
        if torch.compiler.is_compiling():
            return
        rows = prepared.values.shape[0]
        if query.dim() != 3 or query.shape[0] != rows or query.shape[2] != self.query_size:
            raise ValueError(
                f"{type(self).__name__}: the queries are {describe(query)}; for this memory they "
                f"must be ({rows}, T, {self.query_size}): as many rows, time before features"
            )

    def _differs(self, cls: type[Attention]) -> bool:
        """Tell whether calling this does other than a class says: by a subclass, or by hooks."""
        own = type(self)
        same = own.forward is cls.forward and own.scores is cls.scores
        return not same or bool(self._forward_hooks or self._forward_pre_hooks)


Attend: TypeAlias = Callable[[Tensor, Prepared], tuple[Tensor, Tensor]]
"""(queries (B, T, Q), prepared) -> (context (B, T, M), weights (B, T, S)), as `forward`."""


def averaged(scores: Tensor, prepared: Prepared) -> tuple[Tensor, Tensor]:
    """Return the mean of the values (B, T, M) under the softmax of scores (B, T, S), and that.

    Args:
        scores: How well each query fits each key.
        prepared: What is compared.
    """
    weights = (scores + prepared.bias.unsqueeze(1)).softmax(-1).to(prepared.values.dtype)
    return torch.bmm(weights, prepared.values), weights


AttentionFactory: TypeAlias = Callable[[int, int], Attention]
"""Makes an attention from the sizes of query and memory: how a decoder receives it."""


# Where tanh is 1 to the last bit (from 9.1 on in single precision, 19.1 in double) for every key up
# to `_LARGEST_KEY`, a query may as well be cut; e^2(17 + 26.5) is still a number there.
_LARGEST_KEY = 17.0
_FAR = {torch.float32: 26.5, torch.float64: 36.5}


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

    def searcher(self, prepared: Prepared) -> tuple[Attend, Prepared]:
        """Make ready for many queries; see `Attention.searcher`.

        tanh(a + b) = 1 - 2 / (1 + e^2a e^2b): the powers are taken once of each key and of each
        query, not of each pair, and the 1 shifts all scores alike, which a softmax doesn't see.
        """
        keys, far = prepared.keys, _FAR.get(prepared.keys.dtype)
        if far is None or keys.device.type != "cpu" or not keys.numel():
            return self, prepared
        if self._differs(AdditiveAttention) or self.energy._forward_hooks:
            return self, prepared
        if not keys.abs().amax() <= _LARGEST_KEY:
            return self, prepared
        project = layer(self.query)

        def attend(query: Tensor, prepared: Prepared) -> tuple[Tensor, Tensor]:
            powers = project(query).clamp_(-far, far).mul_(2).exp_()  # (B, T, A)
            summed = powers.unsqueeze(2) * prepared.keys.unsqueeze(1)  # (B, T, S, A)
            # by itself: addcmul, which would spread the 1, takes three times as long
            scores = self.energy(summed.add_(1.0).reciprocal_()).squeeze(3)  # (B, T, S)
            return averaged(scores.mul_(-2), prepared)

        return attend, prepared._replace(keys=(2 * keys).exp_())


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
        return self._gated(self.attention, query, prepared)

    def searcher(self, prepared: Prepared) -> tuple[Attend, Prepared]:
        """Make the other attention ready; see `Attention.searcher`."""
        if self._differs(GatedAttention):
            return self, prepared
        attend, ready = self.attention.searcher(prepared)
        return partial(self._gated, attend), ready

    def _gated(self, attend: Attend, query: Tensor, prepared: Prepared) -> tuple[Tensor, Tensor]:
        context, weights = attend(query, prepared)
        gate = torch.sigmoid(self.gate(query))  # (B, T, 1)
        return gate * context, weights
