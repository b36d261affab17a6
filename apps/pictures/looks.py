"""How a video is meant to be shown, beside its pixels: their aspect, and what its colours are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import av

_UNSAID = 2  # FFmpeg's number for a colour that is not said
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}  # those that swscale makes, by what files say


class Looks(NamedTuple):
    """What a file says of its pictures; numbers are those of ITU-T H.273.

    Attributes:
        aspect: Width by height of a pixel, upright.
        matrix: How colours become YUV.
        range: 1 for 16 to 235, 2 for all of a byte, 0 where nothing is said.
        transfer: How light becomes numbers.
        primaries: What red, green and blue are.
    """

    aspect: Fraction = Fraction(1)
    matrix: int = _UNSAID
    range: int = 0
    transfer: int = _UNSAID
    primaries: int = _UNSAID

    def tag(self, context: Any) -> None:
        """Say so in a file that is made.

        Args:
            context: The codec of its video.
        """
        context.sample_aspect_ratio = self.aspect
        context.colorspace, context.color_range = self.matrix, self.range
        context.color_trc, context.color_primaries = self.transfer, self.primaries

    def encoded(self, image: av.VideoFrame) -> av.VideoFrame:
        """Return a picture in YUV as the file will say that it is.

        Args:
            image: The picture in RGB.
        """
        made = image.reformat(
            format="yuv420p",
            dst_colorspace=_MATRICES.get(self.matrix),
            dst_color_range=self.range or None,
        )
        made.pts, made.time_base = image.pts, image.time_base
        return made


def looks_of(path: Path) -> Looks:
    """Return what a video file says of its pictures.

    Args:
        path: The file, or a folder of pictures.
    """
    from ...data.video.opening import open_video

    if path.is_dir():
        return Looks()
    with open_video(path, whole=False) as (container, stream):
        frame = next(container.decode(stream), None)
        aspect = Fraction(
            stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1
        )
        if frame is None:
            return Looks()
        if not Fraction(1, 100) < aspect < 100:  # a damaged header
            aspect = Fraction(1)
        turned = abs(frame.rotation) % 180 == 90
        primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
        return Looks(
            1 / aspect if turned else aspect,
            int(frame.colorspace),
            int(frame.color_range),
            transfer,
            primaries,
        )
