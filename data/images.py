"""Photographs of any kind as square pictures, and what is wrong with those that can't be read.

Decoding is Pillow's: `torchvision.io.decode_image` takes the process down on some damaged files
(0.29).
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".bmp", ".gif", ".jpg", ".jpeg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""How the names of images end that are looked for in a folder."""

MAX_PIXELS = 64_000_000
"""A larger image is refused before it is decoded: a file of a few kilobytes can claim gigabytes of pixels."""

# not EPS: Pillow starts Ghostscript for it
_KINDS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_JPEG_END = b"\xff\xd9"
_TAIL = 1 << 16


def open_image(source: str | Path | bytes | Image, size: int) -> Tensor:
    """Read an image as a square picture: its middle, as large as it fits, scaled.

    The camera's orientation is undone, transparency is put on white, and of an animation the first
    frame is taken.

    Args:
        source: A file, a file's content, or an image that Pillow opened; that one is left as it is.
        size: S, the side of the picture.

    Returns:
        (3, S, S) uint8, red, green and blue.

    Raises:
        DataError: The file is missing, is no image, is damaged, or has more than `MAX_PIXELS`
            pixels.
    """
    from PIL import Image

    name = name_of(source)
    if not isinstance(source, str | Path | bytes | Image.Image):
        raise TypeError(
            f"an image is a {type(source).__name__}; it must be a path, a file's content or an image that Pillow "
            "opened (PIL.Image.fromarray makes one of an array)"
        )
    if isinstance(source, Image.Image):
        return _picture(source, name, size)
    with _bytes_of(source, name) as file:
        image = _identified(file, name)
        _check_size(image, name)
        # JPEG's decoder leaves out what scaling would lose, and is faster
        image.draft(None, (2 * size, 2 * size))
        return _picture(image, name, size)


def check_image(path: str | Path) -> None:
    """Look at a file as far as that is quick: is it an image, is it too large, is its end missing?

    Args:
        path: The file.

    Raises:
        DataError: As `open_image`.
    """
    name = name_of(path)
    with _bytes_of(path, name) as file:
        image = _identified(file, name)
        _check_size(image, name)
        # MPO: several JPEGs in one file, as some telephones make
        if image.format in ("JPEG", "MPO"):
            file.seek(-min(_TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            # most probably cut short, which only decoding can tell
            if _JPEG_END not in file.read():
                open_image(path, 1)


def name_of(source: str | Path | bytes | Image) -> str:
    """Return what messages call an image.

    Args:
        source: A file, a file's content, or an image that Pillow opened.
    """
    if isinstance(source, bytes):
        return "an image"
    if isinstance(source, str | Path):
        return f"'{source}'"
    filename = getattr(source, "filename", "")
    return f"'{filename}'" if filename else "an image"


@contextmanager
def _bytes_of(source: str | Path | bytes, name: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        if not os.path.getsize(source):
            raise DataError(f"{name} is empty: it has no bytes.")
        file = Path(source).open("rb")  # noqa: SIM115 # closed below
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist.") from error
    except OSError as error:
        raise DataError(f"{name} can't be read: {error.strerror or error}.") from error
    with file:
        yield file


def _identified(file: BinaryIO, name: str) -> Image:
    """Return the image without its pixels, which are not decoded yet."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns of large images; our own limit is lower
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(file, formats=_KINDS)
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} claims more pixels than are read ({MAX_PIXELS:,}).") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name} is no image of a kind that is read ({', '.join(_KINDS)}), or its beginning is damaged."
        ) from error
    except Exception as error:  # Pillow's decoders raise many kinds of errors on damaged data
        raise DataError(f"{name} is damaged: {_reason(error)}.") from error


def _picture(image: Image, name: str, size: int) -> Tensor:
    _check_size(image, name)
    try:
        return _square(image, size)
    except Exception as error:  # as above
        raise DataError(
            f"{name} is damaged: {_reason(error)}. Mend it, or leave it out."
        ) from error


def _check_size(image: Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name} has {width} x {height} pixels; more than {MAX_PIXELS:,} are not read. Scale it down."
        )
    if not width * height:
        raise DataError(f"{name} has no pixels ({width} x {height}).")


def _square(image: Image, size: int) -> Tensor:
    from PIL import Image, ImageOps

    image = _colours(ImageOps.exif_transpose(image))
    short = min(image.size)
    left, top = ((side - short) / 2 for side in image.size)
    box = (left, top, left + short, top + short)
    # Cropped and scaled in one: the scaled whole of a very long image would not fit in memory.
    square = image.resize((size, size), Image.Resampling.BILINEAR, box)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


def _colours(image: Image) -> Image:
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255 instead of scaling
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 0xFFFF:
            raise ValueError("its pixels have more than 16 bits")
        image = Image.fromarray((grey >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose white is not known")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.new("RGBA", over.size, "white")
        image.alpha_composite(over)
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
