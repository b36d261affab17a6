"""A video's labels over time, on the page: segments to move over, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ..pages.html import Html, element
from ..pictures.timeline import Colour, palette
from .parts import walk, word

if TYPE_CHECKING:
    from ...tasks.video.labels import FrameLabel
    from ...tasks.video.model import VideoModel

_POINTS = 400  # of the line of confidence
_MOST = 300  # segments that are drawn


class Band(NamedTuple):
    """Frames with one label.

    Attributes:
        name: The label.
        start: The first frame.
        end: The frame after the last.
    """

    name: str
    start: int
    end: int


class Line:
    """The labels of a video so far.

    Args:
        model: What labels it.
    """

    def __init__(self, model: VideoModel) -> None:
        self.model = model
        self.bands: list[Band] = []
        self.sure: list[float] = []
        self.seconds: list[float] = []

    def add(self, label: FrameLabel, seconds: float) -> None:
        """Add a frame.

        Args:
            label: Its label.
            seconds: When it is shown; NaN where nothing says so.
        """
        number = len(self.sure)
        self.sure.append(label.probability)
        self.seconds.append(seconds)
        if self.bands and self.bands[-1].name == label.name:
            self.bands[-1] = self.bands[-1]._replace(end=number + 1)
        else:
            self.bands.append(Band(label.name, number, number + 1))

    @property
    def colours(self) -> dict[str, Colour]:
        """The colours of the labels; several at a time have one of their own."""
        together = [name for name in self.names if name not in self.model.classes]
        return palette([*self.model.classes, *together], [*self.model.background, ""])

    @property
    def names(self) -> list[str]:
        """The labels that occur, in their order."""
        return list(dict.fromkeys(band.name for band in self.bands))

    def drawn(self) -> Html:
        """Return the line as it is now."""
        frames, colours = len(self.sure), self.colours
        bands = self.bands[-_MOST:]
        first = bands[0].start if bands else 0
        hidden = len(self.bands) - len(bands)
        return element(
            "div",
            walk(
                (self._drawn(band, colours) for band in bands),
                label=f"{len(self.bands)} segments of {frames} frames",
            ),
            element("span", "Move over a segment, or walk with the arrow keys.", class_="hint"),
            _sureness(np.array(self.sure[first:])),
            element(
                "div",
                element("span", self._time(first)),
                element("span", "how sure it was, 0 to 100 %", class_="quiet"),
                element("span", self._time(frames - 1)),
                class_="ends",
            ),
            element("p", f"{hidden} segments before are not drawn.", class_="quiet")
            if hidden
            else None,
            element(
                "div",
                [element("span", swatch(colours[name]), named(name)) for name in self.names[:60]],
                class_="legend",
            ),
            class_="line",
        )

    def _drawn(self, band: Band, colours: dict[str, Colour]) -> Html:
        mean = sum(self.sure[band.start : band.end]) / (band.end - band.start)
        frames = f"frames {band.start} to {band.end - 1}"
        if not math.isnan(self.seconds[band.start]):
            last = f"{self._time(band.start)} to {self._time(band.end - 1)}"
            frames = f"{last}, {frames}"
        said = [
            element("b", named(band.name)),
            element("span", f"{frames}; sure to {100 * mean:.0f} % in the mean", class_="role"),
        ]
        drawn = word("", said, shade=css(colours[band.name]))
        # as wide as it is long
        return Html(drawn.replace('style="', f'style="flex:{band.end - band.start} 1 0;', 1))

    def _time(self, frame: int) -> str:
        seconds = self.seconds[frame] if self.seconds else math.nan
        return f"frame {max(frame, 0)}" if math.isnan(seconds) else f"{seconds:.2f} s"


def named(name: str) -> str:
    """Return a label as it is shown.

    Args:
        name: The label; empty where a frame has none.
    """
    return name or "(none)"


def css(colour: Colour) -> str:
    """Return a colour as CSS writes it.

    Args:
        colour: Red, green and blue.
    """
    return f"rgb({colour[0]},{colour[1]},{colour[2]})"


def swatch(colour: Colour) -> Html:
    """Return a square of a colour.

    Args:
        colour: Red, green and blue.
    """
    return element("i", style=f"background:{css(colour)}")


def _sureness(values: npt.NDArray[np.float64]) -> Html:
    """Return the line of confidence; of many frames the least of each group, which matters most."""
    group = max(1, math.ceil(len(values) / _POINTS))
    low = np.minimum.reduceat(values, np.arange(0, len(values), group)) if len(values) else values
    wide = max(1, len(low) - 1)
    points = " ".join(
        f"{100 * place / wide:.2f},{100 - 100 * value:.1f}" for place, value in enumerate(low)
    )
    line: Sequence[Html] = [element("polyline", points=points)]
    return element(
        "svg", line, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true"
    )
