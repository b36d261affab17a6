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
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...errors import DataError
from ..formats.folders import is_pipe
from ..images import MAX_PIXELS, planes, whole_image

if TYPE_CHECKING:
    import av

Picture = npt.NDArray[np.uint8]
Item = TypeVar("Item")

VIDEO_SUFFIXES = (
    ".avi",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".ogv",
    ".ts",
    ".webm",
    ".wmv",
)
# FFmpeg's names of the containers that are read. Not those that name other files or addresses to
# read (concat, hls, dash, sdp, imf, image2, vobsub, ...), nor pictures and text drawn as videos.
_CONTAINERS = (
    "asf",
    "avi",
    "dv",
    "flv",
    "gif",
    "h264",
    "hevc",
    "ivf",
    "m4v",
    "matroska",
    "mjpeg",
    "mov",
    "mpeg",
    "mpegts",
    "mpegvideo",
    "mxf",
    "nut",
    "ogg",
    "yuv4mpegpipe",
)
PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")


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


def read_frames(path: Path, *, image_size: int, stride: int = 1) -> Iterator[Frame]:
    """Yield the frames of a video file, or of a folder of pictures in their numbers' order.

    Args:
        path: The file or folder.
        image_size: S, the side of the square pictures that come out.
        stride: Frames 0, stride, 2 * stride, ... have a picture; the others come without one.

    Raises:
        DataError: The file is missing, empty, damaged or no video, or a picture can't be read.
    """
    if path.is_dir():
        for number, file in enumerate(pictures_in(path)):
            taken = number % stride == 0
            yield Frame(number, math.nan, planes(whole_image(file, image_size)) if taken else None)
        return
    upright = Upright(image_size)
    first: float | None = None
    for number, frame in enumerate(decode(path)):
        if number == 0:
            first = frame.time
        time = math.nan if first is None or frame.time is None else frame.time - first
        yield Frame(number, time, planes(upright(frame)) if number % stride == 0 else None)


def decode(path: Path) -> Iterator[av.VideoFrame]:
    """Yield every frame of a video file as the decoder gives it, in the order of being shown.

    Args:
        path: The file.

    Raises:
        DataError: The file is missing, empty, damaged or no video; it may come after good frames.
    """
    import av

    number = 0
    try:
        with open_video(path) as (container, stream):
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    raise DataError(f"'{path}' is cut short or damaged after {number} frames.")
                for frame in packet.decode():
                    if container.format.name == "avi" and stream.average_rate:
                        # AVI says when frames are decoded, not when they are shown; its rate is
                        # constant
                        frame.pts, frame.time_base = number, 1 / stream.average_rate
                    yield frame
                    number += 1
    except av.FFmpegError as error:
        raise DataError(f"'{path}' is damaged after {number} frames: {error.strerror}.") from error
    if not number:
        raise DataError(f"'{path}' holds a video of 0 frames.")


@contextmanager
def open_video(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file and its first video stream; all video files are opened here.

    The file is of one of a few kinds of containers, whatever its name says, and no other file is
    read. Nothing is decoded yet.

    Args:
        path: The file.

    Raises:
        DataError: The file is missing, empty, cut short, of another kind, or its pictures have more
            than `MAX_PIXELS` pixels.
    """
    import av

    piped = is_pipe(path)
    if not piped:
        _check_file(path)
    options = {"format_whitelist": ",".join(_CONTAINERS), "protocol_whitelist": "file"}
    try:
        # a name with a colon in front of a slash would be an address; titles and the like may be in
        # any encoding, or damaged
        container = av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        if piped:
            raise DataError(
                f"'{path}' can't be decoded as it comes ({error.strerror}). An MP4 whose index is "
                "last can't be; Matroska and MPEG-TS can, and MP4 made with -movflags +faststart."
            ) from error
        raise DataError(_unreadable(path, error.strerror)) from error
    with container:
        stream = _video_stream(container, path)
        context = stream.codec_context
        if context is None:
            raise DataError(f"'{path}' is damaged, or its video is of a codec that is not known.")
        if context.width * context.height > MAX_PIXELS:
            raise DataError(
                f"'{path}' has pictures of {context.width:,} x {context.height:,} pixels; more "
                f"than {MAX_PIXELS:,} are not read."
            )
        # pictures may become larger on the way; decoders count what they add at the edges
        context.options = {"max_pixels": str(2 * MAX_PIXELS)}
        if not piped:
            _check_whole(stream, path)
        stream.thread_type = "AUTO"
        yield container, stream


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


def has_pictures(folder: Path) -> bool:
    """Say whether a folder holds pictures, so that it stands for a video.

    Args:
        folder: The folder.
    """
    return any(
        path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != "." for path in folder.iterdir()
    )


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder in the order of their numbers: 2.png before 10.png.

    Args:
        folder: The folder.

    Raises:
        DataError: There is none.
    """
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != "."
    ]
    if not found:
        raise DataError(f"'{folder}' holds no pictures ({', '.join(PICTURE_SUFFIXES)}).")
    return sorted(found, key=lambda path: natural(path.name))


def natural(name: str) -> list[Any]:
    """Return a key that sorts names by the numbers in them.

    Args:
        name: The name.
    """
    found: list[Any] = []
    for text, digits in re.findall(r"([^0-9]+)|([0-9]+)", name):
        number = digits.lstrip("0")
        # by their length first, as numbers are: int() refuses thousands of digits
        found.append((1, 0, text) if text else (0, len(number), number))
    return found


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


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"There is no video '{path}'.")
    if path.stat().st_size == 0:
        raise DataError(f"'{path}' is empty: 0 bytes.")


def _video_stream(container: Any, path: Path) -> av.VideoStream:
    """Return the first stream that is a video; a song's cover is none."""
    import av

    found = [
        f"{stream.type} ({stream.codec_context.name})"
        for stream in container.streams
        if stream.codec_context
    ]
    cover = av.stream.Disposition.attached_pic
    videos: list[av.VideoStream] = [
        stream for stream in container.streams.video if not stream.disposition & cover
    ]
    if not videos:
        what = ", ".join(found) or "no streams at all"
        raise DataError(f"'{path}' holds no video; found: {what}.")
    return videos[0]


def _check_whole(stream: av.VideoStream, path: Path) -> None:
    """Compare the index (MP4 and its relatives have a complete one) with the size of the file."""
    size = path.stat().st_size
    entries = stream.index_entries
    if not len(entries):
        return
    if len(entries) > size:  # before they are looked at one by one
        raise DataError(f"'{path}' claims {len(entries):,} frames in {size:,} bytes.")
    inside = sum(entry.pos + entry.size <= size for entry in entries)
    if inside < len(entries):
        raise DataError(
            f"'{path}' is cut short: {inside} of its {len(entries)} frames lie within its {size:,} "
            "bytes."
        )


def _unreadable(path: Path, reason: str | None) -> str:
    with path.open("rb") as file:
        begins = file.read(12)
    if begins[4:8] == b"ftyp":
        return (
            f"'{path}' is cut short: it begins as an MP4, and its index (moov), often written "
            "last, is missing."
        )
    return (
        f"'{path}' is not a video of a kind that is read ({', '.join(_CONTAINERS)}; {reason}); it "
        f"begins with {begins!r}."
    )
