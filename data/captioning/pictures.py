"""Pictures from image files and from data sets: read one by one, or decoded once and kept.

Shapes: N images, S side of a picture.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import DataError
from ..arrays import ArrayFile, write_array
from ..cache import cached, cached_json, key_of, stamps
from ..images import check_image, open_image
from .dataset import Augmentation, PictureStore

Missing = Literal["error", "skip"]


class Images(Protocol):
    """Where images come from."""

    @property
    def identity(self) -> list[Any]:
        """Plain data that changes whenever an image does."""

    def __len__(self) -> int: ...

    def open(self, number: int, size: int) -> Tensor:
        """Return an image as a square picture; a DataError says what is wrong with it."""


class ImageFiles:
    """Image files.

    Args:
        paths: Where they are.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    @cached_property
    def identity(self) -> list[Any]:
        """Names, sizes and times of change; none of what can't be found, as a link to nowhere."""
        return stamps(*self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, number: int, size: int) -> Tensor:
        """Return an image as a square picture.

        Args:
            number: Its number.
            size: S.
        """
        return open_image(self.paths[number], size)


class OpenedPictures:
    """Pictures that are decoded each time they are read.

    Args:
        images: Where they come from.
        size: S.
        missing: `skip`: one that can't be read is left out, with a warning; `error`: it is an
            error.
    """

    def __init__(self, images: Images, size: int, *, missing: Missing) -> None:
        self._images = images
        self._size = size
        self._missing = missing

    @property
    def identity(self) -> list[Any]:
        """Of the images and of the way they are read."""
        # What was kept with `skip` may lack pictures, which `error` must not take in silence.
        return [self._images.identity, self._size, self._missing]

    def read(self, number: int) -> Tensor | None:
        """Return a picture, None for one that is left out.

        Args:
            number: Its number.
        """
        try:
            return self._images.open(number, self._size)
        except DataError as error:
            if self._missing == "error":
                raise
            warnings.warn(f"Left out: {error}", stacklevel=2)
            return None


class KeptPictures:
    """Pictures that were decoded once.

    Args:
        file: All pictures, (N, 3, S, S) uint8.
        identity: What they were made from.
        whole: Which of them could be read, (N,) bool; None: all of them.
    """

    def __init__(
        self, file: ArrayFile, identity: list[Any], whole: npt.NDArray[np.bool_] | None = None
    ) -> None:
        self._file = file
        self.identity = identity
        self._whole = whole

    def read(self, number: int) -> Tensor | None:
        """Return a picture, None for one that is left out.

        Args:
            number: Its number.
        """
        there = self._whole is None or self._whole[number]
        return torch.from_numpy(self._file[number]) if there else None


def kept(pictures: PictureStore, length: int, size: int, cache: Path) -> KeptPictures:
    """Decode pictures once, and keep them as they are fed to a network.

    Args:
        pictures: The pictures.
        length: N.
        size: S.
        cache: Folder for them.
    """

    def make(folder: Path) -> None:
        folder.mkdir()
        whole = np.ones(length, np.bool_)

        def blocks() -> Iterator[npt.NDArray[np.uint8]]:
            blank = torch.zeros(3, size, size, dtype=torch.uint8)
            for number in range(length):
                picture = pictures.read(number)
                whole[number] = picture is not None
                yield (blank if picture is None else picture).numpy()[None]

        write_array(folder / "pictures.npy", length, blocks())
        np.save(folder / "whole.npy", whole)

    folder = cached(cache / f"images-{key_of(pictures.identity)}", make)
    file, whole = ArrayFile(folder / "pictures.npy"), np.load(folder / "whole.npy")
    return KeptPictures(file, pictures.identity, whole)


def faults(paths: Sequence[Path], cache: Path) -> dict[int, str]:
    """Look at files once, as far as that is quick, and again when one of them changes.

    Args:
        paths: Image files.
        cache: Folder for what was found.

    Returns:
        What is wrong with those that have something wrong, by number.
    """

    def look() -> dict[int, str]:
        found = {}
        for number, path in enumerate(paths):
            try:
                check_image(path)
            except DataError as error:
                found[number] = str(error)
        return found

    found = cached_json(cache / f"checked-{key_of(ImageFiles(paths).identity)}.json", look)
    return {int(number): what for number, what in found.items()}


class View:
    """Pictures, each changed once and for all.

    Args:
        pictures: The pictures.
        augmentation: Changes them.
        draw: First numbers of the seeds of the changes, a picture's own number follows.
    """

    def __init__(self, pictures: PictureStore, augmentation: Augmentation, draw: list[int]) -> None:
        self._pictures = pictures
        self._augmentation = augmentation
        self._draw = draw

    @property
    def identity(self) -> list[Any]:
        """Of the pictures and of what is made of them."""
        return [self._pictures.identity, self._augmentation.identity, self._draw]

    def read(self, number: int) -> Tensor | None:
        """Return a changed picture, None for one that is left out.

        Args:
            number: Its number.
        """
        picture = self._pictures.read(number)
        if picture is None:
            return None
        return self._augmentation(picture, np.random.default_rng([*self._draw, number]))


class RandomView:
    """Another view of a picture: mirrored, or a part of it.

    Args:
        flip: Mirror every other picture. Captions that say left and right are wrong then.
        min_crop: Take a square of this share of the side at least, somewhere, and scale it up; 1
            for the whole.
    """

    def __init__(self, *, flip: bool, min_crop: float) -> None:
        self.flip = flip
        self.min_crop = min_crop

    @property
    def identity(self) -> list[Any]:
        """Both settings."""
        return [self.flip, self.min_crop]

    def __call__(self, picture: Tensor, random: np.random.Generator) -> Tensor:
        """Return the changed picture, (3, S, S) uint8.

        Args:
            picture: The picture, (3, S, S) uint8.
            random: Draws.
        """
        size = picture.shape[-1]
        side = max(1, round(size * random.uniform(self.min_crop, 1)))
        top, left = random.integers(0, size - side + 1, 2).tolist()
        mirrored = random.random() < 0.5
        if side < size:
            picture = _scaled(picture[:, top : top + side, left : left + side], size)
        return picture.flip(-1) if self.flip and mirrored else picture


def _scaled(picture: Tensor, size: int) -> Tensor:
    from PIL import Image

    image = Image.fromarray(picture.permute(1, 2, 0).numpy()).resize(
        (size, size), Image.Resampling.BILINEAR
    )
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
