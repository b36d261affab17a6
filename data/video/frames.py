"""Frames of video files and of folders of pictures, decoded by PyAV and Pillow.

A frame is known by its number: how many frames the decoder gave before it. Neither the container's
count (often wrong) nor its frame rate (often none) says anything about it, so labels mean the same
for every file.

The picture is scaled to a square, not cropped: nothing of it is lost, and all pictures are
distorted alike.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...errors import DataError
from ..images import planes, whole_image
from .live import Live
from .media import pictures_in
from .opening import open_video

if TYPE_CHECKING:
    import av

Picture = npt.NDArray[np.uint8]
Item = TypeVar("Item")
Tell = Callable[[str], object]


class Frame(NamedTuple):
    """One frame.

    Attributes:
        number: Frames that the decoder gave before it.
        time: Seconds since the first frame; NaN where nothing says when it is shown.
        picture: RGB (3, S, S) uint8; None for a frame that the stride skips.
    """

    number: int
    time: float
    picture: Tensor | None


def read_frames(
    path: Path | Live, *, image_size: int, stride: int = 1, keep: Tell | None = None
) -> Iterator[Frame]:
    """Yield the frames of a video file, or of a folder of pictures in their numbers' order.

    Args:
        path: The file or folder, or what is live.
        image_size: S, the side of the square pictures that come out.
        stride: Frames 0, stride, 2 * stride, ... have a picture; the others come without one.
        keep: See `decode`.

    Raises:
        DataError: The file is missing, empty, damaged or no video, or a picture can't be read.
    """
    if isinstance(path, Path) and path.is_dir():
        for number, file in enumerate(pictures_in(path)):
            taken = number % stride == 0
            yield Frame(number, math.nan, planes(whole_image(file, image_size)) if taken else None)
        return
    upright = Upright(image_size)
    first: float | None = None
    for number, frame in enumerate(decode(path, keep=keep)):
        if number == 0:
            first = frame.time
        time = math.nan if first is None or frame.time is None else frame.time - first
        yield Frame(number, time, planes(upright(frame)) if number % stride == 0 else None)


def decode(path: Path | Live, *, keep: Tell | None = None) -> Iterator[av.VideoFrame]:
    """Yield every frame of a video file as the decoder gives it, in the order of being shown.

    Args:
        path: The file, or what is live.
        keep: Keep the frames before a damage: this is told what is wrong. None: that is an error.

    Raises:
        DataError: The file is missing, empty, damaged or no video; it may come after good frames.
    """
    import av

    number = 0
    name = f"'{path}'" if isinstance(path, Path) else str(path)
    problem: Exception | None = None
    try:
        with open_video(path, whole=keep is None) as (container, stream):
            for frame in _decoded(container, stream, flush=keep is not None):
                if isinstance(frame, Exception):
                    problem = frame
                    break
                if container.format.name == "avi" and stream.average_rate:
                    # AVI says when frames are decoded, not when they are shown; its rate is
                    # constant
                    frame.pts, frame.time_base = number, 1 / stream.average_rate
                yield frame
                number += 1
    except av.FFmpegError as error:  # the file's end
        problem = error
    if problem is not None:
        reason = f"damaged after {number} frames: {getattr(problem, 'strerror', '')}"
        if isinstance(problem, EOFError):
            reason = f"cut short or damaged after {number} frames"
        if keep is None or not number:
            raise DataError(f"{name} is {reason}.") from problem
        keep(f"{name} is {reason}.")
    elif not number:
        raise DataError(f"{name} holds a video of 0 frames.")


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, *, flush: bool
) -> Iterator[av.VideoFrame | Exception]:
    """Yield the frames, and at last what is wrong.

    Args:
        container: The open file.
        stream: Its video.
        flush: Whether the decoder, which holds frames back, is to give them where a damage ends
            the video.
    """
    import av

    problem: Exception | None = None
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                problem = EOFError()
                break
            yield from packet.decode()
    except av.FFmpegError as error:
        problem = error
    if problem is not None:
        if flush:
            with suppress(av.FFmpegError):
                yield from stream.codec_context.decode(None)
        yield problem


class Upright:
    """Turns decoded frames into pictures as they are meant to be seen.

    One for a video: it keeps what scaling has to prepare.

    Args:
        size: Scale to squares with this side; None: leave the size.
    """

    def __init__(self, size: int | None = None) -> None:
        from av.video.reformatter import VideoReformatter

        self._size = size
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Picture:
        """Return a frame as RGB (H, W, 3) uint8, turned as the file says.

        Args:
            frame: The frame.
        """
        # swscale widens its filter when it makes pictures smaller, so that nothing flickers
        scaled = self._reformatter.reformat(
            frame, self._size, self._size, "rgb24", interpolation="BILINEAR"
        )
        picture = np.asarray(scaled.to_ndarray(), dtype=np.uint8)
        matrix = frame.side_data.get("DISPLAYMATRIX")
        return picture if matrix is None else _turn(picture, matrix)


def _turn(picture: Picture, side_data: Any) -> Picture:
    """Turn and mirror a picture as a display matrix says, to a multiple of 90 degrees.

    The matrix's upper left part (a, b; c, d) sends the point (x, y) to (a x + c y, b x + d y), y
    pointing down.
    """
    matrix = np.frombuffer(side_data, dtype=np.int32).reshape(3, 3)
    (a, b), (c, d) = matrix[:2, :2].tolist()
    if abs(a) >= abs(b):
        right, down = a, d
    else:
        right, down = c, b
        picture = picture.transpose(1, 0, 2)
    return picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def prefetch(items: Iterable[Item], *, size: int = 64) -> Iterator[Item]:
    """Yield items that a thread makes ahead, side by side with what is done with them.

    What `items` raises is raised here, at its place. When the consumer stops early, the thread
    stops too.

    Args:
        items: Read in the thread.
        size: The most items that wait; the thread pauses when they are there.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(size)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                waiting.put((kind, value), timeout=0.1)
                return

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                put("item", item)
                if stopped.is_set():
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)
        finally:
            if close := getattr(iterator, "close", None):
                close()  # in this thread: a file that is open in it is closed in it

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (got := waiting.get())[0] == "item":
            yield got[1]
        if got[0] == "error":
            raise got[1]
    finally:
        stopped.set()
        thread.join()
