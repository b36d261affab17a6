"""`unrolled label`: from videos to labels, timelines and overlays, and as a stream."""

from __future__ import annotations

import csv
import shutil
from fractions import Fraction
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest
import torch
import unrolled
from lightning.pytorch import Trainer
from PIL import Image
from unrolled.apps.pictures.burn_in import burn_in
from unrolled.apps.pictures.timeline import LabelBar, draw_timeline, palette
from unrolled.cli import main
from unrolled.core import GRU, Bidirectional, FrameEncoder, SmallCNN
from unrolled.data.video.clips.module import write_video
from unrolled.data.video.frames import read_frames
from unrolled.tasks import VideoLabelling

CLASSES = ["none", "cut", "mix"]
SPEC = {
    "classes": CLASSES,
    "background": ["none"],
    "feature_size": 0,
    "image_size": 16,
    "stride": 1,
}
ENCODER = partial(FrameEncoder, backbone=partial(SmallCNN, channels=[4, 8]))
FORWARDS = partial(GRU, hidden_size=8)


def save(path: Path, spec: dict, core, encoder) -> None:
    torch.manual_seed(3)
    model = VideoLabelling(spec, core, encoder=encoder)
    with torch.no_grad():
        for parameter in model.parameters():  # sharp enough for labels to differ
            parameter *= 3
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)


def moving(frames: int, height: int = 24, width: int = 32) -> np.ndarray:
    pictures = np.full((frames, height, width, 3), 40, np.uint8)
    for number in range(frames):
        pictures[number, 4:12, number % width : number % width + 8] = (number * 7 % 256, 200, 90)
    return pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints of models that read forwards, both ways, with a stride, features; videos."""
    folder = tmp_path_factory.mktemp("label")
    save(folder / "forwards.ckpt", SPEC, FORWARDS, ENCODER)
    save(folder / "both.ckpt", SPEC, partial(Bidirectional, core=FORWARDS), ENCODER)
    save(folder / "stride.ckpt", {**SPEC, "stride": 3}, FORWARDS, ENCODER)
    save(folder / "features.ckpt", {**SPEC, "image_size": 0, "feature_size": 5}, FORWARDS, None)
    (folder / "videos" / "deep").mkdir(parents=True)
    write_video(folder / "videos" / "a.mp4", moving(40))
    write_video(folder / "videos" / "deep" / "a.avi", moving(12))
    (folder / "videos" / "frames").mkdir()
    for number, picture in enumerate(moving(7, 20, 20)):
        Image.fromarray(picture).save(folder / "videos" / "frames" / f"{number}.png")
    return folder


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """A copy of the folder, as the working directory."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("checkpoint", ["forwards.ckpt", "both.ckpt", "stride.ckpt"])
def test_the_csv_holds_what_the_model_says_of_every_frame(here, checkpoint, capsys):
    assert main(["label", checkpoint, "videos/a.mp4", "--out", "out", "--overlay", "false"]) == 0
    found = rows("out/a.csv")
    assert [int(row["frame"]) for row in found] == list(range(40))
    assert [float(row["time"]) for row in found] == pytest.approx(
        [0.04 * number for number in range(40)], abs=1e-3
    )
    frames = [frame.picture for frame in read_frames(Path("videos/a.mp4"), image_size=16)]
    expected = unrolled.load(checkpoint).label(frames)
    assert [row["label"] for row in found] == [label.name for label in expected]
    assert [float(row["probability"]) for row in found] == pytest.approx(
        [label.probability for label in expected], abs=1e-3
    )
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.csv", "a.png"]
    assert capsys.readouterr().out.startswith("videos/a.mp4: 40 frames, ")


