"""What the data modules of labelled videos share: their classes, pieces, windows, order.

Shapes: B rows of one process, T frames of a video, s stride: one of every s frames is read, and the
labels of all are kept.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from ...errors import UsageError, at_least, did_you_mean
from ..base import DataModule
from ..samplers import SamplerFactory
from ..spec import VideoSpec
from ..splits import PARTS, Part
from .dataset import IGNORED, LabelledVideo, VideoDataset, WindowDataset
from .sampler import VideoSampler, WindowSampler


class VideoLabellingData(DataModule):
    """Videos with a label for every frame. A subclass says which, by `videos`, and of what classes.

    Args:
        stride: s.
        batch_size: B, videos read side by side in each process.
        chunk_length: The most frames of each of them in a batch of the training part, where the
            model's state goes on from batch to batch without its gradient; None: whole videos.
        eval_chunk_length: The same for validation and test; only memory depends on it.
        windows: Train on random windows of `chunk_length` frames instead, each from a fresh state.
        num_workers: Processes that prepare batches ahead.
        seed: Start of the pseudo-random numbers that say how videos come together in each epoch.
        background: Names of the classes that edit and F1 leave out; None: none, or the
            checkpoint's.
        spec: A checkpoint's spec; None for the data's own.

    Attributes:
        pictures: Whether frames are pictures, not features.
    """

    spec_form = VideoSpec
    pictures: ClassVar[bool] = True

    def __init__(
        self,
        *,
        stride: int,
        batch_size: int,
        chunk_length: int | None,
        eval_chunk_length: int | None,
        windows: bool = False,
        num_workers: int,
        seed: int,
        background: list[str] | None = None,
        spec: dict[str, Any] | None,
    ) -> None:
        super().__init__(num_workers=num_workers, seed=seed, spec=spec)
        at_least(
            1,
            stride=stride,
            batch_size=batch_size,
            chunk_length=chunk_length,
            eval_chunk_length=eval_chunk_length,
        )
        if windows and chunk_length is None:
            raise UsageError("windows are of chunk_length frames: give --data.chunk_length too.")
        if spec is not None and bool(spec["image_size"]) != self.pictures:
            raise UsageError(
                "The checkpoint's model reads features, not pictures: take SegmentationData."
                if self.pictures
                else "The checkpoint's model reads pictures, not features: take VideoData."
            )
        self.stride = stride if spec is None else int(spec["stride"])
        self.batch_size = batch_size
        self.chunk_length = chunk_length
        self.eval_chunk_length = eval_chunk_length
        self.windows = windows
        self.background = background

    @property
    def several(self) -> bool:
        """Whether a frame may have several labels: whether the trainer's model says so."""
        model = None if self.trainer is None else self.trainer.lightning_module
        return bool(getattr(model, "multilabel", False))

    @abstractmethod
    def videos(self, part: Part) -> Sequence[LabelledVideo]:
        """Return the videos of a part; none where it was asked to be empty."""

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The classes and the frames as plain data, a `VideoSpec`."""
        spec = super().spec
        if self.background is None:
            return spec
        for name in self.background:
            if name not in spec["classes"]:
                near = did_you_mean(name, spec["classes"])
                raise UsageError(f"background: there is no class '{name}'.{near}")
        return {**spec, "background": self.background}

    def inputs(self, part: Part) -> Sequence[str]:
        """Return the videos' names."""
        return [video.name for video in self.videos(part)]

    def prepare_data(self) -> None:
        """Make and decode what is kept in the cache, so that the other processes find it done."""
        for part in PARTS:
            self.videos(part)

    def told(self) -> str:
        """Return how many videos and frames each part has, for the log."""
        found = [(part, self.videos(part)) for part in PARTS]
        return ", ".join(
            f"{part} {len(videos)} ({sum(len(video.labels) for video in videos):,} frames)"
            for part, videos in found
        )

    def told_unlabelled(self) -> str:
        """Return how many frames have no label, for the log; nothing where all have one."""
        missing = frames = videos = 0
        for part in PARTS:
            for video in self.videos(part):
                bare = int((video.labels.reshape(len(video.labels), -1) == IGNORED).any(1).sum())
                missing, frames = missing + bare, frames + len(video.labels)
                videos += bare > 0
        if not missing:
            return ""
        return (
            f"{missing:,} of {frames:,} frames ({100 * missing / frames:.1f} %), in {videos} "
            "video(s), have no label: they count neither in the loss nor in the scores."
        )

    def class_counts(self) -> tuple[int, list[int]]:
        """Return how many frames of the training part have labels, and how many have each class."""
        frames = 0
        counts = np.zeros(len(self.spec["classes"]), dtype=np.int64)
        for video in self.videos("train"):
            if video.labels.ndim == 2:  # (T, C)
                counts += (video.labels == 1).sum(0)
                frames += int((video.labels >= 0).any(1).sum())
            else:
                frames += int((video.labels >= 0).sum())
                counts += np.bincount(video.labels[video.labels >= 0], minlength=len(counts))
        return frames, counts.tolist()

    def read_videos(self, part: Part) -> Sequence[LabelledVideo]:
        """Return what batches of a part are made of."""
        return self.videos(part)

    def fingerprint(self) -> str:
        """Return what changes with the labels to learn from, and with the names of the videos."""
        digest = hashlib.sha256()
        for video in self.videos("train"):
            digest.update(f"{video.name}\0{len(video.labels)}\0".encode(errors="replace"))
            digest.update(np.ascontiguousarray(video.labels).tobytes())
        return digest.hexdigest()[:16]

    def contents(self, part: Part) -> tuple[VideoDataset, SamplerFactory] | None:
        """Return the videos of a part and their order, None where there are none."""
        videos = self.read_videos(part)
        if not videos:
            return None
        frames = [-(-len(video.labels) // self.stride) for video in videos]
        if part == "train" and self.windows and self.chunk_length:
            return WindowDataset(videos, self.stride), partial(
                WindowSampler, frames, batch_size=self.batch_size, length=self.chunk_length
            )
        return VideoDataset(videos, self.stride), partial(
            VideoSampler,
            frames,
            # a row for each video at most: others would always be empty
            batch_size=min(self.batch_size, -(-len(videos) // self.world_size)),
            chunk_length=self.chunk_length if part == "train" else self.eval_chunk_length,
        )
