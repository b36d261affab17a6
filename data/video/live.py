"""What is live: a camera, a pipe, standard input, an address."""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...errors import SetupError, UsageError, quoted

_CAMERAS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


class Live(NamedTuple):
    """A source that can be read once, from now on.

    Attributes:
        name: What the user calls it.
        url: What FFmpeg opens.
        form: FFmpeg's format where it has to be said: of a device, of rtsp.
        protocols: The protocols that it may use.
        options: More of FFmpeg's options.
        remedy: What to do where it can't be opened, after a line end.
    """

    name: str
    url: str
    form: str
    protocols: str
    options: Mapping[str, str] = {}
    remedy: str = ""

    def __str__(self) -> str:
        return f"'{quoted(self.name, 200)}'"


def live_source(name: str, *, network: bool) -> Live | None:
    """Return what a name means that is no file: `0` for a camera, `-`, a FIFO, `rtsp://...`.

    Args:
        name: The name.
        network: Whether an address may be opened.

    Returns:
        The source; None for the name of a file or a folder.

    Raises:
        UsageError: It is an address that is not opened.
        SetupError: There are no cameras on this system that PyAV reads.
    """
    if address := _ADDRESS.match(name):
        scheme = address[1].lower()
        if scheme not in ("rtsp", "rtsps"):
            raise UsageError(
                f"'{quoted(name, 200)}' is an address: download the video first, and name the file."
            )
        if not network:
            raise UsageError(
                f"'{quoted(name, 200)}' is on a network, which is read only where you say so: "
                "--allow_network."
            )
        protocols = "rtsp,rtp,rtcp,udp,tcp,tls,srtp,crypto"
        # over TCP nothing is lost on the way, and one port is enough
        return Live(name, name, "rtsp", protocols, {"rtsp_transport": "tcp"})
    path = Path(name)
    if name == "-":
        return Live("standard input", "pipe:0", "", "pipe", remedy=_ONLY_FORWARDS)
    try:
        piped = stat.S_ISFIFO(path.stat().st_mode)
        there = True
    except OSError:
        piped = there = False
    if piped:
        return Live(name, f"file:{path.absolute()}", "", "file", remedy=_ONLY_FORWARDS)
    if there or not (name.isdecimal() or name.startswith("video=")):
        return None
    form = _CAMERAS.get(sys.platform)
    if form is None:
        raise SetupError(f"Cameras are read on {', '.join(_CAMERAS)}, not on {sys.platform}.")
    if form == "dshow" and name.isdecimal():
        raise UsageError(f"A camera has a name on Windows: 'video=NAME' in place of {name}.")
    url = f"/dev/video{name}" if form == "v4l2" and name.isdecimal() else name
    remedy = f"\nIs a camera there, may you read it, and is no other program using it? ({url})"
    return Live(f"camera {name}", url, form, "file", remedy=remedy)


_ONLY_FORWARDS = (
    "\nA pipe can't go back: an MP4 needs its index in front (ffmpeg -movflags +faststart), or "
    "take MPEG-TS or Matroska."
)
