"""Pictures of where a captioner looked: a panel for each word, warm where its attention was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_COLUMNS = 5
_MARGIN = 6
_LINE = 26  # height of a word under its panel
_FONT = 16
# Dark, purple, orange, yellow: also told apart without seeing colours.
_WARMTH = np.array([[0, 0, 40], [120, 20, 110], [240, 120, 40], [255, 245, 150]], dtype=np.float32)


def attention_panels(picture: Tensor, words: Sequence[str], attention: Tensor) -> Image:
    """Draw the picture, and once more for each word with the attention over it.

    Args:
        picture: The picture (3, S, S) uint8.
        words: T words.
        attention: How much each looked at each place of a grid (T, h, w); each panel is scaled to
            its largest.

    Returns:
        The panels in rows, each with its word below.
    """
    from PIL import Image, ImageDraw, ImageFont

    pixels = picture.permute(1, 2, 0).numpy()
    size = pixels.shape[0]
    panels = [pixels, *(_warmed(pixels, weights) for weights in attention.numpy())]
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width, height = size + _MARGIN, size + _MARGIN + _LINE  # of a panel
    sheet = Image.new("RGB", (columns * width + _MARGIN, rows * height + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT)
    for number, (panel, word) in enumerate(zip(panels, ["", *words], strict=True)):
        row, column = divmod(number, columns)
        left, top = column * width + _MARGIN, row * height + _MARGIN
        sheet.paste(Image.fromarray(panel), (left, top))
        middle = (left + size / 2, top + size + _LINE / 2)
        draw.text(middle, word, fill="black", font=font, anchor="mm")
    return sheet


def _warmed(
    pixels: npt.NDArray[np.uint8], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    from PIL import Image

    size = pixels.shape[0]
    small = Image.fromarray(weights / weights.max())
    heat = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))
    heat = heat.clip(0, 1)[:, :, None]
    stops = np.linspace(0, 1, len(_WARMTH))
    colour = np.stack([np.interp(heat[:, :, 0], stops, channel) for channel in _WARMTH.T], axis=2)
    grey = pixels.mean(axis=2, keepdims=True)
    # What was not looked at turns grey and dark; what was keeps its colours under the warmth.
    kept = heat * pixels + (1 - heat) * 0.6 * grey
    return np.asarray(0.55 * kept + 0.45 * colour).clip(0, 255).astype(np.uint8)
