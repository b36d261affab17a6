"""The pictures of a report: those of `unrolled plot`, as parts of the page.

A picture is an image whose content is in its address: nothing is loaded, what is in one can't
change the page, and two can't get in each other's way.
"""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib import rc_context

from ...errors import DataError, UnrolledError, UsageError
from ...loading import first_lines
from ...tasks.captioning.model import CaptioningModel
from ...tasks.char_lm.model import CharModel
from ...tasks.translation.model import TranslationModel
from ...tasks.video.model import VideoModel
from ..pictures.canvas import Picture
from ..pictures.texts import names_file
from ..plots.alignment import alignment
from ..plots.attention import attention, look, shift_of
from ..plots.attention import draw as draw_attention
from ..plots.memory import memory
from ..plots.neurons import neurons
from ..plots.surprise import surprise
from ..plots.timeline import VideoLabels, timeline
from ..plots.timeline import draw as draw_timeline
from ..plots.unrolled import unrolled
from .html import Html, element
from .runs import RunSummary
from .samples import sources

_DPI = 160
_LARGE_SVG = 300_000  # bytes; a picture that is larger is as well seen in pixels
_FRAMES = 1 << 20  # of a video, at most
_EXAMPLES = 2  # of each kind


class Drawing(NamedTuple):
    """A picture that is still to be drawn.

    Attributes:
        title: What it is called.
        caption: What it shows.
        draw: Draws it.
        lines: Whether it is made of lines, so that dark paper may stand for white.
    """

    title: str
    caption: str
    draw: Callable[[], Picture]
    lines: bool = False


def figure(drawing: Drawing) -> Html:
    """Draw a picture, and return it as a part of a page.

    Args:
        drawing: The picture.

    Raises:
        UnrolledError: It can't be drawn.
    """
    try:
        picture = drawing.draw()
    except UnrolledError:
        raise
    except (ValueError, RuntimeError) as error:  # what a model says of what it can't read
        raise UsageError(first_lines(error)) from error
    said = "; ".join(line.strip() for line in picture.said)
    return element(
        "figure",
        element(
            "img",
            src=encoded(picture, lines=drawing.lines),
            alt=f"{drawing.title}. {said}",
            class_="lines" if drawing.lines else None,
        ),
        element("figcaption", element("b", drawing.title), " ", drawing.caption, " ", said),
    )


def encoded(picture: Picture, *, lines: bool) -> str:
    """Return a picture as an address that holds it: of lines as SVG, others as PNG.

    Args:
        picture: The picture.
        lines: Whether it is made of lines.
    """
    buffer = io.BytesIO()
    if lines:
        # the same picture is the same text
        with rc_context({"svg.hashsalt": "report"}):
            picture.savefig(buffer, format="svg", metadata={"Date": None})
        if buffer.tell() <= _LARGE_SVG:
            return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def drawings(run: RunSummary, text: str, example: str) -> Iterator[Drawing]:
    """Yield the pictures of a run's task, none of them drawn yet.

    Args:
        run: The run.
        text: What a language model wrote: shown where there is no example.
        example: A text, a sentence, an image or a video, or a file with one; empty: what the test
            or the built-in data have.
    """
    model = run.model
    if isinstance(model, CharModel):
        yield from _of_text(model, example or text, own=not example)
    elif isinstance(model, TranslationModel):
        for sentence in _sentences(run, example):
            yield Drawing(
                "Alignment.",
                "How much each subword of the translation (down) looked at each of the source.",
                partial(alignment, model, sentence),
            )
    elif isinstance(model, CaptioningModel):
        yield from _of_images(model, run, example)
    elif isinstance(model, VideoModel):
        yield from _of_videos(model, run, example)


