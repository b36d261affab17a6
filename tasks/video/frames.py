"""Frames as people have them, and as a model reads them.

Shapes: H, W a picture's height and width, S the side of the model's square pictures, D features.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...data.spec import VideoSpec

FrameLike: TypeAlias = Any
"""A picture: numpy (H, W, 3) uint8, a PIL image, a tensor (3, H, W) uint8; or (D,) features."""


def as_input(frame: FrameLike, spec: VideoSpec, dtype: torch.dtype) -> Tensor:
    """Turn a frame into what the model reads.

    Args:
        frame: See `FrameLike`. A picture of another size is stretched to the model's square, as
            files are read.
        spec: What the model knows of its videos.
        dtype: The type of the model's features.

    Returns:
        (3, S, S) uint8, or (D,) of that type.

    Raises:
        ValueError: It is no such frame.
    """
    size = spec["feature_size"]
    if size:
        try:
            features = torch.as_tensor(frame, dtype=dtype)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"a frame is no numbers ({error}); this model reads ({size},) features"
            ) from error
        if features.shape != (size,):
            raise ValueError(
                f"a frame has the shape {tuple(features.shape)}; "
                f"this model reads ({size},) features"
            )
        # one pass over them; a stream has no time for two
        if not math.isfinite(features.sum().item()):
            raise ValueError(
                "a frame has a feature that is not finite (NaN, infinity); "
                "the state would never recover"
            )
        return features
    if hasattr(frame, "convert"):  # a PIL image of any kind
        frame = np.array(frame.convert("RGB"))
    if isinstance(frame, np.ndarray):
        found = f"numpy {frame.dtype} {frame.shape}"
        # torch knows neither mirrored nor read-only arrays
        frame = np.require(frame, requirements=["C", "W"])
        picture = torch.from_numpy(frame).movedim(-1, 0) if frame.ndim == 3 else None  # (3, H, W)
    else:
        shape = tuple(getattr(frame, "shape", ()))
        found = f"{type(frame).__name__} {getattr(frame, 'dtype', '')} {shape}"
        picture = frame if isinstance(frame, Tensor) and frame.dim() == 3 else None
    if (
        picture is None
        or picture.dtype != torch.uint8
        or picture.shape[0] != 3
        or not picture.numel()
    ):
        raise ValueError(
            f"a frame is {found}; this model reads pictures: numpy (H, W, 3) uint8, a tensor "
            "(3, H, W) uint8, or a PIL image"
        )
    side = spec["image_size"]
    if picture.shape[1:] != (side, side):
        picture = functional.interpolate(
            picture[None], (side, side), mode="bilinear", antialias=True
        )[0]
    return picture
