"""The order in which labelled videos are read, whole, in pieces or in windows.

Shapes: B rows of one process, W processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Unpack

import numpy as np

from ...errors import at_least
from ..samplers import Order, Sampler


class VideoPiece(NamedTuple):
    """Frames `begin` to `end` (exclusive) of a video, by its number; `last` where it ends there."""

    video: int
    begin: int
    end: int
    last: bool


class VideoSampler(Sampler):
    """Deals videos out to B x W lanes, each of which reads one video after the other, in pieces.

    Row i of a batch goes on where row i of the batch before ended. A lane that has come to its end
    has empty rows from then on. The lanes are as even as can be (the longest videos are dealt
    first, each to the lane with the least).

    Args:
        frames: The number of frames of each video, as they are read.
        batch_size: B, the rows of one process.
        chunk_length: The most frames of a piece; None: whole videos.
        order: See `Order`. Without `shuffle`: the videos in their order, dealt in turns.
    """

    def __init__(
        self,
        frames: Sequence[int],
        *,
        batch_size: int,
        chunk_length: int | None = None,
        **order: Unpack[Order],
    ) -> None:
        super().__init__(**order)
        at_least(1, batch_size=batch_size, chunk_length=chunk_length)
        self.frames = list(frames)
        self.chunk_length = chunk_length
        self._lanes = batch_size * self.world_size
        self._num_batches = max(
            (sum(map(self._pieces_of, lane)) for lane in self._deal(0)), default=0
        )

    def num_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch."""
        return self._num_batches

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[VideoPiece | None, ...]]:
        """Yield the pieces of each batch of an epoch, None for an empty row."""
        lanes = self.share(self._deal(epoch))
        rows = [[piece for video in lane for piece in self._cut(video)] for lane in lanes]
        for number in range(start, self._num_batches):
            yield tuple(row[number] if number < len(row) else None for row in rows)

    def _pieces_of(self, video: int) -> int:
        return 1 if self.chunk_length is None else -(-self.frames[video] // self.chunk_length)

    def _cut(self, video: int) -> Iterator[VideoPiece]:
        length = self.frames[video]
        step = self.chunk_length or max(length, 1)
        for begin in range(0, length, step):
            yield VideoPiece(video, begin, min(begin + step, length), begin + step >= length)

    def _deal(self, epoch: int) -> list[list[int]]:
        """Return the videos of every lane, in the order of reading.

        The load of the fullest lane doesn't depend on the order in which videos of equal length are
        dealt, so the number of batches is the same for every epoch.
        """
        if not self.shuffle:
            return [list(range(lane, len(self.frames), self._lanes)) for lane in range(self._lanes)]
        random = self.random(epoch)
        order = sorted(
            random.permutation(len(self.frames)).tolist(), key=self._pieces_of, reverse=True
        )
        lanes: list[list[int]] = [[] for _ in range(self._lanes)]
        loads = [0] * self._lanes
        for video in order:
            lane = loads.index(min(loads))
            lanes[lane].append(video)
            loads[lane] += self._pieces_of(video)
        return [
            random.permutation(lanes[lane]).tolist() for lane in random.permutation(self._lanes)
        ]


class WindowSampler(Sampler):
    """Windows at random places: from each video as many as it takes to cover it.

    The last batch is shared out evenly, with an empty row where a process has one window less: all
    have the same number of rows, as a checkpoint needs.

    Args:
        frames: The number of frames of each video.
        batch_size: B, the rows of one process.
        length: The most frames of a window.
        order: See `Order`. Without `shuffle`: the same windows in every epoch.
    """

    def __init__(
        self, frames: Sequence[int], *, batch_size: int, length: int, **order: Unpack[Order]
    ) -> None:
        super().__init__(**order)
        self.frames = np.array(frames)
        self.rows = batch_size * self.world_size
        self.length = length
        self._videos = np.repeat(np.arange(len(frames)), -(-self.frames // length))

    def num_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch."""
        return -(-len(self._videos) // self.rows)

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[VideoPiece | None, ...]]:
        """Yield the windows of each batch of an epoch, None for an empty row."""
        random = self.random(epoch)
        videos = random.permutation(self._videos)
        begins = random.integers(np.maximum(self.frames[videos] - self.length, 0) + 1)
        ends = np.minimum(begins + self.length, self.frames[videos])
        places = zip(videos.tolist(), begins.tolist(), ends.tolist(), strict=True)
        pieces = [VideoPiece(video, begin, end, last=True) for video, begin, end in places]
        for number in range(start, self.num_batches()):
            together = pieces[number * self.rows : (number + 1) * self.rows]
            own = self.share(together)
            yield (*own, *[None] * (-(-len(together) // self.world_size) - len(own)))
