"""Frames by number and upright, from real files; every kind of bad file is named."""

from __future__ import annotations

import math
import struct
import threading
import time
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from unrolled.data.video.clips.module import write_video
from unrolled.data.video.frames import Upright, decode, prefetch, read_frames
from unrolled.data.video.media import natural
from unrolled.errors import DataError


def grey(number: int) -> int:
    """The brightness that says which frame it is."""
    return 16 + 8 * number


def video(
    path: Path,
    *,
    frames: int = 20,
    width: int = 32,
    height: int = 24,
    times=None,
    container=None,
    turn=None,
):
    """Write frames that know their number, the first corner red, at the times given."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "4", "threads": "1"})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if turn is not None:
            turn(stream)
        for number in range(frames):
            picture = np.full((height, width, 3), grey(number), np.uint8)
            picture[: height // 4, : width // 4] = (255, 0, 0)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = 40 * number if times is None else times[number]
            frame.time_base = Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def numbers(frames) -> list[int]:
    """Which frames were read, by their brightness."""
    return [round((float(frame.picture[:, 4:].float().mean()) - 16) / 8) for frame in frames]


def found_corner(picture: np.ndarray) -> tuple[str, str]:
    red = np.argwhere((picture[..., 0] > 150) & (picture[..., 1] < 90))
    height, width = picture.shape[:2]
    row, column = red.mean(0)
    return ("top" if row < height / 2 else "bottom", "left" if column < width / 2 else "right")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "mov", "ts"])
def test_every_frame_comes_once_and_in_order(tmp_path, suffix):
    frames = list(read_frames(video(tmp_path / f"a.{suffix}"), image_size=16))
    assert [frame.number for frame in frames] == numbers(frames) == list(range(20))
    assert all(
        frame.picture.shape == (3, 16, 16) and frame.picture.dtype == torch.uint8
        for frame in frames
    )
    if suffix != "avi":  # whose rate is the clock of the test's encoder
        assert [frame.time for frame in frames] == pytest.approx(
            [0.04 * number for number in range(20)], abs=2e-3
        )


def test_an_avi_has_times_in_order(tmp_path):
    write_video(
        tmp_path / "a.avi",
        np.random.default_rng(0).integers(256, size=(30, 24, 32, 3), dtype=np.uint8),
    )
    times = [frame.time for frame in read_frames(tmp_path / "a.avi", image_size=16)]
    assert times == pytest.approx([0.04 * number for number in range(30)])


def test_stride_leaves_pictures_out_and_no_frame(tmp_path):
    frames = list(read_frames(video(tmp_path / "a.mp4"), image_size=16, stride=3))
    assert [frame.number for frame in frames] == list(range(20))
    taken = [frame for frame in frames if frame.picture is not None]
    assert [frame.number for frame in taken] == numbers(taken) == [0, 3, 6, 9, 12, 15, 18]


def test_a_variable_frame_rate_changes_times_and_no_number(tmp_path):
    times = [0, 10, 400, 410, 2000, 2001, 5000]
    frames = list(read_frames(video(tmp_path / "a.mp4", frames=7, times=times), image_size=16))
    assert numbers(frames) == list(range(7))
    assert [frame.time for frame in frames] == pytest.approx(
        [moment / 1000 for moment in times], abs=2e-3
    )


@pytest.mark.parametrize(("width", "height"), [(33, 17), (8, 64), (2, 2), (641, 3)])
def test_odd_sizes_become_squares(tmp_path, width, height):
    path = video(tmp_path / "a.mp4", frames=2, width=width, height=height)
    assert [tuple(frame.picture.shape) for frame in read_frames(path, image_size=20)] == [
        (3, 20, 20)
    ] * 2


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="this PyAV can't write rotations"
)
@pytest.mark.parametrize(
    ("degrees", "mirrored", "corner"),
    [
        (0, False, ("top", "left")),
        (90, False, ("bottom", "left")),  # counter-clockwise
        (180, False, ("bottom", "right")),
        (270, False, ("top", "right")),
        (0, True, ("top", "right")),
        (90, True, None),
    ],
)
def test_turned_as_the_file_says(tmp_path, degrees, mirrored, corner):
    path = video(
        tmp_path / "a.mp4",
        frames=1,
        turn=lambda stream: stream.set_display_rotation(degrees, hflip=mirrored),
    )
    frame = next(decode(path))
    picture = Upright()(frame)
    assert picture.shape[:2] == ((32, 24) if degrees in (90, 270) else (24, 32))
    assert found_corner(picture) == (corner or found_corner(picture))
    small = next(read_frames(path, image_size=20)).picture.permute(1, 2, 0).numpy()
    assert found_corner(small) == found_corner(picture)
    if not mirrored:
        stored = frame.reformat(format="rgb24").to_ndarray()
        assert np.array_equal(picture, np.rot90(stored, frame.rotation // 90 % 4))


def test_scaling_down_is_smooth(tmp_path):
    stripes = np.zeros((1, 128, 128, 3), np.uint8)
    stripes[:, :, ::2] = 255
    write_video(tmp_path / "a.mp4", stripes)
    picture = next(read_frames(tmp_path / "a.mp4", image_size=16)).picture
    # a picture of every eighth column alone would be black or white
    assert picture.float().std() < 8


def test_one_frame_is_a_video(tmp_path):
    frames = list(read_frames(video(tmp_path / "a.mp4", frames=1), image_size=16))
    assert [(frame.number, frame.time) for frame in frames] == [(0, 0.0)]


def test_bad_files_are_named_with_what_they_hold(tmp_path):
    good = video(tmp_path / "good.mp4").read_bytes()
    at_front = video(tmp_path / "front.mp4", container={"movflags": "faststart"}).read_bytes()
    moov = good.index(b"moov") - 4
    files = {
        "empty.mp4": (b"", "is empty: 0 bytes"),
        "text.mp4": (
            b"Hello, world. " * 50,
            "is not a video of a kind that is read .*begins with b'Hello, world'",
        ),
        "text.txt": (b"Hello, world. " * 50, "is not a video of a kind that is read"),
        "zeros.mp4": (bytes(4096), "is not a video of a kind that is read"),
        "no_index.mp4": (
            good[: moov // 2],
            r"is cut short: it begins as an MP4, and its index \(moov\)",
        ),
        "half.mp4": (
            at_front[: len(at_front) * 2 // 3],
            r"is cut short: \d+ of its 20 frames lie within its [\d,]+ ",
        ),
        "last.mp4": (at_front[:-1], "is cut short: 19 of its 20 frames"),
    }
    for name, (content, message) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            list(read_frames(tmp_path / name, image_size=16))
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(DataError, match=r"There is no video '.*none.mp4'"):
        next(read_frames(tmp_path / "none.mp4", image_size=16))


def test_a_cut_avi_is_told(tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(30, 24, 32, 3), dtype=np.uint8)
    write_video(tmp_path / "good.avi", noise)
    content = (tmp_path / "good.avi").read_bytes()
    inside = content.index(b"00dc", len(content) // 2) + 50  # some bytes into a frame
    (tmp_path / "bad.avi").write_bytes(content[:inside])
    with pytest.raises(DataError, match=r"bad.avi' is cut short"):
        list(read_frames(tmp_path / "bad.avi", image_size=16))


@pytest.mark.parametrize("cover", [False, True])
def test_sound_alone_is_no_video(tmp_path, cover):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as file:
        sound = file.add_stream("aac", rate=44100)
        if cover:
            art = file.add_stream("mjpeg", rate=1)
            art.width = art.height = 16
            art.pix_fmt = "yuvj420p"
            art.disposition = av.stream.Disposition.attached_pic
        for number in range(10):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = 44100, number * 1024
            file.mux(sound.encode(frame))
        file.mux(sound.encode())
        if cover:
            file.mux(
                art.encode(
                    av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
                )
            )
            file.mux(art.encode())
    with pytest.raises(DataError, match=r"song.m4a' holds no video; found: audio \(aac\)"):
        list(read_frames(path, image_size=16))


def test_folders_of_pictures_are_read_by_the_numbers_in_their_names(tmp_path):
    for number in (0, 2, 10, 1, 9):
        Image.new("RGB", (30, 20), (grey(number),) * 3).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    frames = list(read_frames(tmp_path, image_size=16))
    assert numbers(frames) == [0, 1, 2, 9, 10]
    assert [frame.number for frame in frames] == list(range(5))
    assert all(math.isnan(frame.time) for frame in frames)
    assert [frame.picture is None for frame in read_frames(tmp_path, image_size=16, stride=2)] == [
        0,
        1,
        0,
        1,
        0,
    ]


def test_pictures_are_turned_as_their_exif_says(tmp_path):
    picture = Image.new("RGB", (64, 32), "black")
    picture.paste((255, 0, 0), (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    picture.save(tmp_path / "0.png", exif=exif)
    shown = next(read_frames(tmp_path, image_size=32)).picture.permute(1, 2, 0).numpy()
    assert found_corner(shown) == ("top", "right")


def test_bad_pictures_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no pictures"):
        list(read_frames(tmp_path, image_size=16))
    noise = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "0.png")
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"1.png' is damaged"):
        list(read_frames(tmp_path, image_size=16))
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1.png' is no image of a kind that is read"):
        list(read_frames(tmp_path, image_size=16))
    vast = bytearray(whole)
    # width and height, as the file's head gives them
    vast[16:24] = struct.pack(">II", 20_000, 20_000)
    vast[29:33] = struct.pack(">I", zlib.crc32(vast[12:29]))
    (tmp_path / "1.png").write_bytes(vast)
    with pytest.raises(DataError, match=r"1.png' claims more pixels than are read \(64,000,000\)"):
        list(read_frames(tmp_path, image_size=16))


def test_digits_that_are_no_numbers_are_letters():
    assert sorted(["10²", "²1", "9"], key=natural) == ["9", "10²", "²1"]


class TestPrefetch:
    def test_gives_the_same_items(self):
        assert list(prefetch(iter(range(1000)), size=3)) == list(range(1000))

    def test_raises_where_the_items_do(self):
        def items():
            yield 1
            raise DataError("broken")

        got = []
        with pytest.raises(DataError, match="broken"):
            got += [*prefetch(items())]
        reader = prefetch(items())
        assert next(reader) == 1

    def test_works_ahead_and_not_too_far(self):
        made = []

        def items():
            for number in range(100):
                made.append(number)
                yield number

        reader = prefetch(items(), size=4)
        next(reader)
        until = time.monotonic() + 10
        while len(made) < 6 and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.05)
        assert len(made) == 6  # one taken, four waiting, one in hand
        reader.close()

    def test_an_early_end_stops_the_thread_and_closes_the_file(self):
        closed = threading.Event()

        def items():
            try:
                while True:
                    yield 0
            finally:
                closed.set()

        before = threading.active_count()
        reader = prefetch(items(), size=2)
        next(reader)
        reader.close()
        assert closed.is_set()
        assert threading.active_count() == before
