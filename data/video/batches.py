"""Labelled videos as batches: the order in which they are read, and how pieces of them are put together.

Shapes: B rows of one process, W processes, T frames of a video, N valid frames of a batch, D
features, H and W pixels, s stride: one of every s frames is read, and the labels of all are kept.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import UsageError
from ..base import DataModule, Part
from ..batch import VideoBatch
from ..loader import ResumableLoader

IGNORED = -100  # the target of a frame without a label


class LabelledVideo(Protocol):
    """A video as batches need it."""

    @property
    def name(self) -> str:
        """What the video is called in results and messages."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The class of every frame (T,), -100 where it has none."""

    def read(self, begin: int, end: int) -> Tensor:
        """Return `begin` to `end` (exclusive) of the frames that are read: the first, the one s later, and so on.

        Features (n, D) float32, or pictures (n, 3, H, W) uint8.
        """


class Piece(NamedTuple):
    """Frames `begin` to `end` (exclusive) of one video, given by its number; `last` where the video ends with them."""

    video: int
    begin: int
    end: int
    last: bool


class VideoSampler:
    """Deals videos out to B x W lanes, each of which reads one video after the other, in pieces.

    Row i of a batch goes on where row i of the batch before ended. A lane that has come to its end
    has empty rows from then on. The lanes are as even as can be (the longest videos are dealt
    first, each to the lane with the least), the number of batches is the same for every epoch and
    process, and W processes of B rows see together what one process of B x W rows sees.

    Args:
        frames: The number of frames of each video, as they are read.
        batch_size: B, the rows of one process.
        chunk_length: The most frames of a piece; None: whole videos.
        seed: Start of the pseudo-random numbers.
        rank: This process, from 0.
        world_size: W, the number of processes.
        shuffle: Deal differently in every epoch. False: the videos in their order, dealt in turns.
    """

    def __init__(
        self,
        frames: Sequence[int],
        *,
        batch_size: int,
        chunk_length: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("chunk_length", chunk_length)):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; it has to be at least 1.")
        self.frames = list(frames)
        self.chunk_length = chunk_length
        self.seed = seed
        self.shuffle = shuffle
        self._lanes = batch_size * world_size
        self._own = range(rank * batch_size, (rank + 1) * batch_size)
        self._num_batches = max(
            (sum(map(self._pieces_of, lane)) for lane in self._deal(0)), default=0
        )

    def num_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch; it is the same for all."""
        return self._num_batches

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Piece | None, ...]]:
        """Yield the pieces of each batch of an epoch, None for an empty row.

        Args:
            epoch: Number of the epoch, from 0.
            start: Number of the first batch to yield.
        """
        lanes = self._deal(epoch)
        rows = [
            [piece for video in lanes[lane] for piece in self._cut(video)] for lane in self._own
        ]
        for number in range(start, self._num_batches):
            yield tuple(row[number] if number < len(row) else None for row in rows)

    def _pieces_of(self, video: int) -> int:
        return 1 if self.chunk_length is None else -(-self.frames[video] // self.chunk_length)

    def _cut(self, video: int) -> Iterator[Piece]:
        length = self.frames[video]
        step = self.chunk_length or max(length, 1)
        for begin in range(0, length, step):
            yield Piece(video, begin, min(begin + step, length), begin + step >= length)

    def _deal(self, epoch: int) -> list[list[int]]:
        """Return the videos of every lane, in the order of reading.

        The load of the fullest lane doesn't depend on the order in which videos of equal length are
        dealt, so the number of batches is the same for every epoch.
        """
        if not self.shuffle:
            return [list(range(lane, len(self.frames), self._lanes)) for lane in range(self._lanes)]
        random = np.random.default_rng([self.seed, epoch])
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


class VideoDataset:
    """Makes batches of pieces of videos.

    Args:
        videos: The videos, numbered as the sampler numbers them.
        stride: s.
    """

    def __init__(self, videos: Sequence[LabelledVideo], stride: int = 1) -> None:
        self._videos = videos
        self._stride = stride

    def __getitem__(self, pieces: tuple[Piece | None, ...]) -> VideoBatch:
        """Return the batch of some pieces."""
        lengths = [piece.end - piece.begin if piece else 0 for piece in pieces]
        target = torch.full((len(pieces), self._stride * max(1, *lengths)), IGNORED)  # (B, T)
        inputs = []
        for row, piece in enumerate(pieces):
            if piece:
                video = self._videos[piece.video]
                inputs.append(video.read(piece.begin, piece.end))
                labels = video.labels[piece.begin * self._stride : piece.end * self._stride]
                target[row, : len(labels)] = torch.from_numpy(labels)
        return VideoBatch(
            input=torch.cat(inputs) if inputs else self._videos[0].read(0, 0),
            target=target,
            lengths=torch.tensor(lengths),
            first=torch.tensor([piece is not None and piece.begin == 0 for piece in pieces]),
            last=torch.tensor([piece is not None and piece.last for piece in pieces]),
            name=tuple(self._videos[piece.video].name if piece else "" for piece in pieces),
        )


class VideoModule(DataModule):
    """The base of all data modules of labelled videos.

    Args:
        batch_size: B, videos read side by side in each process.
        chunk_length: The most frames of each of them in a batch of the training part, where the
            model's state goes on from batch to batch without its gradient; None: whole videos.
        eval_chunk_length: The same for validation and test; only memory depends on it.
        num_workers: Processes that prepare batches ahead.
        seed: Start of the pseudo-random numbers that say how videos come together in each epoch.
        spec: A checkpoint's spec; None for the data's own.

    Attributes:
        stride: s; a subclass that has such a setting changes it.
    """

    stride = 1

    def __init__(
        self,
        *,
        batch_size: int,
        chunk_length: int | None,
        eval_chunk_length: int | None,
        num_workers: int,
        seed: int,
        spec: dict[str, Any] | None,
    ) -> None:
        super().__init__(spec=spec)
        for name, value in (("num_workers", num_workers), ("seed", seed)):
            if value < 0:
                raise UsageError(f"{name} is {value}; it has to be at least 0.")
        for length in (chunk_length, eval_chunk_length):
            VideoSampler((), batch_size=batch_size, chunk_length=length)  # checks them
        self.batch_size = batch_size
        self.chunk_length = chunk_length
        self.eval_chunk_length = eval_chunk_length
        self.num_workers = num_workers
        self.seed = seed

    @abstractmethod
    def videos(self, part: Part) -> Sequence[LabelledVideo]:
        """Return the videos of a part; none where it was asked to be empty.

        Args:
            part: The part.
        """

    def transfer_batch_to_device(
        self, batch: VideoBatch, device: torch.device, dataloader_idx: int
    ) -> VideoBatch:
        """Move frames and labels; what says where rows begin and end stays on the CPU, where a core reads it."""
        return batch._replace(
            input=batch.input.to(device, non_blocking=True),
            target=batch.target.to(device, non_blocking=True),
        )

    def loader(
        self, part: Part, *, epoch: int = 0, limit: int | float = 1.0
    ) -> ResumableLoader | None:
        """Return this process's loader of a part, None where it is empty.

        Args:
            part: The part.
            epoch: The epoch to start with.
            limit: The loader's `limit`.
        """
        videos = self.videos(part)
        if not videos:
            return None
        train = part == "train"
        rows = min(self.batch_size, -(-len(videos) // self.world_size))
        sampler = VideoSampler(
            [-(-len(video.labels) // self.stride) for video in videos],
            batch_size=rows,
            chunk_length=self.chunk_length if train else self.eval_chunk_length,
            seed=self.seed,
            rank=self.rank,
            world_size=self.world_size,
            shuffle=train and not getattr(self.trainer, "overfit_batches", 0),
        )
        return ResumableLoader(
            VideoDataset(videos, self.stride),
            sampler,
            num_workers=self.num_workers,
            seed=self.seed,
            epoch=epoch,
            limit=limit,
            pin_memory=self.pin_memory,
        )
