"""The order of the training data, as a pure function of (seed, epoch).

Shapes: B rows of one process, W processes, N pairs of input and target in the part, T steps of a
chunk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple, Unpack

import numpy as np

from ...errors import UsageError, at_least
from ..samplers import Order, Sampler

_BLOCK = 100  # chunks drawn together where their length varies
_SPREAD = 5  # standard deviation of a chunk's length, and its least length, in AWD-LSTM
_LONGEST = 20  # at most this many steps above the mean


class Chunk(NamedTuple):
    """Which pairs make one batch.

    Attributes:
        starts: The first pair of each row, B numbers below N. A row that passes the last pair goes
            on at the first.
        lengths: The number of pairs of each row, B numbers.
        steps: The longest length, T.
        first: Whether the epoch begins here.
    """

    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    steps: int
    first: bool


class StreamSampler(Sampler):
    """Cuts N consecutive pairs into B x W parallel streams, and those into successive chunks.

    Row i of a batch goes on where row i of the batch before ended. Every pair comes once an epoch.

    Args:
        length: N, the number of pairs.
        batch_size: B, the rows of one process.
        chunk_length: T, the steps of a chunk.
        vary_length: Draw the length of each chunk as AWD-LSTM does (Merity et al. 2018,
            https://arxiv.org/abs/1708.02182, section 4.1): mean T, or T/2 in 5 % of the cases,
            standard deviation 5, at least 5. The lengths of 100 chunks are scaled to a fixed sum,
            so that every epoch has the same number of batches.
        order: See `Order`. With `shuffle`, each epoch starts at another pair, so that the chunks
            are cut elsewhere.

    Examples:
        >>> sampler = StreamSampler(8, batch_size=2, chunk_length=3, shuffle=False)
        >>> [(chunk.starts, chunk.lengths) for chunk in sampler.batches(epoch=0)]
        [((0, 4), (3, 3)), ((3, 7), (1, 1))]
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        chunk_length: int,
        vary_length: bool = False,
        **order: Unpack[Order],
    ) -> None:
        super().__init__(**order)
        at_least(1, batch_size=batch_size, chunk_length=chunk_length)
        if vary_length and chunk_length < _LONGEST:
            raise UsageError(
                f"vary_length needs a chunk_length of at least {_LONGEST}, not {chunk_length}."
            )
        self.length = length
        self.chunk_length = chunk_length
        self.vary_length = vary_length
        rows = batch_size * self.world_size
        streams = list(itertools.pairwise(length * row // rows for row in range(rows + 1)))
        self._streams = self.share(streams)
        self._steps = -(-length // rows)  # of the longest stream, over all processes
        self._halves = _BLOCK // 20
        self._span = (_BLOCK - self._halves) * chunk_length + self._halves * (chunk_length // 2)

    def num_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch."""
        if not self.vary_length:
            return -(-self._steps // self.chunk_length)
        blocks, rest = divmod(self._steps, self._span)
        return blocks * _BLOCK + self._chunks_in(rest)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Chunk]:
        """Yield the chunks of an epoch."""
        offset = self.random(epoch).integers(self.length) if self.shuffle and self.length else 0
        cuts = self._varied_cuts(epoch, start) if self.vary_length else self._equal_cuts(start)
        for begin, end in cuts:
            yield Chunk(
                starts=tuple(int((offset + row + begin) % self.length) for row, _ in self._streams),
                lengths=tuple(max(0, min(last - row, end) - begin) for row, last in self._streams),
                steps=end - begin,
                first=begin == 0,
            )

    def _equal_cuts(self, start: int) -> Iterator[tuple[int, int]]:
        for begin in range(start * self.chunk_length, self._steps, self.chunk_length):
            yield begin, min(begin + self.chunk_length, self._steps)

    def _chunks_in(self, steps: int) -> int:
        """Return the number of chunks that cover the last, incomplete block."""
        return -(-steps * _BLOCK // self._span)

    def _varied_cuts(self, epoch: int, start: int) -> Iterator[tuple[int, int]]:
        """Yield cuts block by block, each a function of (seed, epoch, block)."""
        block, skip = divmod(start, _BLOCK)
        for begin in range(block * self._span, self._steps, self._span):
            steps = min(self._span, self._steps - begin)
            count = self._chunks_in(steps)
            random = self.random(epoch, 1 + begin // self._span)
            means = np.full(count, self.chunk_length)
            means[: round(count * self._halves / _BLOCK)] //= 2
            drawn = random.normal(random.permutation(means), _SPREAD)
            ends = np.cumsum(np.clip(drawn, _SPREAD, self.chunk_length + _LONGEST))
            cuts = begin + np.rint(np.concatenate([[0.0], ends]) * (steps / ends[-1])).astype(
                np.int64
            )
            yield from itertools.pairwise(cuts[skip:].tolist())
            skip = 0
