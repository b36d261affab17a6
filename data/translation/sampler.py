"""Batches of sequences of similar length, as a pure function of (seed, epoch).

Shapes: N items, K lengths of each item (one for every sequence it has), W processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Unpack

import numpy as np
import numpy.typing as npt

from ...errors import UsageError, at_least
from ..samplers import Order, Sampler

Lengths = npt.NDArray[np.integer]
# rows of a batch cut by tokens, where it has more: they fit 2, 4 and 8 processes, and a GPU's tiles
_ROWS_MULTIPLE = 8


class BucketSampler(Sampler):
    """Cuts N items into batches of similar length.

    Items are sorted by their lengths once. In each epoch, those that are equally long in every way
    change places at random, and so do the batches; the number of batches is the same in all epochs.
    The budget is that of one process. Each takes every W-th row of a batch, so their shares are of
    nearly equal size. A share is empty only where a batch has fewer rows than there are processes.

    Args:
        lengths: The lengths, K arrays of N integers. The first counts most for the order.
        batch_size: Items of a batch in each process; the last ones have a few less, so that all are
            equally large.
        batch_tokens: Instead of that, the budget of a batch in each process: its items times the
            longest length among them, padding included. An item that is longer than the budget
            makes a batch of its own.
        order: See `Order`. Without `shuffle`: always the same batches, from the longest to the
            shortest.

    Raises:
        UsageError: A setting is out of its range.
    """

    def __init__(
        self,
        lengths: Sequence[Lengths],
        *,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        **order: Unpack[Order],
    ) -> None:
        super().__init__(**order)
        budget = check_budget(batch_size, batch_tokens) * self.world_size
        table = np.stack([np.asarray(each, dtype=np.int64) for each in lengths])  # (K, N)
        self._order, self._group = _sorted(table)
        count = table.shape[1]
        if batch_size is not None:
            batches = -(-count // budget)
            self._cuts = np.arange(batches + 1) * count // max(batches, 1)
        else:
            self._cuts = _cut(table.max(0, initial=0)[self._order], budget)

    def num_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch."""
        return len(self._cuts) - 1

    def batches(self, epoch: int, start: int = 0) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the items of each batch that are this process's share."""
        order, sequence = self._order, np.arange(self.num_batches())
        if self.shuffle:
            random = self.random(epoch)
            sequence = random.permutation(sequence)
            order = order[np.lexsort((random.random(len(order)), self._group))]
        for number in sequence[start:]:
            first, end = self._cuts[number], self._cuts[number + 1]
            yield order[first + self.rank : end : self.world_size]


def check_budget(batch_size: int | None, batch_tokens: int | None) -> int:
    """Return the budget, after a look whether it is given in one way, and is one.

    Args:
        batch_size: Items of a batch.
        batch_tokens: Tokens of a batch.

    Raises:
        UsageError: It is not.
    """
    if batch_size is not None and batch_tokens is not None:
        raise UsageError(
            f"batch_size {batch_size} and batch_tokens {batch_tokens} are both given; a batch is "
            "cut by one of them. Set the other one to null: --data.batch_tokens null (or "
            "--data.batch_size null)."
        )
    at_least(1, batch_size=batch_size, batch_tokens=batch_tokens)
    budget = batch_size or batch_tokens
    if budget is None:
        raise UsageError("Neither batch_size nor batch_tokens is given: --data.batch_size 64, say.")
    return budget


def _sorted(table: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the items from the longest to the shortest, and each one's group of equals.

    The groups are in the order of the items. The second length rises where the first is even and
    falls where it is odd: from one first length to the next it makes no leap.
    """
    keys = table.copy()
    for row in range(1, len(keys)):
        keys[row] *= 1 - 2 * (keys[row - 1] % 2)
    order = np.lexsort(keys[::-1])[::-1]
    new = np.any(np.diff(table[:, order], axis=1) != 0, axis=0)
    return order, np.concatenate([np.zeros(min(1, len(order)), dtype=np.int64), np.cumsum(new)])


def _cut(lengths: npt.NDArray[np.int64], budget: int) -> npt.NDArray[np.int64]:
    """Return where the batches begin, and the end; an item counts as its batch's longest."""
    cuts = [0]
    first, longest = 0, 0
    every = lengths.tolist()
    end = len(every)
    while first < end:
        last, longest = first, every[first]
        while last < end and (
            last == first or (last - first + 1) * max(longest, every[last]) <= budget
        ):
            longest = max(longest, every[last])
            last += 1
        if last < end and last - first > _ROWS_MULTIPLE:
            last -= (last - first) % _ROWS_MULTIPLE
        cuts.append(last)
        first = last
    return np.array(cuts)
