"""A picture that shows where an attention looked, and can still be seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap

# From grey through orange to yellow: lighter is more, also without seeing colours.
HEAT = LinearSegmentedColormap.from_list(
    "heat", ["#5a5a6e", "#7b4a86", "#d5603a", "#f5a623", "#fff4a8"]
)
_COVER = 0.65  # how much of the picture the warmest place covers
_COLD = 0.25  # and a place that is not looked at


def heated(
    pixels: npt.NDArray[np.uint8],
    weights: npt.NDArray[np.floating],
    most: float,
    shift: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Lay the warmth of an attention over a picture.

    Args:
        pixels: The picture (S, S, 3).
        weights: How much each place of a grid was looked at (h, w).
        most: The weight that is warmest, the same for all pictures that are compared.
        shift: How far right of, and below, the middles of the grid's places they really look, as a
            share of the picture's side.

    Returns:
        (S, S, 3).
    """
    from PIL import Image

    edged = np.pad(np.asarray(weights, dtype=np.float32) / most, 1, mode="edge")
    high, wide = np.shape(weights)
    left, top = 1 - shift * wide, 1 - shift * high
    small = Image.fromarray(edged).resize(
        (pixels.shape[1], pixels.shape[0]),
        Image.Resampling.BICUBIC,
        box=(left, top, left + wide, top + high),
    )
    heat = np.asarray(small).clip(0, 1)
    colour = HEAT(heat)[:, :, :3] * 255
    cover = (_COLD + (_COVER - _COLD) * heat)[:, :, None]
    grey = pixels.mean(axis=2, keepdims=True)
    # where nobody looks the picture fades, but stays
    seen = pixels * (0.45 + 0.55 * heat[:, :, None]) + grey * (0.55 - 0.55 * heat[:, :, None])
    warm: npt.NDArray[np.uint8] = np.clip((1 - cover) * seen + cover * colour, 0, 255).astype(
        np.uint8
    )
    return warm
