"""Labelled videos, and pieces of them put together to batches.

Shapes: B rows, T frames of a video, N valid frames of a batch, D features, H and W pixels, s
stride: one of every s frames is read, and the labels of all are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..batch import VideoBatch
from .sampler import VideoPiece

IGNORED = -100  # the target of a frame without a label


class LabelledVideo(Protocol):
    """A video as batches need it."""

    @property
    def name(self) -> str:
        """What the video is called in results and messages."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The class of every frame (T,), -100 where it has none; or which it has, (T, C)."""

    def read(self, begin: int, end: int) -> Tensor:
        """Return `begin` to `end` (exclusive) of the frames that are read, which are s apart.

        Features (n, D) float32, or pictures (n, 3, H, W) uint8.
        """


class VideoDataset:
    """Makes batches of pieces of videos.

    Args:
        videos: The videos, numbered as the sampler numbers them.
        stride: s.
    """

    def __init__(self, videos: Sequence[LabelledVideo], stride: int = 1) -> None:
        self._videos = videos
        self._stride = stride

    def __getitem__(self, pieces: tuple[VideoPiece | None, ...]) -> VideoBatch:
        """Return the batch of some pieces."""
        lengths = [piece.end - piece.begin if piece else 0 for piece in pieces]
        classes = self._videos[0].labels.shape[1:]  # (C,) where a frame may have several
        size = (len(pieces), self._stride * max(1, *lengths), *classes)
        target = torch.full(size, IGNORED)  # (B, T) or (B, T, C)
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


class WindowDataset(VideoDataset):
    """Windows of videos, each of which starts and ends its row."""

    def __getitem__(self, pieces: tuple[VideoPiece | None, ...]) -> VideoBatch:
        """Return the batch of some windows."""
        batch = super().__getitem__(pieces)
        return batch._replace(first=batch.lengths > 0, last=batch.lengths > 0)
