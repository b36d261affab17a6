"""A video's labels over time: truth above prediction above confidence, and what is confused.

Shapes: T frames, C classes.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import DataError, at_least
from ..pictures.canvas import WIDTH, Picture, bare, ink_on, label_inches, shortened
from ..pictures.fonts import cut
from ..pictures.timeline import LabelBar, palette
from ..shell.models import Opened, opened

if TYPE_CHECKING:
    from ...tasks.video.model import VideoModel

_IGNORED = -100
_LEFT, _RIGHT = 0.95, 0.12  # inches beside the bars
_BAR, _GAP = 0.3, 0.07
_SIDE = 96  # pixels of a frame's picture
_MOST = 24  # classes of a confusion matrix with room for their names
_NAME = 24  # characters of a name


class VideoLabels(NamedTuple):
    """The labels of a video.

    Attributes:
        title: What is written above.
        predicted: Class numbers (T,).
        confidence: Their probabilities (T,).
        truth: Class numbers (T,), -100 where there are none; None where nothing is known.
        seconds: When the last frame is shown; NaN where nothing says so.
        pictures: Some frames (S, S, 3) uint8, in their order.
    """

    title: str
    predicted: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    truth: npt.NDArray[np.int64] | None = None
    seconds: float = math.nan
    pictures: Sequence[npt.NDArray[np.uint8]] = ()


def timeline(
    model: Opened[VideoModel],
    video: str | PathLike[str],
    *,
    truth: str | None = None,
    frames: int = 8,
    trust: str = "",
) -> Picture:
    """Show a video's labels over time with frames of it: truth, prediction, confidence.

    With the truth a confusion matrix stands below: of the frames of a class (a row), how many
    percent were taken for which.

    Args:
        model: A model of videos, its checkpoint, or the folder of its run.
        video: A video file, a folder of pictures, or a .npy file for a model of features.
        truth: The right labels: a CSV of frames or segments, as `label` writes and videos for
            training have, or a text file with a line for each frame.
        frames: Pictures to show.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    at_least(0, frames=frames)
    path = Path(video)

    from ...tasks.video.model import VideoModel
    from ..label import frames_of

    model = opened(model, VideoModel, "label videos", trust=trust)
    times: deque[float] = deque()
    labels = list(model.label_frames(frames_of(model, path, times)))
    if not labels:
        raise DataError(f"'{path}' holds no frames.")
    numbers = {name: number for number, name in enumerate(model.classes)}
    found = VideoLabels(
        str(path),
        np.array([numbers[label.name] for label in labels]),
        np.array([label.probability for label in labels]),
        None if truth is None else _truth(Path(truth), numbers, len(labels)),
        times[-1],
        [] if model.spec["feature_size"] or not frames else _some(path, len(labels), frames),
    )
    return draw(found, model.classes, model.background)


def _truth(path: Path, numbers: dict[str, int], frames: int) -> npt.NDArray[np.int64]:
    if path.suffix.lower() == ".txt":
        from ...data.video.ms_tcn import read_labels

        labels = read_labels(path, numbers)
        if len(labels) != frames:
            raise DataError(f"'{path}' labels {len(labels)} frames, and the video has {frames}.")
        return labels
    from ...data.video.labels import read_frame_labels

    return read_frame_labels(path).numbers(numbers, frames)


