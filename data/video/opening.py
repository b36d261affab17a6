"""Opens video files: all that are read are opened here, and no file that names another is.

FFmpeg finds out what a file holds by its content, whatever its name says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ..images import MAX_PIXELS
from .live import Live

if TYPE_CHECKING:
    import av

# FFmpeg's names of the containers that are read: all that hold one video in one file. Not those
# that name other files or addresses to read (concat, hls, dash, sdp, imf, image2, vobsub, mlv,
# ...), nor devices, nor pictures and text drawn as videos.
_CONTAINERS = (
    *("asf", "avi", "matroska", "mov", "mpeg", "mpegts", "ogg", "flv", "live_flv", "kux"),
    *("rm", "ivr", "wtv", "nut", "nuv", "nsv", "gxf", "mxf", "mxg", "lxf", "dv", "pva", "ty"),
    *("dhav", "ifv", "ingenient", "cine", "ser", "idf", "mpjpeg", "mjpeg", "mjpeg_2000", "amv"),
    *("h261", "h263", "h264", "hevc", "vvc", "evc", "av1", "obu", "ivf", "m4v", "mpegvideo"),
    *("cavsvideo", "avs2", "avs3", "vc1", "vc1test", "dirac", "dnxhd", "yuv4mpegpipe", "apv"),
    *("gif", "apng", "flic", "film_cpk", "smk", "bink", "roq", "4xm", "swf", "rl2", "rpl"),
    *("ea", "bethsoftvid", "bfi", "c93", "cdxl", "dsicin", "dxa", "hnm", "idcin", "ipmovie"),
    *("ipu", "jv", "lmlm4", "mm", "moflex", "msnwctcp", "mtv", "mv", "mvi", "paf", "psxstr"),
    *("siff", "smush", "thp", "tiertexseq", "tmv", "txd", "usm", "vividas", "vivo", "vmd"),
    *("vqf", "wc3movie", "wsvqa", "xmv", "yop", "avs", "anm", "filmstrip", "iv8", "sga"),
)
_TOLD = "AVI, Matroska, MP4 and MOV, MPEG, Ogg, WebM, WMV and others"
_WAIT = 10.0  # seconds for an address to answer


@contextmanager
def open_video(
    path: Path | Live, *, whole: bool = True
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file and its first video stream; all video files are opened here.

    The file is of a known kind of container, whatever its name says, and no other file is read.
    Nothing is decoded yet.

    Args:
        path: The file, or what is live.
        whole: Refuse a file that is cut short, where its index says so.

    Raises:
        DataError: The file is missing, empty, cut short, of another kind, or its pictures have more
            than `MAX_PIXELS` pixels.
    """
    import av

    if isinstance(path, Live):
        container = _open_live(path)
    else:
        _check_file(path)
        options = {"format_whitelist": ",".join(_CONTAINERS), "protocol_whitelist": "file"}
        try:
            # a name with a colon in front of a slash would be an address
            container = av.open(f"file:{path.absolute()}", options=options, **_lenient())
        except av.FFmpegError as error:
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
        if whole and isinstance(path, Path):
            _check_whole(stream, path)
        stream.thread_type = "AUTO"
        yield container, stream


def _open_live(source: Live) -> av.container.InputContainer:
    """Open a camera, a pipe or an address; of containers, the same as of files."""
    import av

    allowed = (*_CONTAINERS, source.form) if source.form else _CONTAINERS
    options = {
        "format_whitelist": ",".join(allowed),
        "protocol_whitelist": source.protocols,
        **source.options,
    }
    try:
        container: av.container.InputContainer = av.open(
            source.url,
            format=source.form or None,
            options=options,
            **_lenient(),
            timeout=_WAIT if source.form == "rtsp" else None,
        )
        return container
    except (av.FFmpegError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{source} can't be opened: {reason}.{source.remedy}") from error


def _lenient() -> dict[str, Any]:
    """Return what lets titles and the like be in any encoding, or damaged: PyAV 19 always does."""
    import av

    return {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"There is no video '{path}'.")
    if path.stat().st_size == 0:
        raise DataError(f"'{path}' is empty: 0 bytes.")


def _video_stream(container: Any, path: Path | Live) -> av.VideoStream:
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
        f"'{path}' is not a video of a kind that is read ({_TOLD}; {reason}); it "
        f"begins with {begins!r}."
    )
