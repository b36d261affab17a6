"""The order of images, as a pure function of (seed, epoch).

Shapes: B images of one process, W processes, N images in the part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...errors import UsageError


class Images(NamedTuple):
    """Which images make one batch.

    Attributes:
        numbers: Their numbers, below N; possibly none at the end of an epoch.
        epoch: The epoch, for a data set that draws captions or changes pictures.
    """

    numbers: tuple[int, ...]
    epoch: int


class ImageSampler:
    """Deals out N images, each once an epoch.

    W processes of B images see together what one process of B x W images sees, and every process
    has the same number of batches. The last batch is shared out as evenly as possible; a process
    may have nothing in it.

    Args:
        length: N.
        batch_size: B, the images of one process.
        shuffle: Another order in each epoch; else that of the numbers.
        seed: Start of the pseudo-random numbers.
        rank: This process, from 0.
        world_size: W, the number of processes.
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; it has to be at least 1.")
        self.length = length
        self.rows = batch_size * world_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size

    def num_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch; it is the same for all."""
        return -(-self.length // self.rows)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Images]:
        """Yield this process's batches of an epoch.

        Args:
            epoch: Number of the epoch, from 0.
            start: Number of the first batch to yield.
        """
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        for begin in range(start * self.rows, self.length, self.rows):
            rows = order[begin : begin + self.rows].tolist()
            first, end = (
                len(rows) * rank // self.world_size for rank in (self.rank, self.rank + 1)
            )
            yield Images(tuple(rows[first:end]), epoch)
