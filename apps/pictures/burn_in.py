"""A video with its labels burnt in: the label with its colour above, the timeline below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .fonts import cut, draw_text, line_height, text_width
from .looks import looks_of
from .timeline import Colour, LabelBar, draw_bar

if TYPE_CHECKING:
    from PIL import Image

_LEAST = 240  # pixels of the shorter side: smaller videos are enlarged, for the text to be read
_RATE = 25  # frames a second where the source doesn't say


def burn_in(
    video: Path, target: Path, segments: Sequence[LabelBar], colours: dict[str, Colour]
) -> None:
    """Write a video with the labels of its frames, each shown when it is in the source; no sound.

    Args:
        video: A video file, or a folder of pictures.
        target: The MP4 to write.
        segments: The labels of every frame.
        colours: By label.
    """
    import av

    looks = looks_of(video)
    pictures = _pictures(video)
    first = next(pictures)
    size = _enlarged(first[0].size)
    strip = max(8, size[1] // 14)
    bar = draw_bar(segments, colours, size[0], strip)
    text = max(14, size[1] // 16)
    shown = {name: cut(name, text, size[0] - 20) for name in colours}
    names = (segment.label for segment in segments for _ in range(segment.start, segment.end))
    last = -1
    with av.open(str(target), "w") as container:
        stream = container.add_stream(
            "libx264", rate=_RATE, options={"crf": "20", "preset": "veryfast"}
        )
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        looks.tag(stream.codec_context)
        stream.codec_context.time_base = Fraction(1, 90_000)
        for number, ((picture, seconds), name) in enumerate(
            zip(chain([first], pictures), names, strict=False)
        ):
            place = number / segments[-1].end
            drawn = _labelled(picture, size, shown[name], colours[name], bar, place, text)
            image = av.VideoFrame.from_ndarray(np.asarray(drawn), format="rgb24")
            ticks = round((number / _RATE if seconds is None else seconds) * 90_000)
            # a damaged clock may stand still, MP4's must not
            image.pts = last = max(ticks, last + 1)
            image.time_base = stream.codec_context.time_base
            container.mux(stream.encode(looks.encoded(image)))
        container.mux(stream.encode())


def _pictures(video: Path) -> Iterator[tuple[Image.Image, float | None]]:
    """Yield frames in their own size, and when they are shown in seconds."""
    from PIL import Image

    from ...data.images import whole_image
    from ...data.video.frames import Upright, decode, prefetch
    from ...data.video.media import pictures_in

    if video.is_dir():
        for file in pictures_in(video):
            yield Image.fromarray(whole_image(file)), None
        return
    upright = Upright()
    start: float | None = None
    for frame in prefetch(decode(video), size=8):
        if start is None:
            start = frame.time
        seconds = None if frame.time is None or start is None else frame.time - start
        yield Image.fromarray(upright(frame)), seconds


def _enlarged(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size to write: so large that text can be read, and even, as H.264 wants it."""
    factor = max(1, -(-_LEAST // min(size)))
    width, height = (side * factor + side * factor % 2 for side in size)
    return width, height


def _labelled(
    picture: Image.Image,
    size: tuple[int, int],
    name: str,
    colour: Colour,
    bar: Image.Image,
    place: float,
    text: int,
) -> Image.Image:
    from PIL import Image, ImageDraw

    if picture.size != size:
        whole = picture.width * 2 <= size[0]  # pixels stay squares where each becomes several
        picture = picture.resize(
            size, Image.Resampling.NEAREST if whole else Image.Resampling.BILINEAR
        )
    draw = ImageDraw.Draw(picture)
    right, bottom = 10 + text_width(name, text), 4 + line_height(text)
    draw.rectangle((0, 0, right + 10, bottom + 4), fill=(0, 0, 0))
    draw.rectangle((0, 0, 5, bottom + 4), fill=colour)
    draw_text(picture, (10, 4), name, size=text, fill=(255, 255, 255))
    picture.paste(bar, (0, size[1] - bar.height))
    x = round(place * (size[0] - 1))
    draw.rectangle(
        (x - 1, size[1] - bar.height - 4, x + 1, size[1]), fill=(255, 255, 255), outline=(0, 0, 0)
    )
    return picture
