"""The pictures of a video by their place: decoded once and kept in the cache, or decoded each time.

Shapes: S side of the square pictures, n pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import DataError
from ..arrays import ArrayFile, kept_features
from ..cache import cached, key_of, stamps
from .annotations.segments import Timing
from .frames import Tell, read_frames
from .media import pictures_in

_MOST_OPEN = 64  # videos that are decoded at a time; each has a file, threads and frames in memory
_ENCODED_AT_ONCE = 64
_FORMAT = 2  # of the files in the cache: raise it when they change


class FrameStore(Protocol):
    """The pictures of a video, one of every `stride` frames.

    Attributes:
        timing: The frames that the decoder gives, with or without a picture.
        identity: Plain data that change whenever the pictures do.
    """

    timing: Timing
    identity: list[Any]

    def read(self, begin: int, end: int) -> Tensor:
        """Return pictures `begin` to `end` (exclusive), (n, 3, S, S) uint8."""


class PictureVideo(NamedTuple):
    """A video with a label for every frame, a `LabelledVideo`.

    Attributes:
        name: What it is called in results and messages.
        labels: The class of every frame (T,) int64, -100 where it has none.
        pictures: Its pictures.
    """

    name: str
    labels: npt.NDArray[np.int64]
    pictures: FrameStore

    def read(self, begin: int, end: int) -> Tensor:
        """Return pictures `begin` to `end` (exclusive), (n, 3, S, S) uint8."""
        return self.pictures.read(begin, end)


class EncodedVideo(NamedTuple):
    """A video of which a frozen backbone's features are kept, a `LabelledVideo`.

    Attributes:
        name: What it is called in results and messages.
        labels: As those of `PictureVideo`.
        file: The features of the pictures, (n, D) float16.
    """

    name: str
    labels: npt.NDArray[np.int64]
    file: ArrayFile

    def read(self, begin: int, end: int) -> Tensor:
        """Return the features of pictures `begin` to `end` (exclusive), (n, D) float16."""
        return torch.from_numpy(self.file[begin:end])


def encoded(
    video: PictureVideo,
    stride: int,
    encode: Callable[[Tensor], Tensor],
    key: str,
    folder: Path,
) -> EncodedVideo:
    """Return a video's features, made now if they are not in the cache.

    Args:
        video: The video.
        stride: One of so many frames has a picture.
        encode: Turns pictures (n, 3, S, S) uint8 into features (n, D).
        key: Names all that they depend on, save the pictures.
        folder: The cache's folder.
    """
    length = -(-len(video.labels) // stride)

    def blocks() -> Iterator[npt.NDArray[np.float16]]:
        for begin in range(0, length, _ENCODED_AT_ONCE):
            pictures = video.read(begin, min(begin + _ENCODED_AT_ONCE, length))
            with torch.no_grad():
                yield encode(pictures).to("cpu", torch.float16).numpy()

    file = kept_features(folder, [video.pictures.identity, key], length, blocks)
    return EncodedVideo(video.name, video.labels, file)


class StoredPictures:
    """Pictures in a file, one after the other.

    Args:
        path: The file; it ends with the frames' times and their number.
        image_size: S.
        identity: Plain data that change whenever the pictures do.
        whole: Whether the video has no more frames.
    """

    def __init__(
        self, path: Path, image_size: int, identity: list[Any], *, whole: bool = True
    ) -> None:
        self.identity = identity
        self.path = path
        self.image_size = image_size
        self.timing = _read_times(path, whole=whole)

    def read(self, begin: int, end: int) -> Tensor:
        """Return pictures `begin` to `end` (exclusive), (n, 3, S, S) uint8."""
        size = 3 * self.image_size**2
        pixels = np.fromfile(self.path, np.uint8, (end - begin) * size, offset=begin * size)
        return torch.from_numpy(pixels).view(end - begin, 3, self.image_size, self.image_size)


class DecodedPictures:
    """Pictures that are decoded when they are asked for: going back begins the video again.

    Args:
        path: The video file, or a folder of pictures.
        image_size: S.
        stride: One of so many frames has a picture.
        timing: The frames that the decoder gives.
        identity: Plain data that change whenever the pictures do.
    """

    # Those of this process with an open file, the one read last at the end. A worker sees some
    # pieces of a video only, and perhaps never its end, which would close the file.
    _open: ClassVar[list[DecodedPictures]] = []

    def __init__(
        self, path: Path, image_size: int, stride: int, timing: Timing, identity: list[Any]
    ) -> None:
        self.path = path
        self.image_size = image_size
        self.stride = stride
        self.timing = timing
        self.identity = identity
        self._coming: Iterator[Tensor] = iter(())
        self._next = -1  # the picture that comes next; -1: none

    def read(self, begin: int, end: int) -> Tensor:
        """Return pictures `begin` to `end` (exclusive), (n, 3, S, S) uint8."""
        if begin == end:
            return torch.zeros(0, 3, self.image_size, self.image_size, dtype=torch.uint8)
        if not 0 <= self._next <= begin:
            keep = None if self.timing.whole else _silent
            frames = read_frames(
                self.path, image_size=self.image_size, stride=self.stride, keep=keep
            )
            self._coming, self._next = (
                (frame.picture for frame in frames if frame.picture is not None),
                0,
            )
        others = [pictures for pictures in self._open if pictures is not self]
        for _ in range(len(others) + 1 - _MOST_OPEN):
            others.pop(0)._close()
        self._open[:] = [*others, self]
        pictures = torch.stack(
            list(itertools.islice(self._coming, begin - self._next, end - self._next))
        )
        self._next = end
        if end * self.stride >= self.timing.frames:
            self._open.remove(self)
            self._close()
        return pictures

    def _close(self) -> None:
        self._coming, self._next = iter(()), -1  # the generator's end closes the file

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_coming": iter(()), "_next": -1}


def open_pictures(
    path: Path,
    *,
    image_size: int,
    stride: int,
    cache: Path,
    keep: bool = True,
    tell: Tell | None = None,
) -> FrameStore:
    """Return the pictures of a video; it is decoded once at least, to count its frames.

    Args:
        path: The video file, or a folder of pictures.
        image_size: S.
        stride: One of so many frames has a picture.
        cache: The folder for what is kept.
        keep: Keep the pictures in the cache, 3 S S bytes each; else only the frames' times.
        tell: Take the frames before a damage, and tell this what is wrong; None: that is an error.

    Raises:
        DataError: The video can't be read.
    """

    def opened(key: str, told: Tell | None) -> FrameStore:
        whole = told is None
        if keep:
            made = cached(
                cache / f"{key}.frames", lambda file: _store(path, file, image_size, stride, told)
            )
            return StoredPictures(made, image_size, made_of, whole=whole)
        # no picture but the first: it is the times that are asked for
        made = cached(cache / f"{key}.times", lambda file: _store(path, file, 8, 1_000_000, told))
        timing = _read_times(made, whole=whole)
        return DecodedPictures(path, image_size, stride, timing, made_of)

    files = stamps(*(pictures_in(path) if path.is_dir() else [path]))
    made_of = [_FORMAT, files, image_size, stride]
    identity = [_FORMAT, files, *((image_size, stride) if keep else ())]
    try:
        return opened(key_of(*identity), None)
    except DataError as error:
        if tell is None or path.is_dir():
            raise
        pictures = opened(key_of(*identity, "before the damage"), _silent)
        tell(f"{error} {pictures.timing.frames} frames are kept.")
        return pictures


def _silent(_: str) -> None:
    pass


def _store(path: Path, file: Path, image_size: int, stride: int, keep: Tell | None) -> None:
    times = []
    with file.open("wb") as out:
        for frame in read_frames(path, image_size=image_size, stride=stride, keep=keep):
            if frame.picture is not None:
                out.write(frame.picture.numpy().tobytes())
            times.append(frame.time)
        out.write(np.array(times, "<f8").tobytes())
        out.write(np.array(len(times), "<i8").tobytes())


def _read_times(path: Path, *, whole: bool) -> Timing:
    size = path.stat().st_size
    frames = int(np.fromfile(path, "<i8", offset=size - 8)[0])
    times = np.fromfile(path, "<f8", frames, offset=size - 8 - 8 * frames)
    return Timing(frames, times.astype(np.float64), whole)