def test_a_folder_is_searched_for_videos_and_folders_of_pictures(here, capsys):
    assert main(["label", "forwards.ckpt", "videos", "videos/frames"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "videos/a.mp4",
        "videos/deep/a.avi",
        "videos/frames",
        "videos/frames",
    ]
    names = ("a", "a_2", "frames")
    written = sorted(path.name for path in Path("labels").iterdir())
    assert written == sorted(
        f"{name}.{suffix}" for name in names for suffix in ("csv", "png", "mp4")
    )
    assert [row["time"] for row in rows("labels/frames.csv")] == [""] * 7
    assert [float(row["time"]) for row in rows("labels/a_2.csv")] == pytest.approx(
        [0.04 * n for n in range(12)], abs=1e-3
    )


def test_chunks_change_nothing(here):
    for chunk in (1, 7, 64):
        assert (
            main(
                [
                    "label",
                    "forwards.ckpt",
                    "videos/a.mp4",
                    "--out",
                    str(chunk),
                    "--chunk",
                    str(chunk),
                ]
            )
            == 0
        )
    one, other, whole = (rows(f"{chunk}/a.csv") for chunk in (1, 7, 64))
    for row in (one, other):
        assert [line["label"] for line in row] == [line["label"] for line in whole]


def test_the_overlay_has_every_frame_at_its_time_with_the_labels_in_it(here):
    assert main(["label", "forwards.ckpt", "videos/a.mp4", "--out", "out"]) == 0
    with av.open("out/a.mp4") as file:
        frames = list(file.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx(
        [0.04 * number for number in range(40)], abs=1e-3
    )
    assert frames[0].height >= 240  # text needs room
    colours = palette(CLASSES, ["none"])
    found = rows("out/a.csv")
    for number in (0, 20, 39):
        picture = frames[number].to_ndarray(format="rgb24").astype(int)
        mark = picture[4:20, 1:4].reshape(-1, 3).mean(0)
        assert np.abs(mark - colours[found[number]["label"]]).max() < 40
        strip = picture[-4]
        for frame in (5, 15, 33):
            if (
                abs(frame - number) > 2
                and len({found[frame + near]["label"] for near in (-1, 0, 1)}) == 1
            ):
                shown = strip[round((frame + 0.5) / 40 * picture.shape[1])]
                assert np.abs(shown - colours[found[frame]["label"]]).max() < 60


def test_odd_sizes_and_variable_rates_are_kept(tmp_path):
    path = tmp_path / "odd.mkv"
    times = [0, 0.5, 0.6, 3.0]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 301, 245, "yuv444p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, moment in enumerate(times):
            frame = av.VideoFrame.from_ndarray(moving(4, 245, 301)[number], format="rgb24")
            frame.time_base, frame.pts = stream.codec_context.time_base, round(1000 * moment)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    segments = [LabelBar(0, 2, "cut"), LabelBar(2, 4, "none")]
    burn_in(path, tmp_path / "out.mp4", segments, palette(CLASSES, ["none"]))
    with av.open(str(tmp_path / "out.mp4")) as file:
        frames = list(file.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [(302, 246)] * 4
    assert [frame.time for frame in frames] == pytest.approx(times, abs=2e-3)


def test_the_timeline_shows_segments_and_a_legend():
    segments = [LabelBar(0, 60, "none"), LabelBar(60, 90, "cut"), LabelBar(90, 100, "mix")]
    colours = palette(CLASSES, ["none"])
    picture = np.asarray(draw_timeline(segments, colours, title="videos/a.mp4", seconds=3.96))
    bar = picture[80]
    for frame, name in (
        (0, "none"),
        (59, "none"),
        (61, "cut"),
        (89, "cut"),
        (91, "mix"),
        (99, "mix"),
    ):
        assert tuple(bar[24 + round((frame + 0.5) / 100 * 1152)]) == colours[name]
    legend = {tuple(pixel) for pixel in picture[170:].reshape(-1, 3).tolist()}
    assert set(colours.values()) <= legend
    many = [f"class {number}" for number in range(60)]
    segments = [LabelBar(number, number + 1, name) for number, name in enumerate(many)]
    colours = palette(many)
    assert len(set(colours.values())) == 60
    shown = np.asarray(draw_timeline(segments, colours, title="x" * 500))
    assert set(colours.values()) <= {tuple(pixel) for pixel in shown[150:].reshape(-1, 3).tolist()}
    assert draw_timeline([LabelBar(0, 1, "cut")], palette(CLASSES), title="one frame").width == 1200


class TestStream:
    def test_a_line_for_every_frame_and_the_latency(self, here, capsys):
        assert (
            main(["label", "forwards.ckpt", "videos/a.mp4", "--out", "out", "--overlay", "false"])
            == 0
        )
        capsys.readouterr()
        assert main(["label", "forwards.ckpt", "videos/a.mp4", "--stream"]) == 0
        output = capsys.readouterr()
        lines = [line.split("\t") for line in output.out.splitlines()]
        found = rows("out/a.csv")
        assert [line[0] for line in lines] == [row["frame"] for row in found]
        assert [line[2] for line in lines] == [row["label"] for row in found]
        assert [float(line[3]) for line in lines] == pytest.approx(
            [float(row["probability"]) for row in found], abs=2e-3
        )
        assert "videos/a.mp4: 40 frames; from a decoded frame to its label: median " in output.err
        assert " ms, 95 % within " in output.err

    def test_a_line_for_every_change(self, here, capsys):
        assert main(["label", "stride.ckpt", "videos/a.mp4", "--stream", "--lines", "frame"]) == 0
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert len(lines) == 40
        assert (
            main(["label", "stride.ckpt", "videos/a.mp4", "--stream", "true", "--lines", "change"])
            == 0
        )
        changes = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert changes == [
            line
            for before, line in zip([[""] * 4, *lines], lines, strict=False)
            if line[2] != before[2]
        ]

    def test_a_core_that_reads_both_ways_is_refused(self, here, capsys):
        assert main(["label", "both.ckpt", "videos/a.mp4", "--stream"]) == 2
        error = capsys.readouterr().err
        assert "--stream: the model's Bidirectional reads the frames to come" in error
        assert len(error.strip().splitlines()) == 2


class TestFeatures:
    @pytest.mark.parametrize("stream", [False, True])
    def test_either_axis_may_come_first(self, here, stream, capsys):
        features = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
        np.save("time.npy", features)
        np.save("feature.npy", features.T)
        words = [
            "label",
            "features.ckpt",
            "time.npy",
            "feature.npy",
            *(["--stream"] if stream else []),
        ]
        assert main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        if stream:
            assert len(lines) == 60
            assert lines[:30] == lines[30:]
        else:
            assert rows("labels/time.csv") == rows("labels/feature.csv")
            assert not Path("labels/time.mp4").exists()

    def test_bad_features_are_named(self, here, capsys):
        bad = np.zeros((30, 5), np.float32)
        bad[3, 2] = np.nan
        np.save("nan.npy", bad)
        np.save("wide.npy", np.zeros((30, 6), np.float32))
        Path("text.npy").write_text("no numbers")
        np.save("good.npy", np.zeros((3, 5)))
        np.save("words.npy", np.full((30, 5), "one"))
        bad_files = ["nan.npy", "wide.npy", "text.npy", "none.npy", "words.npy"]
        assert main(["label", "features.ckpt", *bad_files, "good.npy"]) == 3
        output = capsys.readouterr()
        assert "'nan.npy' holds features that are not finite" in output.err
        assert "'wide.npy' holds float32 (30, 6); this model reads numbers, (5, T)" in output.err
        assert "'text.npy' is no .npy file" in output.err
        assert "There is no file of features 'none.npy'" in output.err
        assert "'words.npy' holds <U3 (30, 5); this model reads numbers, (5, T)" in output.err
        assert "5 of 6 video(s) could not be labelled; the others are labelled" in output.err
        assert output.out.startswith("good.npy: 3 frames")


class TestBadInput:
    def test_one_bad_video_is_named_and_the_rest_labelled(self, here, capsys):
        whole = Path("videos/a.mp4").read_bytes()
        Path("videos/cut.mp4").write_bytes(whole[: len(whole) // 2])
        Path("videos/empty.mp4").write_bytes(b"")
        assert main(["label", "forwards.ckpt", "videos", "--overlay", "false"]) == 3
        output = capsys.readouterr()
        assert "'videos/cut.mp4' is cut short" in output.err
        assert "'videos/empty.mp4' is empty: 0 bytes" in output.err
        assert "2 of 5 video(s) could not be labelled; the others are labelled" in output.err
        assert len(output.out.splitlines()) == 3
        assert sorted(path.name for path in Path("labels").glob("*.csv")) == [
            "a.csv",
            "a_2.csv",
            "frames.csv",
        ]

    def test_what_breaks_off_leaves_nothing(self, here, capsys):
        Path("videos/frames/6.png").write_bytes(b"no picture")
        for words in ([], ["--stream"]):
            assert main(["label", "forwards.ckpt", "videos/frames", *words]) == 3
            assert "'videos/frames/6.png' is no image" in capsys.readouterr().err
        assert list(Path("labels").iterdir()) == []

    def test_an_interrupted_video_leaves_nothing(self, here, monkeypatch):
        monkeypatch.setattr(
            "unrolled.apps.pictures.burn_in.burn_in", Mock(side_effect=KeyboardInterrupt)
        )
        assert main(["label", "forwards.ckpt", "videos/a.mp4"]) == 130
        assert list(Path("labels").iterdir()) == []

    def test_a_video_of_one_frame(self, here, capsys):
        write_video(here / "one.mp4", moving(1))
        assert main(["label", "both.ckpt", "one.mp4"]) == 0
        assert len(rows("labels/one.csv")) == 1
        assert main(["label", "forwards.ckpt", "one.mp4", "--stream"]) == 0

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (["none.mp4"], 3, "There is no video 'none.mp4'"),
            (["nothing"], 3, "'nothing' is a folder with neither videos"),
            (
                ["videos/a.mp4", "--out", "forwards.ckpt"],
                2,
                "--out 'forwards.ckpt' can't be made a folder",
            ),
            (
                ["videos/a.mp4", "--out", "videos"],
                2,
                "--out would overwrite 'videos/a.mp4' or what lies beside it",
            ),
            (["videos/a.mp4", "--chunk", "0"], 2, "--chunk 0: must be at least 1"),
            (["videos/a.mp4", "--lines", "all"], 2, "--lines: expected one of 'frame', 'change'"),
            (
                ["videos/a.mp4", "--overlai", "false"],
                2,
                "There is no flag '--overlai'. Did you mean '--overlay'?",
            ),
            ([], 2, "Missing: videos"),
        ],
    )
    def test_what_is_asked_for_wrongly(self, here, capsys, words, code, message):
        Path("nothing").mkdir()
        assert main(["label", "forwards.ckpt", *words]) == code
        assert message in capsys.readouterr().err

    def test_a_model_that_does_not_label(self, here, capsys):
        assert main(["label", "none.ckpt", "videos/a.mp4"]) == 3
        assert "There is no checkpoint 'none.ckpt'" in capsys.readouterr().err
