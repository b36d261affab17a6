"""`unrolled features`: the layout of MS-TCN from videos, and the cache of a frozen backbone."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import unrolled
from corpora import add_video, lights
from lightning.pytorch import Trainer
from unrolled.cli import main
from unrolled.core import FrameEncoder, SmallCNN
from unrolled.core.vision.backbones import TorchvisionBackbone
from unrolled.data import SegmentationData, VideoData
from unrolled.data.video.clips.module import write_video
from unrolled.data.video.frames import read_frames
from video_models import PICTURES, make_task, save_model

ENCODER = partial(FrameEncoder, backbone=partial(SmallCNN, channels=[4, 8]), places=2)


@pytest.fixture
def here(tmp_path, monkeypatch):
    save_model(tmp_path / "a.ckpt", PICTURES, encoder=ENCODER)
    for number in range(5):
        add_video(tmp_path / "videos" / f"v{number}.mp4", 10 + number, number)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_videos_with_labels_become_a_folder_that_segmentation_reads(here, capsys):
    assert main(["features", "a.ckpt", "videos", "--out", "out"]) == 0
    assert "5 videos with 3 classes" in capsys.readouterr().out
    data = SegmentationData("out", val_fraction=0.3)
    assert data.spec["feature_size"] == 32
    assert [len(data.videos(part)) for part in ("train", "val", "test")] == [3, 1, 1]
    encoder = unrolled.load("a.ckpt").encoder
    own = VideoData("videos", image_size=8, val_fraction=0, test_fraction=0, cache_dir="cache")
    for video in own.videos("train"):
        name = Path(video.name).stem
        with torch.no_grad():
            expected = encoder(video.read(0, len(video.labels))).t().numpy()
        np.testing.assert_allclose(np.load(f"out/features/{name}.npy"), expected, rtol=1e-4)
        lines = Path(f"out/groundTruth/{name}.txt").read_text().split()
        assert lines == [own.spec["classes"][number] for number in video.labels]


def test_frames_without_a_label_and_a_stride(here):
    for path in Path("videos").glob("*.csv"):
        path.write_text("start (s),end (s),label\n0.08,0.2,cut\n")
    assert main(["features", "a.ckpt", "videos", "--out", "out", "--stride", "2"]) == 0
    assert Path("out/mapping.txt").read_text() == "0 background\n1 cut\n"
    labels = Path("out/groundTruth/v0.txt").read_text().split()
    assert labels == ["background", "cut", "cut", "background", "background"]
    assert np.load("out/features/v0.npy").shape == (32, 5)


def test_a_torchvision_model_and_videos_without_labels(here, capsys):
    words = ["features", "squeezenet1_1", "videos/v0.mp4", "--weights", "none"]
    assert main([*words, "--image_size", "64"]) == 0
    assert np.load("features/features/v0.npy").shape == (512, 10)
    assert not Path("features/mapping.txt").exists()
    Path("bad.mp4").write_bytes(b"no video")
    assert main([*words, "bad.mp4", "--image_size", "64"]) == 3
    assert "1 of 2 video(s) could not be read" in capsys.readouterr().err
    assert main(["features", "resnet19", "videos/v0.mp4"]) == 2
    assert "Did you mean 'resnet18'?" in capsys.readouterr().err
    assert main(["features", "resnet18", "videos/v0.mp4", "--weights", "gone.pth"]) == 2
    assert "Its flag is --weights FILE" in capsys.readouterr().err


def test_features_of_a_frozen_backbone_are_made_once_and_train_alike(tmp_path):
    for number in range(3):
        add_video(tmp_path / "videos" / f"v{number}.mp4", 12, number)
    backbone = partial(TorchvisionBackbone, name="squeezenet1_1", frozen=True)
    encoder = partial(FrameEncoder, backbone=backbone, output_size=6)
    losses = []
    for kept in (False, True, True):
        data = VideoData(
            str(tmp_path / "videos"),
            image_size=64,
            cache_dir=str(tmp_path / "cache"),
            cache_features=kept,
        )
        torch.manual_seed(0)
        task = make_task(spec=data.spec, encoder=encoder)
        looked = []
        task.model.encoder.backbone.register_forward_hook(lambda *_, seen=looked: seen.append(1))
        trainer = Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(task, datamodule=data)
        losses.append((float(trainer.callback_metrics["val/loss"]), len(looked)))
    (whole, looked), (once, made), (again, nothing) = losses
    assert once == again == pytest.approx(whole, rel=1e-2)
    assert (made, nothing) == (2, 0)  # training and validation, a video each
    assert looked > made
    assert len(list((tmp_path / "cache" / "features").glob("features-*.npy"))) == 2


def test_frames_up_to_a_damage_are_kept_with_their_labels(tmp_path):
    folder = tmp_path / "videos"
    for number in range(3):
        add_video(folder / f"v{number}.mp4", 30, number)
    write_video(folder / "cut.ts", lights(60))
    whole = (folder / "cut.ts").read_bytes()
    (folder / "cut.ts").write_bytes(whole[: len(whole) * 2 // 3] + bytes(999))
    (folder / "cut.csv").write_text("start,end,label\n0,60,mix\n")
    add_video(folder / "moov.mp4", 40, labels=False)
    (folder / "moov.csv").write_text("start,end,label\n0,40,mix\n")
    (folder / "moov.mp4").write_bytes((folder / "moov.mp4").read_bytes()[:-200])
    settings = {"image_size": 16, "val_fraction": 0, "test_fraction": 0}
    data = VideoData(str(folder), broken="keep", cache_dir=str(tmp_path / "c"), **settings)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        videos = {video.name: video for video in data.videos("train")}
    said = "\n".join(str(warning.message) for warning in told)
    assert {"v0.mp4", "v1.mp4", "v2.mp4"} < set(videos)
    for name in set(videos) - {"v0.mp4", "v1.mp4", "v2.mp4"}:
        assert f"{len(videos[name].labels)} frames are kept" in said
        frames = list(read_frames(folder / name, image_size=16, keep=lambda _: None))
        assert len(frames) == len(videos[name].labels)
        assert (videos[name].labels == data.spec["classes"].index("mix")).all()
    anew = VideoData(
        str(folder), broken="keep", keep=False, cache_dir=str(tmp_path / "d"), **settings
    )
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        found = anew.videos("train")
    for video in found:
        count = len(video.labels)
        assert torch.equal(video.read(0, count), videos[video.name].read(0, count))
