"""The order of batches, as a pure function of (seed, epoch), and each process's share of it.

Shapes: B rows of one process, W processes, N items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypedDict, TypeVar, Unpack

import numpy as np

from ..errors import at_least

Row = TypeVar("Row")


class Order(TypedDict, total=False):
    """What every sampler takes; a `DataModule` says it.

    Attributes:
        seed: Start of the pseudo-random numbers, 0 unless given.
        rank: This process, from 0.
        world_size: W, the number of processes, 1 unless given.
        shuffle: Another order in each epoch, unless False.
    """

    seed: int
    rank: int
    world_size: int
    shuffle: bool


class Sampler(ABC):
    """Yields what describes each batch of this process.

    W processes of B rows see together, batch by batch, what one process of B x W rows sees, and all
    of them have the same number of batches: with one more on a single process, the others would
    wait for it for ever. An epoch can start at any batch, so a run goes on where it was stopped.

    Args:
        order: See `Order`.
    """

    def __init__(self, **order: Unpack[Order]) -> None:
        self.seed = order.get("seed", 0)
        self.rank = order.get("rank", 0)
        self.world_size = order.get("world_size", 1)
        self.shuffle = order.get("shuffle", True)

    @abstractmethod
    def num_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch; it is the same for all epochs and processes."""

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Yield what describes each batch of an epoch.

        Args:
            epoch: Number of the epoch, from 0.
            start: Number of the first batch to yield.
        """

    def random(self, epoch: int, *purpose: int) -> np.random.Generator:
        """Return what draws for an epoch, the same in every process; one for all without `shuffle`.

        Args:
            epoch: Number of the epoch.
            purpose: Numbers that set apart what is drawn independently.
        """
        return np.random.default_rng([self.seed, epoch if self.shuffle else 0, *purpose])

    def share(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return this process's share of the rows of a batch: consecutive ones, as even as can be.

        Args:
            rows: The rows of all processes.
        """
        first, end = (len(rows) * rank // self.world_size for rank in (self.rank, self.rank + 1))
        return rows[first:end]


class SamplerFactory(Protocol):
    """Makes a sampler of an order: a sampler's class with all its other arguments, by `partial`."""

    def __call__(self, **order: Unpack[Order]) -> Sampler:
        """Return the sampler."""


class Items(NamedTuple):
    """Which items make one batch.

    Attributes:
        numbers: Their numbers, below N; possibly none at the end of an epoch.
        epoch: The epoch, for a data set that draws or changes something: its seed is (epoch,
            number).
    """

    numbers: tuple[int, ...]
    epoch: int


class ItemSampler(Sampler):
    """Deals out N items, each once an epoch, as `Items`.

    The last batch is shared out as evenly as possible; a process may have nothing in it.

    Args:
        length: N.
        batch_size: B, the items of one process.
        order: See `Order`. Without `shuffle`, the order is that of the numbers.

    Examples:
        >>> sampler = ItemSampler(5, batch_size=2, shuffle=False)
        >>> [items.numbers for items in sampler.batches(epoch=0)]
        [(0, 1), (2, 3), (4,)]
        >>> [items.numbers for items in sampler.batches(epoch=0, start=2)]
        [(4,)]
    """

    def __init__(self, length: int, *, batch_size: int, **order: Unpack[Order]) -> None:
        super().__init__(**order)
        at_least(1, batch_size=batch_size)
        self.length = length
        self.rows = batch_size * self.world_size

    def num_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch."""
        return -(-self.length // self.rows)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Items]:
        """Yield the items of each batch that are this process's share."""
        order = np.arange(self.length)
        if self.shuffle:
            order = self.random(epoch).permutation(order)
        for begin in range(start * self.rows, self.length, self.rows):
            yield Items(tuple(self.share(order[begin : begin + self.rows].tolist())), epoch)
