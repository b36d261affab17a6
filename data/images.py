"""Images of any kind as pictures, and what is wrong with those that can't be read.

Decoding is Pillow's: `torchvision.io.decode_image` takes the process down on some damaged files
(0.29).
"""

from __future__ import annotations

import functools
import io
import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import DataError, a, installing
from .formats.folders import is_pipe

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpg", ".jpeg", ".png", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
"""How the names of images end that are looked for in a folder."""

MAX_PIXELS = 64_000_000
"""No larger image is decoded: a few kilobytes can claim gigabytes of pixels.

A larger JPEG is decoded at a half, a fourth or an eighth of its sides, which its decoder can do.
"""

MAX_BYTES = 1 << 29
"""Bytes at most of an image that comes through a pipe."""

# not EPS: Pillow starts Ghostscript for it
_KINDS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_JPEGS = ("JPEG", "MPO")  # MPO: several JPEGs in one file, as some telephones make
_JPEG_BEGIN = b"\xff\xd8"
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
    # JPEG's decoder leaves out what scaling would lose, and is faster
    return planes(_read(source, lambda image: _middle(image, size), draft=2 * size))


def whole_image(path: Path, size: int | None = None) -> npt.NDArray[np.uint8]:
    """Read the whole of an image, in the colours and the orientation of `open_image`.

    Args:
        path: The file.
        size: S, the side of the square that it is scaled to; None: leave its size.

    Returns:
        (H, W, 3) or (S, S, 3) uint8, red, green and blue.

    Raises:
        DataError: As `open_image`.
    """
    return _read(path, lambda image: _scaled(_upright(image), size))


def planes(picture: npt.NDArray[np.uint8]) -> Tensor:
    """Return a picture (H, W, 3) as a tensor (3, H, W).

    Args:
        picture: The picture.
    """
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _read(
    source: str | Path | bytes | Image,
    change: Callable[[Image], Image],
    *,
    draft: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode an image, to `draft` pixels at least where that is quicker, and change it."""
    from PIL import Image

    name = name_of(source)
    if not isinstance(source, str | Path | bytes | Image.Image):
        raise TypeError(
            f"an image is {a(type(source))}; it must be a path, a file's content or an "
            "image that Pillow opened (PIL.Image.fromarray makes one of an array)"
        )
    with ExitStack() as opened:
        if isinstance(source, Image.Image):
            image = source
            _check_size(image, name)
        else:
            image = _identified(opened.enter_context(_bytes_of(source, name)), name, draft)
        try:
            return np.array(change(image))
        except Exception as error:  # Pillow's decoders raise many kinds of errors on damaged data
            raise DataError(
                f"{name} is damaged: {_reason(error)}. Mend it, or leave it out."
            ) from error


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
        if image.format in _JPEGS:
            file.seek(-min(_TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            # most probably cut short, which only decoding can tell
            if _JPEG_END not in file.read():
                open_image(path, 1)


def is_image(path: str | Path) -> bool:
    """Say whether a file begins as an image of a kind that is read, whatever its name.

    Args:
        path: The file.
    """
    try:
        with _bytes_of(path, "") as file:
            return bool(_identified(file, ""))
    except DataError:
        return False


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
        if is_pipe(source):
            yield io.BytesIO(_piped(source, name))
            return
        if not os.path.getsize(source):
            raise DataError(f"{name} is empty: it has no bytes.")
        file = Path(source).open("rb")  # noqa: SIM115 # closed below
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist.") from error
    except OSError as error:
        raise DataError(f"{name} can't be read: {error.strerror or error}.") from error
    except ValueError as error:  # a row of a data set may name anything
        raise DataError(f"{name} can't be the name of a file: {error}.") from error
    with file:
        yield file


def _piped(source: str | Path, name: str) -> bytes:
    with open(source, "rb") as pipe:
        content = pipe.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DataError(f"{name} has more than {MAX_BYTES:,} bytes, which are not read of a pipe.")
    if not content:
        raise DataError(f"{name} is empty: it has no bytes.")
    return content


def _identified(file: BinaryIO, name: str, draft: int | None = None) -> Image:
    """Return the image without its pixels, which are not decoded yet."""
    from PIL import Image, UnidentifiedImageError

    begin = file.read(12)
    file.seek(0)
    kinds = _kinds()
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images; our own limit is lower
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = _opened(file, begin, kinds)
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{name} claims more pixels than are read ({MAX_PIXELS:,}): {_reason(error)}."
        ) from error
    except UnidentifiedImageError as error:
        if lacking := _lacking(begin, kinds):
            raise DataError(f"{name} {lacking}") from error
        raise DataError(
            f"{name} is no image of a kind that is read ({', '.join(kinds)}), or its beginning is "
            "damaged."
        ) from error
    except Exception as error:  # as above
        raise DataError(f"{name} is damaged: {_reason(error)}.") from error
    _reduce(image, draft)
    _check_size(image, name)
    return image


@functools.cache
def _kinds() -> list[str]:
    """Return the kinds of images that are read: what Pillow and its plugin for HEIC know."""
    from PIL import Image

    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return [kind for kind in _KINDS if kind in Image.OPEN]


def _opened(file: BinaryIO, begin: bytes, kinds: list[str]) -> Image:
    from PIL import Image, JpegImagePlugin

    try:
        return Image.open(file, formats=kinds)
    except Image.DecompressionBombError:
        if not begin.startswith(_JPEG_BEGIN):
            raise
        file.seek(0)
        return JpegImagePlugin.JpegImageFile(file)  # it may be decoded smaller


def _lacking(begin: bytes, kinds: list[str]) -> str:
    """Say what would read a file, by its first bytes; nothing where nothing would."""
    brand = begin[8:12] if begin[4:8] == b"ftyp" else b""
    if brand in (b"avif", b"avis") and "AVIF" not in kinds:
        return "is AVIF, which this Pillow does not read. Try: pip install -U 'pillow>=11.3'"
    heif = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    if brand in heif and "HEIF" not in kinds:
        return f"is HEIC, as some telephones make it. {installing('pillow-heif', None)}"
    return ""


def _reduce(image: Image, draft: int | None) -> None:
    """Have a JPEG decoded smaller where it is larger than is read, or than `draft` pixels."""
    large = math.prod(image.size) > MAX_PIXELS
    if image.format not in _JPEGS or not (large or draft):
        return
    wanted = [draft or side for side in image.size]
    if large and image.info.get("progressive"):
        return  # it is held whole while it is decoded
    if large:
        parts = (2, 4, 8)
        part = next((n for n in parts if math.prod(image.size) <= MAX_PIXELS * n**2), parts[-1])
        wanted = [min(side // part, most) for side, most in zip(image.size, wanted, strict=True)]
    image.draft(None, (wanted[0], wanted[1]))


def _check_size(image: Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name} has {width} x {height} pixels; more than {MAX_PIXELS:,} are not read. Scale "
            "it down."
        )
    if not width * height:
        raise DataError(f"{name} has no pixels ({width} x {height}).")


def _middle(image: Image, size: int) -> Image:
    image = _upright(image)
    short = min(image.size)
    left, top = ((side - short) / 2 for side in image.size)
    # Cropped and scaled in one: the scaled whole of a very long image would not fit in memory.
    return _scaled(image, size, (left, top, left + short, top + short))


def _scaled(
    image: Image, size: int | None, box: tuple[float, float, float, float] | None = None
) -> Image:
    from PIL import Image

    return image.resize((size, size), Image.Resampling.BILINEAR, box) if size else image


def _upright(image: Image) -> Image:
    """Return an image in red, green and blue, as the camera was held."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
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
