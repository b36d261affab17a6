"""The figures that `unrolled plot` draws: one look, every script's letters, PNG, SVG and PDF."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from ...errors import SetupError, UsageError, did_you_mean
from ..run.folder.disk import FULL
from .fonts import families_for, plain, text_width
from .timeline import SAFE

FORMATS = (".png", ".svg", ".pdf")
INK, QUIET, PAPER = "#1e1e1e", "#8a8a8a", "#ffffff"
COLOURS = [*("#{:02x}{:02x}{:02x}".format(*colour) for colour in SAFE[:-1]), INK]
"""Of lines: those of Okabe and Ito, told apart without seeing red or green; black for yellow."""
WIDTH = 5.0
"""Inches: at 300 pixels a letter of 10 points is 8 pixels high."""
_DPI = 200
_LARGEST = 20_000  # pixels of a side


class Picture(Figure):
    """A figure of matplotlib, whose letters are there when it is drawn, and what it says in words.

    It belongs to no window: `save` it, or `savefig` it; a notebook shows it.

    Args:
        height: In inches.
        width: In inches.
        layout: matplotlib's way to place axes; None: as they are placed.

    Attributes:
        said: What the picture says, as lines of text.
    """

    def __init__(self, height: float, *, width: float = WIDTH, layout: Any = "constrained") -> None:
        super().__init__(figsize=(width, height), layout=layout, facecolor=PAPER, dpi=_DPI)
        FigureCanvasAgg(self)
        self.said: list[str] = []

    def draw(self, renderer: Any) -> None:
        """Draw everything, each text in fonts that have its letters."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*missing from font")  # it has been said
            lettered(self)
            super().draw(renderer)


def lettered(figure: Figure) -> None:
    """Give each text of a figure the fonts that have its letters, and take it as it is.

    Args:
        figure: The figure; what is `$x$` in it stays so.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        if not text.get_text().isascii():
            text.set_fontfamily(families_for(text.get_text()))


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure.

    Args:
        figure: The figure.
        path: Where to; its ending says as what, .png, .svg or .pdf.

    Returns:
        The path.

    Raises:
        UsageError: The ending is another, or the file can't be written.
        SetupError: The disk is full.
    """
    path = Path(path)
    ending = path.suffix.lower()
    check_format(path)
    if max(figure.get_size_inches()) * _DPI > _LARGEST and ending == ".png":
        width, height = figure.get_size_inches()
        raise UsageError(f"The picture would be {width:.0f} x {height:.0f} inches: show less.")
    # the same picture is the same file
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with rc_context({"svg.hashsalt": path.stem}):
            figure.savefig(path, dpi=_DPI, metadata=dates.get(ending))
    except OSError as error:
        kind = SetupError if error.errno in FULL else UsageError
        raise kind(f"'{path}' can't be written: {error.strerror}.") from error
    return path


def check_format(path: Path) -> None:
    """Refuse a file that is none of the kinds of pictures.

    Args:
        path: Its path.

    Raises:
        UsageError: Its ending is another.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        near = did_you_mean(kind, FORMATS)
        raise UsageError(f"'{path}': a picture's name ends with {', '.join(FORMATS)}.{near}")


def pixels(figure: Figure, dpi: int = 100) -> npt.NDArray[np.uint8]:
    """Return a figure as (H, W, 3), for loggers.

    Args:
        figure: The figure.
        dpi: Pixels an inch.
    """
    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def bare(axes: Any) -> Any:
    """Leave out an axes' frame and its ticks, and return it.

    Args:
        axes: The axes.
    """
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def open_frame(axes: Any) -> Any:
    """Keep the left and the lower side of an axes' frame, with quiet lines behind the data.

    Args:
        axes: The axes.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=INK)
    return axes


def shortened(text: str, most: int) -> str:
    """Return a label of at most so many characters, in one line.

    Args:
        text: The label.
        most: How many characters it may have.
    """
    text = plain(text)
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def ink_on(colour: Any) -> str:
    """Return what can be read on a colour: black or white.

    Args:
        colour: Red, green, blue, from 0 to 1.
    """
    red, green, blue = colour[:3]
    return "#ffffff" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.55 else INK


def label_inches(text: str, size: float) -> float:
    """Return about how wide a label is.

    Args:
        text: The label.
        size: Of its font, in points.
    """
    return text_width(text, size) / 72


def legend_columns(names: Sequence[str], size: float, most: int) -> int:
    """Return how many columns of a legend the width of a picture has room for.

    Args:
        names: What the legend names.
        size: Of its font, in points.
        most: The most that there shall be.
    """
    em = size / 72  # inches
    widest = max((label_inches(name, size) for name in names), default=0.0)
    # matplotlib's legend: a line of 2 em before each name, 0.8 em between them, 2 em to the next
    return max(1, min(most, len(names), int((WIDTH + em) / (widest + 4.8 * em))))
