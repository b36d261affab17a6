"""A picture of what happens when: a video's segments as coloured bars over time, with a legend."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from PIL import Image

Colour: TypeAlias = tuple[int, int, int]

_WIDTH, _EDGE = 1200, 24  # pixels of the picture and around it
_BAR, _LINE = 72, 26  # height of the bar and of a line of text
_INK, _PAPER, _QUIET = (30, 30, 30), (255, 255, 255), (200, 200, 200)


class Segment(NamedTuple):
    """Frames with one label.

    Attributes:
        start: The first frame.
        end: The frame after the last.
        label: The name of the class.
    """

    start: int
    end: int
    label: str


def palette(classes: Sequence[str], background: Sequence[str] = ()) -> dict[str, Colour]:
    """Return a colour for each class: neighbours in the list differ most, the background is grey.

    Args:
        classes: Names of the classes.
        background: Names of those that nothing happens in.
    """
    colours: dict[str, Colour] = {}
    number = 0
    for name in classes:
        if name in background:
            colours[name] = _QUIET
            continue
        hue = (0.58 + number * 0.618034) % 1  # the golden section: no two hues are ever close
        light, saturation = ((0.5, 0.72), (0.36, 0.6), (0.66, 0.65))[number // 8 % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, light, saturation)
        colours[name] = (round(255 * red), round(255 * green), round(255 * blue))
        number += 1
    return colours


def draw_bar(
    segments: Sequence[Segment], colours: dict[str, Colour], width: int, height: int
) -> Image.Image:
    """Draw the segments one after the other.

    Args:
        segments: The segments, of every frame from 0.
        colours: By label.
        width: In pixels; the whole video.
        height: In pixels.
    """
    from PIL import Image, ImageDraw

    bar = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(bar)
    frames = segments[-1].end
    for segment in segments:
        left, right = (round(place * width / frames) for place in (segment.start, segment.end))
        if right > left:
            draw.rectangle((left, 0, right - 1, height), fill=colours[segment.label])
    return bar


def draw_timeline(
    segments: Sequence[Segment],
    colours: dict[str, Colour],
    *,
    title: str,
    seconds: float = math.nan,
) -> Image.Image:
    """Draw a video's timeline with its legend.

    Args:
        segments: The segments, of every frame from 0.
        colours: By label, in the order of the legend.
        title: What is written above.
        seconds: When the last frame is shown; NaN: the axis counts frames.
    """
    from PIL import Image, ImageDraw, ImageFont

    frames = segments[-1].end
    inner = _WIDTH - 2 * _EDGE
    counts = {
        name: sum(part.end - part.start for part in segments if part.label == name)
        for name in colours
    }
    shares = {name: f"{name}  {100 * count / frames:.1f} %" for name, count in counts.items()}
    entries = [(name, share) for name, share in shares.items() if counts[name]]
    text = ImageFont.load_default(17)
    cell = max(int(text.getlength(entry)) for _, entry in entries) + 54
    columns = max(1, inner // cell)
    rows = -(-len(entries) // columns)
    top = _EDGE + _LINE + 8
    legend = top + _BAR + _LINE + 26
    picture = Image.new("RGB", (_WIDTH, legend + rows * _LINE + _EDGE), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_EDGE, _EDGE), _cut(title, text, inner), fill=_INK, font=text)
    picture.paste(draw_bar(segments, colours, inner, _BAR), (_EDGE, top))
    _draw_axis(draw, text, frames=frames, seconds=seconds, top=top + _BAR, inner=inner)
    for number, (name, entry) in enumerate(entries):
        x, y = _EDGE + number % columns * cell, legend + number // columns * _LINE
        draw.rectangle((x, y + 2, x + 18, y + 20), fill=colours[name])
        draw.text((x + 26, y), entry, fill=_INK, font=text)
    return picture


def _draw_axis(draw: Any, text: Any, *, frames: int, seconds: float, top: int, inner: int) -> None:
    timed = not math.isnan(seconds) and seconds > 0 and frames > 1
    # the last frame lasts as long as the others
    whole = seconds * frames / (frames - 1) if timed else float(frames)
    step = _round_step(whole / 8 if timed else max(1.0, whole / 8))
    digits = max(0, -math.floor(math.log10(step))) if timed else 0
    for number in range(int(whole / step + 1e-9) + 1):
        x = _EDGE + round(number * step / whole * (inner - 1))
        draw.line((x, top, x, top + 6), fill=_INK)
        unit = (" s" if timed else " frames") if number == 0 else ""
        label = f"{number * step:.{digits}f}{unit}"
        length = text.getlength(label)
        left = x if number == 0 else min(x - length / 2, _WIDTH - _EDGE - length)
        draw.text((left, top + 8), label, fill=_INK, font=text)


def _round_step(least: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is not below a number."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def _cut(words: str, text: Any, width: int) -> str:
    """Leave out a text's beginning where it is too long: the end of a path says more."""
    if text.getlength(words) <= width:
        return words
    while words and text.getlength(f"...{words}") > width:
        words = words[1:]
    return f"...{words}"
