"""Every kind of image that people have, and every kind of damage."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from unrolled.data import images
from unrolled.data.images import check_image, open_image
from unrolled.errors import DataError


def quarters(width: int = 80, height: int = 60) -> np.ndarray:
    """Red and green above, blue and white below; level within each quarter."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (250, 10, 20)
    pixels[: height // 2, width // 2 :] = (20, 240, 10)
    pixels[height // 2 :, : width // 2] = (10, 30, 245)
    pixels[height // 2 :, width // 2 :] = 255
    return pixels


def corners(picture: torch.Tensor) -> list[list[int]]:
    size = picture.shape[-1]
    places = [
        (row, column)
        for row in (size // 4, size - size // 4)
        for column in (size // 4, size - size // 4)
    ]
    return [picture[:, row, column].tolist() for row, column in places]


WANTED = [[250, 10, 20], [20, 240, 10], [10, 30, 245], [255, 255, 255]]


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "gif", "webp", "tiff", "ppm"])
@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "RGBA"])
def test_reads_every_kind(tmp_path, ending, mode):
    path = tmp_path / f"picture.{ending}"
    image = Image.fromarray(quarters()).convert(mode)
    try:
        image.save(path, **({"quality": 95} if ending in ("jpg", "webp") else {}))
    except (OSError, ValueError):
        pytest.skip(f"{ending} has no {mode}")
    picture = open_image(path, 32)
    assert picture.shape == (3, 32, 32)
    assert picture.dtype == torch.uint8
    assert picture.is_contiguous()
    # a palette of 256 colours and JPEG move colours a little
    np.testing.assert_allclose(corners(picture), WANTED, atol=6 if mode != "P" else 30)
    check_image(path)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_grey_is_three_times_the_same(tmp_path, ending):
    Image.fromarray(quarters()).convert("L").save(tmp_path / f"grey.{ending}")
    picture = open_image(tmp_path / f"grey.{ending}", 16)
    assert torch.equal(picture[0], picture[1])
    assert torch.equal(picture[0], picture[2])
    assert picture[0, -1, -1] == 255


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_sixteen_bits_are_scaled(tmp_path, ending):
    pixels = np.zeros((40, 40), np.uint16)
    pixels[:20], pixels[20:] = 0x4000, 0xFFFF
    Image.fromarray(pixels).save(tmp_path / f"deep.{ending}")
    picture = open_image(tmp_path / f"deep.{ending}", 8)
    assert picture[:, 0, 0].tolist() == [64] * 3
    assert picture[:, -1, -1].tolist() == [255] * 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_put_on_white(tmp_path, mode):
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (0, 0, 20, 10))
    clear.convert(mode).save(tmp_path / "clear.png")
    picture = open_image(tmp_path / "clear.png", 20)
    assert picture[:, 2, 2].tolist() == [0] * 3
    assert picture[:, -2, -2].tolist() == [255] * 3


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tiff"])
def test_takes_the_first_frame(tmp_path, ending):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / f"moving.{ending}", save_all=True, append_images=frames[1:])
    picture = open_image(tmp_path / f"moving.{ending}", 4)
    assert picture[0].min() > 240
    assert picture[2].max() < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_undoes_the_cameras_orientation(tmp_path, orientation):
    turned = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = Image.fromarray(quarters())
    exif = Image.Exif()
    exif[0x0112] = orientation
    (image if turned is None else image.transpose(turned)).save(
        tmp_path / "turned.jpg", exif=exif, quality=95
    )
    np.testing.assert_allclose(corners(open_image(tmp_path / "turned.jpg", 32)), WANTED, atol=6)


def test_takes_the_middle(tmp_path):
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert open_image(tmp_path / "wide.png", 10).unique().tolist() == [200]
    Image.fromarray(pixels.transpose(1, 0, 2)).save(tmp_path / "high.png")
    assert open_image(tmp_path / "high.png", 10).unique().tolist() == [200]
    # would be 4 gigabytes, scaled as a whole
    Image.new("RGB", (20_000, 1), "red").save(tmp_path / "line.png")
    assert open_image(tmp_path / "line.png", 256).shape == (3, 256, 256)


def test_takes_an_open_image_and_leaves_it_alone(tmp_path):
    image = Image.fromarray(quarters()).convert("RGBA")
    before = image.copy()
    np.testing.assert_allclose(corners(open_image(image, 30)), WANTED, atol=2)
    assert image == before
    Image.fromarray(quarters(800, 600)).save(tmp_path / "large.jpg", quality=95)
    with Image.open(tmp_path / "large.jpg") as image:  # not decoded yet
        np.testing.assert_allclose(corners(open_image(image, 30)), WANTED, atol=6)
        assert image.size == (800, 600)
    np.testing.assert_allclose(corners(open_image(tmp_path / "large.jpg", 30)), WANTED, atol=6)


def test_an_array_is_refused_with_the_remedy():
    with pytest.raises(
        TypeError, match=r"an image is a ndarray; it must be .* \(PIL.Image.fromarray makes one"
    ):
        open_image(np.zeros((8, 8, 3), np.uint8), 8)


def test_takes_a_files_content(tmp_path):
    Image.fromarray(quarters()).save(tmp_path / "picture.png")
    content = (tmp_path / "picture.png").read_bytes()
    assert torch.equal(open_image(content, 16), open_image(tmp_path / "picture.png", 16))
    with pytest.raises(DataError, match="an image is no image of a kind that is read"):
        open_image(b"nothing", 16)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "webp", "bmp", "tiff"])
