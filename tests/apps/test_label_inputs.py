"""What `unrolled label` takes: pipes, folders with strays, and no addresses."""

from __future__ import annotations

import csv
import os
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from unrolled.cli import main
from unrolled.core import GRU, FrameEncoder, SmallCNN
from unrolled.data.video.clips.module import write_video
from unrolled.tasks import VideoLabelling

SPEC = {
    "classes": ["none", "cut"],
    "background": ["none"],
    "feature_size": 0,
    "image_size": 16,
    "stride": 1,
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A checkpoint and two videos, as the working directory."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    encoder = partial(FrameEncoder, backbone=partial(SmallCNN, channels=[4, 8]))
    model = VideoLabelling(SPEC, partial(GRU, hidden_size=8), encoder=encoder)
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint("model.ckpt")
    pictures = np.random.default_rng(0).integers(0, 255, (9, 16, 16, 3), dtype=np.uint8)
    Path("videos").mkdir()
    write_video(tmp_path / "videos" / "a.mkv", pictures)
    write_video(tmp_path / "videos" / "b.mp4", pictures[:5])
    return tmp_path


def pipe(content: bytes) -> str:
    if not Path("pipe").exists():
        os.mkfifo("pipe")
    threading.Thread(target=lambda: Path("pipe").write_bytes(content), daemon=True).start()
    return "pipe"


def labels(path: str) -> list[str]:
    with open(path) as file:
        return [row["label"] for row in csv.DictReader(file)]


def test_videos_come_through_pipes_too(here, capsys):
    content = Path("videos/a.mkv").read_bytes()
    assert main(["label", "model.ckpt", "videos/a.mkv", "--out", "whole"]) == 0
    assert main(["label", "model.ckpt", pipe(content), "--out", "piped"]) == 0
    assert labels("piped/pipe.csv") == labels("whole/a.csv")
    assert Path("piped/pipe.mp4").is_file()  # the overlay reads it again
    capsys.readouterr()
    assert main(["label", "model.ckpt", pipe(content), "--stream"]) == 0
    out = capsys.readouterr().out
    assert [line.split("\t")[2] for line in out.splitlines()] == labels("whole/a.csv")
    assert main(["label", "model.ckpt", pipe(b"no video" * 99), "--stream"]) == 3
    assert "A pipe can't go back" in capsys.readouterr().err


def test_a_stray_picture_hides_no_video_and_is_named(here, capsys):
    Image.new("RGB", (8, 8)).save("videos/thumbnail.jpg")
    Path("videos/a.mkv").rename("videos/take one")
    assert main(["label", "model.ckpt", "videos", "--overlay", "false"]) == 0
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "videos/b.mp4",
        "videos/take one",
    ]
    assert "1 file of 'videos' left out, no videos: thumbnail.jpg." in err


def test_an_address_keeps_its_slashes(here, capsys):
    assert main(["label", "model.ckpt", "https://a.b/c.mp4"]) == 2
    assert "'https://a.b/c.mp4' is an address" in capsys.readouterr().err