def _of_text(model: CharModel, text: str, *, own: bool) -> Iterator[Drawing]:
    whose = "the text that the model itself wrote" if own else "the example"
    if text:
        yield Drawing(
            "Surprise.",
            f"How unlikely each character of {whose} was; below it those that were held likeliest.",
            partial(surprise, model, text),
        )
        yield Drawing(
            "Neurons.",
            f"The units of the state that change most over {whose}.",
            partial(neurons, model, text),
        )
        yield Drawing(
            "Unrolled.",
            "Input, hidden state, output distribution and target at each step.",
            partial(unrolled, model, _few(text)),
        )
    yield Drawing(
        "Memory.",
        "The norm of the loss's gradient at the state so many steps before.",
        partial(memory, model),
        lines=True,
    )
    if not text:
        raise DataError("the model wrote nothing that could be shown; --example TEXT gives one.")


def _few(text: str) -> str:
    """Return the first word that is long enough to unroll over, or the beginning."""
    found = re.search(r"\w{5,9}", text)
    return found[0] if found and not names_file(found[0]) else text


def _sentences(run: RunSummary, example: str) -> list[str]:
    if not example:
        return list(sources(run, _EXAMPLES))
    if not names_file(example):
        return [example]
    from ...data.tables import read_lines

    return [line for line in read_lines(Path(example)) if line.strip()][:_EXAMPLES]


def _of_images(model: CaptioningModel, run: RunSummary, example: str) -> Iterator[Drawing]:
    caption = "Where each word of the caption looked."
    if example:
        yield Drawing("Attention.", caption, partial(attention, model, Path(example)))
    elif run.data == "ScenesData":
        from ...data.captioning.scenes.drawing import draw_scene
        from ...data.captioning.scenes.pictures import picture

        for seed in range(_EXAMPLES):
            draws = np.random.default_rng(seed)
            image = torch.from_numpy(picture(draw_scene("test", draws), draws))  # (3, S, S)
            yield Drawing("Attention.", caption, partial(_attended, model, image))


def _attended(model: CaptioningModel, image: torch.Tensor) -> Picture:
    found, gates = look(model, image)
    return draw_attention(image, found, gates, shift=shift_of(model))


def _of_videos(model: VideoModel, run: RunSummary, example: str) -> Iterator[Drawing]:
    caption = "Truth above prediction above confidence."
    if example:
        shown = "Prediction above confidence, with frames of the video."
        yield Drawing("Timeline.", shown, partial(timeline, model, example))
        return
    if run.tested:
        for path in sorted(run.tested.folder.glob("frames/*.csv"))[:_EXAMPLES]:
            yield Drawing("Timeline.", caption, partial(_tested, model, run, path.name))
    elif run.data == "ClipsData" and model.spec["image_size"]:
        from ...data.video.clips.drawing import draw_clip

        for seed in range(_EXAMPLES):
            draws = np.random.default_rng(seed)
            clip, truth = draw_clip(draws, frames=96, size=model.spec["image_size"])
            yield Drawing("Timeline.", caption, partial(_labelled, model, clip, truth, seed))


def _tested(model: VideoModel, run: RunSummary, name: str) -> Picture:
    """Draw a video of the test from what the model said of each frame."""
    assert run.tested is not None
    numbers = {name: number for number, name in enumerate(model.classes)}
    rows = list(itertools.islice(run.tested.table(f"frames/{name}"), _FRAMES))
    try:
        found = VideoLabels(
            name.removesuffix(".csv"),
            np.array([numbers[row["label"]] for row in rows]),
            np.array([float(row["probability"]) for row in rows]),
            np.array([numbers[row["truth"]] if row["truth"] else -100 for row in rows]),
        )
    except (KeyError, ValueError) as error:
        raise DataError(f"'{name}' is not what a test of this model leaves: {error}.") from error
    if not rows:
        raise DataError(f"'{name}' holds no frames.")
    return draw_timeline(found, model.classes, model.background)


def _labelled(model: VideoModel, clip: np.ndarray, truth: np.ndarray, seed: int) -> Picture:
    numbers = {name: number for number, name in enumerate(model.classes)}
    labels = model.label(clip)
    found = VideoLabels(
        f"a clip of the built-in data (seed {seed})",
        np.array([numbers[label.name] for label in labels]),
        np.array([label.probability for label in labels]),
        truth,
        pictures=list(clip[:: -(-len(clip) // 8)]),
    )
    return draw_timeline(found, model.classes, model.background)
