"""The tab of a captioning model: each word of a caption shows where in the picture it looked.

Shapes: T words, h, w the encoder's grid, S side of the picture.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from ...data.images import MAX_PIXELS, open_image
from ...errors import UnrolledError
from ..pages.html import Html, element
from ..pictures.overlay import heated
from ..plots.attention import look, shift_of
from .limits import IMAGE_BYTES, problem, uploaded
from .parts import apart, walk

if TYPE_CHECKING:
    from ...tasks.captioning.model import Captioned, CaptioningModel

_SIDE = 384  # pixels of the picture
_TIMES = 10.0  # the end of the scale at most, in even looks


def tab(model: CaptioningModel, queue_id: str) -> None:
    """Lay out the tab of a captioning model, in the tab that is open.

    Args:
        model: The model.
        queue_id: What its requests wait for together.
    """
    photo = gr.File(
        label=f"Drop a photo: at most {IMAGE_BYTES >> 20} MB and {MAX_PIXELS:,} pixels",
        height=150,
        elem_classes="photo",
    )
    shown = gr.HTML(elem_classes="caption", apply_default_css=False)

    def caption(file: str) -> Any:
        try:
            with uploaded(file, IMAGE_BYTES) as path:
                return captioned(model, path)
        except (UnrolledError, ValueError) as error:
            return problem(error)

    photo.clear(lambda: "", None, shown, show_progress="hidden")
    photo.upload(
        caption,
        photo,
        shown,
        show_progress="minimal",
        concurrency_limit=1,  # what was looked at is noted in the model
        concurrency_id=queue_id,
    )


def captioned(model: CaptioningModel, path: Path) -> Html:
    """Return a photo's caption, each word with where it looked.

    Args:
        model: The model.
        path: The photo.

    Raises:
        DataError: It can't be read.
    """
    picture = open_image(path, _SIDE).permute(1, 2, 0).numpy()  # (S, S, 3)
    seen = open_image(path, model.image_size)
    if model.decoder.attention is None:
        found = model.captions([seen])[0][0]
        note = "The model was made without attention: it can't say where it looked."
        words: Html = element("p", found.text, dir="auto")
        return element("div", _image(picture), words, element("p", note), class_="looked")
    found, gates = look(model, seen)
    return _attended(picture, found, gates, shift_of(model))


def _attended(
    picture: npt.NDArray[np.uint8], found: Captioned, gates: list[float] | None, shift: float
) -> Html:
    assert found.attention is not None
    words = [one for one in found.words if one != "</s>"]
    weights = found.attention[: len(words)].numpy()  # (T, h, w)
    weights = weights * weights[0].size if len(words) else weights  # 1 is an even look
    most = min(_TIMES, max(2.0, float(weights.max()))) if len(words) else 2.0
    spans, subwords = [], any("▁" in text for text in words)
    for number, text in enumerate(words):
        high, wide = np.unravel_index(int(weights[number].argmax()), weights[number].shape)
        where = f"“{text}” looked most {_place(high, wide, weights[number].shape)}"
        said = [_image(heated(picture, weights[number], most, shift), where)]
        if gates is not None:
            share = 100 * gates[number]
            said.append(element("span", class_="gate", style=f"--share:{share:.1f}%"))
            said.append(element("span", f"It looked at all: {share:.0f} %", class_="role"))
        # subwords say where a word begins, words need not
        spans.append(apart(text.replace("▁", " ") if subwords else f" {text}", said))
    hint = "Move over a word, or walk with the arrow keys, to see where it looked."
    return element(
        "div",
        _image(picture, "The photo, as much of it as the model sees"),
        element("div", class_="room") if gates is not None else None,
        walk(spans, label=f"Caption: {found.text}"),
        element("span", hint if spans else "The model says nothing to this.", class_="hint"),
        class_="looked",
    )


def _place(row: Any, column: Any, shape: tuple[int, ...]) -> str:
    """Say where in a grid a place is: in the middle, or at an edge."""
    vertical = ("at the top", "in the middle", "at the bottom")[min(2, 3 * int(row) // shape[0])]
    across = ("left", "", "right")[min(2, 3 * int(column) // shape[1])]
    return f"{vertical} {across}".strip()


def _image(pixels: npt.NDArray[np.uint8], alt: str = "The photo") -> Html:
    return element("img", src=address(pixels), alt=alt)


def address(pixels: npt.NDArray[np.uint8]) -> str:
    """Return a picture as an address that holds it.

    Args:
        pixels: The picture (H, W, 3).
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
