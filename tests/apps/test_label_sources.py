"""What `unrolled label` takes beside files, and what it writes for other programs."""

from __future__ import annotations

import csv
import os
import threading
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import unrolled
from corpora import lights
from PIL import Image
from unrolled.cli import main
from unrolled.core import FrameEncoder, SmallCNN
from unrolled.data.video.annotations.reading import read_annotations
from unrolled.data.video.annotations.segments import Timing
from unrolled.data.video.clips.module import write_video
from unrolled.data.video.frames import read_frames
from video_models import PICTURES, save_model

ENCODER = partial(FrameEncoder, backbone=partial(SmallCNN, channels=[4, 8]))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model of one label a frame, one of several, and two videos of 30 frames."""
    save_model(tmp_path / "one.ckpt", PICTURES, encoder=ENCODER)
    save_model(tmp_path / "several.ckpt", PICTURES, encoder=ENCODER, multilabel=True)
    write_video(tmp_path / "a.mp4", lights(30))
    write_video(tmp_path / "a.ts", lights(30))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def streamed(capfd) -> list[str]:
    return [line.split("\t")[2] for line in capfd.readouterr().out.splitlines()]


def test_a_pipe_gives_the_labels_of_the_file(here, capfd):
    assert main(["label", "one.ckpt", "a.ts", "--stream"]) == 0
    expected = streamed(capfd)
    assert len(expected) == 30
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(Path("a.ts").read_bytes()))
    writer.start()
    assert main(["label", "one.ckpt", "pipe", "--stream"]) == 0
    writer.join()
    assert streamed(capfd) == expected
    kept = os.dup(0)
    try:
        with Path("a.ts").open("rb") as file:
            os.dup2(file.fileno(), 0)
            assert main(["label", "one.ckpt", "-", "--stream"]) == 0
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert streamed(capfd) == expected


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["http://a.org/b.mp4"], 2, "'http://a.org/b.mp4' is an address: download the video first"),
        (["rtsp://127.0.0.1:9/a", "--stream"], 2, "--allow_network"),
        (["rtsp://127.0.0.1:9/a", "--stream", "--allow_network"], 3, "can't be opened"),
        (["rtsp://127.0.0.1:9/a", "--allow_network"], 2, "printed with --stream"),
        (["--stream", "97"], 3, "'camera 97' can't be opened: No such file"),
        (["97"], 2, "'camera 97' is live: its labels are printed with --stream"),
        (["a.mp4", "--export", "anvil"], 2, "--export anvil: expected boris, elan"),
    ],
)
def test_what_is_asked_for_wrongly(here, capsys, words, code, message):
    assert main(["label", "one.ckpt", *words]) == code
    assert message in capsys.readouterr().err


def test_a_file_whose_name_is_a_number_is_no_camera(here, capsys):
    (here / "7").write_bytes((here / "a.mp4").read_bytes())
    assert main(["label", "one.ckpt", "7", "--stream", "--lines", "change"]) == 0
    assert "30 frames" in capsys.readouterr().err


@pytest.mark.parametrize("checkpoint", ["one.ckpt", "several.ckpt"])
def test_what_is_written_for_other_programs_is_read_as_the_same_labels(here, checkpoint):
    words = ["label", checkpoint, "a.mp4", "--out", "out", "--export", "boris,elan"]
    assert main([*words, "--overlay", "false"]) == 0
    times = np.array([frame.time for frame in read_frames(Path("a.mp4"), image_size=8)])
    classes = {name: number for number, name in enumerate(PICTURES["classes"])}
    timing = Timing(30, times)
    (written,) = read_annotations(Path("out/a.csv"))
    expected = written.several_labels(classes, timing)
    assert 0 < expected.sum() < expected.size
    for name in ("a.boris", "a.eaf"):
        (found,) = read_annotations(Path("out") / name)
        assert (found.several_labels(classes, timing) == expected).all()
        assert Path(found.video.removeprefix("file://")) == here / "a.mp4"


def test_several_labels_a_frame_have_a_column_each(here):
    assert main(["label", "several.ckpt", "a.mp4", "--out", "out"]) == 0
    found = rows("out/a.csv")
    assert list(found[0]) == ["frame", "time", *PICTURES["classes"]]
    model = unrolled.load("several.ckpt")
    frames = [frame.picture for frame in read_frames(Path("a.mp4"), image_size=8)]
    labels = model.label(frames)
    assert [[name for name in PICTURES["classes"] if row[name] == "1"] for row in found] == [
        list(label.names) for label in labels
    ]
    assert {len(label.names) for label in labels} > {1}
    stream = model.stream()
    assert [stream(frame).names for frame in frames] == [label.names for label in labels]
    with Image.open("out/a.png") as timeline:
        assert timeline.size[0] == 1200


def test_a_stray_picture_hides_no_video(here, capsys):
    folder = here / "videos"
    folder.mkdir()
    for name in ("a.mp4", "B.MP4", "c.MOV"):
        (folder / name).write_bytes((here / "a.mp4").read_bytes())
    Image.new("RGB", (8, 8)).save(folder / "thumb.jpg")
    (folder / ".hidden.mp4").write_bytes(b"")
    (folder / "again").symlink_to(folder)
    (folder / "project.blend").write_bytes(b"x")
    assert main(["label", "one.ckpt", "videos", "--overlay", "false"]) == 0
    told = capsys.readouterr()
    assert [line.partition(":")[0] for line in told.out.splitlines()] == [
        "videos/B.MP4",
        "videos/a.mp4",
        "videos/c.MOV",
    ]
    assert "2 files of 'videos' left out, no videos: project.blend, thumb.jpg." in told.err


def test_the_overlay_keeps_the_pixels_aspect_and_colours(here):
    with av.open("wide.mp4", "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        stream.codec_context.colorspace = 1  # BT.709
        stream.codec_context.color_range = 1
        for picture in lights(5):
            big = np.kron(picture[:1, :1], np.ones((240, 320, 1), np.uint8))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(big, format="rgb24")))
        file.mux(stream.encode())
    assert main(["label", "one.ckpt", "wide.mp4", "--out", "out"]) == 0
    with av.open("out/wide.mp4") as file, av.open("wide.mp4") as source:
        made, given = file.streams.video[0], source.streams.video[0]
        assert (made.width, made.height) == (320, 240)
        assert made.codec_context.sample_aspect_ratio == given.codec_context.sample_aspect_ratio
        assert made.codec_context.colorspace == given.codec_context.colorspace
        assert made.codec_context.color_range == given.codec_context.color_range