def _some(path: Path, frames: int, count: int) -> list[npt.NDArray[np.uint8]]:
    """Return frames of a video, evenly apart."""
    from ...data.video.frames import read_frames

    stride = max(1, -(-frames // count))
    read = read_frames(path, image_size=_SIDE, stride=stride)
    return [frame.picture.permute(1, 2, 0).numpy() for frame in read if frame.picture is not None]


def draw(found: VideoLabels, classes: Sequence[str], background: Sequence[str] = ()) -> Picture:
    """Draw the labels of a video.

    Args:
        found: The labels.
        classes: The names of the classes.
        background: Names of those that nothing happens in.
    """
    colours = palette(classes, background)
    shades = np.array([colours[name] for name in classes]) / 255  # (C, 3)
    known = found.truth is not None and bool((found.truth != _IGNORED).any())
    occur = set(found.predicted.tolist())
    occur |= set() if found.truth is None else set(found.truth.tolist())
    legend = [n for n in range(len(classes)) if n in occur]
    longest = max(len(classes[n]) for n in legend)
    columns = 4 if longest <= 9 else 3 if longest <= 15 else 2
    lines = -(-len(legend) // columns)
    inner = WIDTH - _LEFT - _RIGHT
    strip = inner / len(found.pictures) if found.pictures else 0.0
    strip = min(strip, 0.9)
    heights = [0.3, strip, *([_BAR] if known else []), _BAR, 0.55, 0.34, 0.24 * lines]
    confused = _confusion(found, legend) if known else None
    square = 0.0
    if confused is not None:
        square = min(3.0, 0.42 * len(confused.names))
        names = [shortened(classes[n], _NAME) for n in confused.names]
        margin = max(label_inches(name, 9) for name in names) + 0.15
        heights.append(square + _above(margin, square) + 0.5)
    total = sum(heights) + _GAP * len(heights) + 0.1
    figure = Picture(total, layout=None)
    places = _Places(figure, total)
    title = cut(found.title, 10, (WIDTH - 0.3) * 72, keep="end")  # the end of a path says more
    figure.text(0.15 / WIDTH, 1 - 0.2 / total, title, fontsize=10, va="center")
    places.skip(heights[0])
    if found.pictures:
        axes = places.axes(strip)
        row = np.concatenate(found.pictures, 1)
        axes.imshow(row, aspect="auto", extent=(0, len(found.pictures), 0, 1))
        bare(axes)
        for edge in range(1, len(found.pictures)):
            axes.axvline(edge, color="white", linewidth=1.5)
    if known:
        assert found.truth is not None
        _bar(places.axes(_BAR), found.truth, shades, "truth")
    _bar(places.axes(_BAR), found.predicted, shades, "predicted")
    _confidence(places.axes(0.55), found)
    places.skip(0.34)
    for place, number in enumerate(legend):
        line, column = divmod(place, columns)
        x = (0.15 + column * (WIDTH - 0.3) / columns) / WIDTH
        y = places.below(0.12 + 0.24 * line)
        figure.text(x, y, "■", color=shades[number], fontsize=13, va="center_baseline")
        name = cut(classes[number], 9.5, (WIDTH - 0.3) / columns * 72 - 20)
        figure.text(x + 0.2 / WIDTH, y, name, fontsize=9.5, va="center_baseline")
    places.skip(0.24 * lines)
    frames = len(found.predicted)
    figure.said = [f"{frames} frames, {len(_segments(found.predicted))} segments"]
    if confused is not None:
        _matrix(places, confused, [classes[n] for n in confused.names], square)
        figure.said.append(
            f"{100 * confused.accuracy:.1f} % of {confused.frames} labelled frames are right"
        )
    return figure


class _Places:
    """Places axes one below the other; what is above is taken."""

    def __init__(self, figure: Picture, total: float) -> None:
        self.figure, self.total, self.top = figure, total, 0.0

    def skip(self, height: float) -> None:
        self.top += height + _GAP

    def below(self, distance: float) -> float:
        return 1 - (self.top + distance) / self.total

    def axes(self, height: float, left: float = _LEFT, width: float | None = None) -> Any:
        width = WIDTH - _LEFT - _RIGHT if width is None else width
        place = (left / WIDTH, self.below(height), width / WIDTH, height / self.total)
        self.skip(height)
        return self.figure.add_axes(place)


def _segments(labels: npt.NDArray[np.int64]) -> list[LabelBar]:
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return [LabelBar(a, b, str(labels[a])) for a, b in itertools.pairwise(edges)]


def _bar(axes: Any, labels: npt.NDArray[np.int64], shades: npt.NDArray[Any], name: str) -> None:
    bare(axes)
    axes.set_xlim(0, len(labels))
    for start, end, label in _segments(labels):
        if int(label) >= 0:
            axes.axvspan(start, end, color=shades[int(label)], linewidth=0)
    axes.text(-0.02, 0.5, name, transform=axes.transAxes, ha="right", va="center", fontsize=9.5)


def _confidence(axes: Any, found: VideoLabels) -> None:
    frames = len(found.predicted)
    whole = float(frames)
    timed = not math.isnan(found.seconds) and found.seconds > 0 and frames > 1
    if timed:
        whole = found.seconds * frames / (frames - 1)  # the last lasts as long as the others
    x = np.linspace(0, whole, frames + 1)
    axes.stairs(found.confidence, x, fill=True, color="#b9d3e6")
    axes.stairs(found.confidence, x, color="#0072b2", linewidth=1.2, baseline=None)
    axes.set_xlim(0, whole)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 1], ["0", "1"], fontsize=8.5)
    axes.tick_params(axis="x", labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.text(
        -0.055, 0.5, "confidence", transform=axes.transAxes, ha="right", va="center", fontsize=9
    )
    axes.set_xlabel("seconds" if timed else "frames", fontsize=9, labelpad=1)


class _Confusion(NamedTuple):
    names: list[int]  # numbers of the classes
    shares: npt.NDArray[np.float64]  # (C', C') of a row's frames; NaN in a row without any
    accuracy: float
    frames: int


def _confusion(found: VideoLabels, occurring: list[int]) -> _Confusion:
    assert found.truth is not None
    labelled = found.truth != _IGNORED
    truth, predicted = found.truth[labelled], found.predicted[labelled]
    # the most frequent, where there are many
    frequent = sorted(occurring, key=lambda n: -int((truth == n).sum() + (predicted == n).sum()))
    names = sorted(frequent[:_MOST])
    counts = np.array([[((truth == a) & (predicted == b)).sum() for b in names] for a in names])
    sums = np.array([(truth == a).sum() for a in names])[:, None]
    shares = np.where(sums > 0, counts / np.maximum(sums, 1), np.nan)
    return _Confusion(names, shares, float((truth == predicted).mean()), len(truth))


def _matrix(places: _Places, found: _Confusion, classes: list[str], side: float) -> None:
    names = [shortened(name, _NAME) for name in classes]
    margin = max(label_inches(name, 9) for name in names) + 0.15
    above = _above(margin, side)
    places.skip(above + 0.1)
    axes = places.axes(side, left=min(margin + 0.15, WIDTH - side - 0.1), width=side)
    image = axes.imshow(found.shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_xticks(
        range(len(names)),
        names,
        fontsize=9,
        rotation=90 if above == margin else 40,
        ha="left",
        va="center" if above == margin else "bottom",
        rotation_mode="anchor",
    )
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")
    note = "rows: truth, columns: prediction, in % of a row"
    places.figure.text(0.15 / WIDTH, places.below(0.1), note, fontsize=9, va="center")
    if len(names) <= 12:
        for (row, column), share in np.ndenumerate(found.shares):
            if share >= 0.005:
                colour = image.cmap(image.norm(share))
                axes.text(
                    column,
                    row,
                    f"{100 * share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color=ink_on(colour),
                )


def _above(margin: float, side: float) -> float:
    """Return how high the names above a matrix are: slanting where there is room on its right."""
    slanting = margin + 0.15 + side + 0.77 * margin < WIDTH
    return 0.64 * margin if slanting else margin