def test_names_a_truncated_file(tmp_path, ending):
    path = tmp_path / f"short.{ending}"
    noise().save(path)
    cut(path, 0.5)
    with pytest.raises(
        DataError, match=rf"short\.{ending}' (is damaged|is no image|can't be read)"
    ):
        open_image(path, 32)


def test_notices_a_truncated_photograph_early(tmp_path):
    path = tmp_path / "short.jpg"
    noise().save(path)
    check_image(path)
    cut(path, 0.5)
    with pytest.raises(DataError, match=r"short\.jpg' is damaged: image file is truncated"):
        check_image(path)


@pytest.mark.parametrize(
    "read", [check_image, lambda path: open_image(path, 8)], ids=["check", "open"]
)
def test_names_what_is_no_image(tmp_path, read):
    with pytest.raises(DataError, match=r"absent.jpg' does not exist"):
        read(tmp_path / "absent.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty.jpg' is empty"):
        read(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("This is no image.")
    with pytest.raises(
        DataError, match=r"text.jpg' is no image of a kind that is read \(.*BMP, GIF, .*JPEG, PNG"
    ):
        read(tmp_path / "text.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(DataError, match=r"folder.jpg' can't be read: Is a directory"):
        read(tmp_path / "folder.jpg")
    (tmp_path / "program.eps").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    )
    with pytest.raises(DataError, match="is no image of a kind"):
        read(tmp_path / "program.eps")


def claiming(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes that claims to be large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(40_000, 40_000), (10_000, 10_000), (8001, 8000)])
@pytest.mark.parametrize(
    "read", [check_image, lambda path: open_image(path, 8)], ids=["check", "open"]
)
def test_refuses_a_bomb_before_decoding(tmp_path, monkeypatch, read, width, height):
    (tmp_path / "bomb.png").write_bytes(claiming(width, height))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    with pytest.raises(
        DataError, match=r"bomb.png' (claims|has 10000 x 10000|has 8001 x 8000).* pixels"
    ):
        read(tmp_path / "bomb.png")


def test_names_a_png_with_too_little_data(tmp_path):
    """torchvision's decoder takes the process down on it."""
    (tmp_path / "short.png").write_bytes(claiming(1000, 1000))
    with pytest.raises(DataError, match=r"short.png' is damaged"):
        open_image(tmp_path / "short.png", 8)


def test_refuses_pixels_of_unknown_range(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(DataError, match="floating-point numbers"):
        open_image(tmp_path / "float.tiff", 4)
    Image.fromarray(np.full((4, 4), 1 << 20, np.int32)).save(tmp_path / "deep.tiff")
    with pytest.raises(DataError, match="more than 16 bits"):
        open_image(tmp_path / "deep.tiff", 4)


@pytest.mark.parametrize(
    ("module", "ending"), [("PIL.AvifImagePlugin", "avif"), ("pillow_heif", "heic")]
)
def test_reads_what_telephones_make(tmp_path, module, ending):
    plugin = pytest.importorskip(module)
    if ending == "heic":
        plugin.register_heif_opener()
    path = tmp_path / f"IMG_0001.{ending.upper()}"
    Image.fromarray(quarters()).save(path, "HEIF" if ending == "heic" else "AVIF", quality=95)
    np.testing.assert_allclose(corners(open_image(path, 32)), WANTED, atol=10)
    check_image(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"is damaged|no image of a kind"):
        open_image(path, 32)


@pytest.mark.parametrize(
    ("brand", "missing", "told"),
    [(b"heic", "HEIF", "pip install pillow-heif"), (b"avif", "AVIF", "pip install -U 'pillow")],
)
def test_names_what_would_read_it(tmp_path, monkeypatch, brand, missing, told):
    kinds = [kind for kind in images._kinds() if kind not in ("HEIF", "AVIF")]
    monkeypatch.setattr(images, "_kinds", lambda: kinds)
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftyp" + brand + b"\0" * 99)
    with pytest.raises(DataError, match=told):
        open_image(tmp_path / "a.jpg", 8)


@pytest.mark.parametrize("side", [400, 1000])
def test_a_jpeg_above_the_limit_is_decoded_smaller(tmp_path, monkeypatch, side):
    path = tmp_path / "large.jpg"
    Image.fromarray(quarters(side, side)).save(path, quality=95)
    whole = corners(open_image(path, 32))
    monkeypatch.setattr(images, "MAX_PIXELS", 200 * 200)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300 * 300)  # Pillow refuses twice as many
    np.testing.assert_allclose(corners(open_image(path, 32)), whole, atol=6)
    assert images.whole_image(path).shape[0] <= 200
    check_image(path)


def test_a_progressive_jpeg_above_the_limit_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "large.jpg"
    Image.fromarray(quarters(400, 400)).save(path, progressive=True)
    monkeypatch.setattr(images, "MAX_PIXELS", 200 * 200)
    with pytest.raises(DataError, match="more than 40,000 are not read"):
        open_image(path, 32)


def test_a_jpeg_beyond_what_can_be_decoded_smaller_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "large.jpg"
    Image.fromarray(quarters(400, 400)).save(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 40 * 40)
    with pytest.raises(DataError, match="more than 1,600 are not read"):
        open_image(path, 32)
