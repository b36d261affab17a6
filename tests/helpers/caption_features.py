"""Captions of images of which there are features, small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from unrolled.data import CaptionFeatures

COUNT, SIZE = 8, 6


def rows(number: int) -> np.ndarray:
    """The features of an image: one to three regions, whose first number is the image's."""
    found = np.full((1 + number % 3, SIZE), 0.5, np.float32)
    found[:, 0] = number
    return found


def write_captions(root: Path) -> None:
    lines = [f"im{number}.jpg,a thing {number}" for number in range(COUNT)]
    (root / "captions.csv").write_text("\n".join(["image,caption", *lines]) + "\n")


def made(root: Path, **settings) -> CaptionFeatures:
    small = {"min_count": 1, "batch_size": 4, "cache_dir": str(root / "cache")}
    return CaptionFeatures(str(root), **{**small, **settings})


def seen(data: CaptionFeatures) -> dict[str, torch.Tensor]:
    """The features of every image of all parts, without padding, by the image's name."""
    found = {}
    for part in ("train", "val", "test"):
        names = data.inputs(part)
        for batch in data.loader(part) or ():
            for row, number in enumerate(batch.number.tolist()):
                found[names[number].image] = batch.image[row, : batch.places[row]]
    return found


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)
