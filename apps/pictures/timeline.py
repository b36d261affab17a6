"""A picture of what happens when: a video's segments as coloured bars over time, with a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .fonts import cut, draw_text, text_width

if TYPE_CHECKING:
    from PIL import Image

Colour: TypeAlias = tuple[int, int, int]

_WIDTH, _EDGE = 1200, 24  # pixels of the picture and around it
_BAR, _LINE = 72, 26  # height of the bar and of a line of text
_FONT, _BOX = 17, 54  # size of the text, and what an entry of the legend needs besides it
_INK, _PAPER, _QUIET = (30, 30, 30), (255, 255, 255), (200, 200, 200)


SAFE: tuple[Colour, ...] = (
    (0, 114, 178),  # blue
    (230, 159, 0),  # orange
    (0, 158, 115),  # green
    (213, 94, 0),  # vermilion
    (86, 180, 233),  # sky blue
    (204, 121, 167),  # pink
    (240, 228, 66),  # yellow
)


class LabelBar(NamedTuple):
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
    """Return a colour for each class, all of them told apart without seeing red or green.

    The first are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), the others differ from
    them in lightness; the background is grey.

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
        red, green, blue = SAFE[number % len(SAFE)]
        if shade := number // len(SAFE):  # darker, lighter, and so on, ever closer to the edge
            share = 1 - 0.6 * 0.72 ** ((shade - 1) // 2)
            to = 255 * (1 - shade % 2)
            red, green, blue = (round(part + (to - part) * share) for part in (red, green, blue))
        colours[name] = (red, green, blue)
        number += 1
    return colours


def draw_bar(
    segments: Sequence[LabelBar], colours: dict[str, Colour], width: int, height: int
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
    segments: Sequence[LabelBar],
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
    from PIL import Image, ImageDraw

    frames = segments[-1].end
    inner = _WIDTH - 2 * _EDGE
    counts = {
        name: sum(part.end - part.start for part in segments if part.label == name)
        for name in colours
    }
    shares = {name: f"{100 * count / frames:.1f} %" for name, count in counts.items() if count}
    space = max(text_width(share, _FONT) for share in shares.values()) + _BOX
    # a long name loses its end, not its share
    entries = {name: cut(name, _FONT, inner - space) for name in shares}
    cell = max(text_width(entry, _FONT) for entry in entries.values()) + space
    columns = max(1, inner // cell)
    rows = -(-len(entries) // columns)
    top = _EDGE + _LINE + 8
    legend = top + _BAR + _LINE + 26
    picture = Image.new("RGB", (_WIDTH, legend + rows * _LINE + _EDGE), _PAPER)
    draw = ImageDraw.Draw(picture)
    above = cut(title, _FONT, inner, keep="end")  # the end of a path says more
    draw_text(picture, (_EDGE, _EDGE), above, size=_FONT, fill=_INK)
    picture.paste(draw_bar(segments, colours, inner, _BAR), (_EDGE, top))
    _draw_axis(picture, draw, frames=frames, seconds=seconds, top=top + _BAR, inner=inner)
    for number, (name, entry) in enumerate(entries.items()):
        x, y = _EDGE + number % columns * cell, legend + number // columns * _LINE
        draw.rectangle((x, y + 2, x + 18, y + 20), fill=colours[name])
        draw_text(picture, (x + 26, y), entry, size=_FONT, fill=_INK)
        after = x + 38 + text_width(entry, _FONT)  # apart: the name may run from right to left
        draw_text(picture, (after, y), shares[name], size=_FONT, fill=_INK)
    return picture


def _draw_axis(
    picture: Image.Image, draw: Any, *, frames: int, seconds: float, top: int, inner: int
) -> None:
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
        length = text_width(label, _FONT)
        left = x if number == 0 else min(x - length / 2, _WIDTH - _EDGE - length)
        draw_text(picture, (left, top + 8), label, size=_FONT, fill=_INK)


def _round_step(least: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is not below a number."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
