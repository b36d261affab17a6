"""`unrolled fit video` as it ships: it learns the built-in clips, and labels them."""

from __future__ import annotations

import re

import pytest
from unrolled.cli import main


@pytest.mark.slow
def test_the_default_learns_the_clips(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    assert main(["fit", "video", "--name", "tried", "--trainer.accelerator", "cpu"]) == 0
    best = "runs/video/tried/checkpoints/best.ckpt"
    capsys.readouterr()
    assert main(["test", "video", "--ckpt_path", best, "--trainer.accelerator", "cpu"]) == 0
    scores = dict(re.findall(r"^test/(\S+)\s+([\d.]+)$", capsys.readouterr().out, re.MULTILINE))
    assert float(scores["accuracy"]) >= 97
    assert float(scores["f1@50"]) >= 90
    clip = next((tmp_path / "cache").rglob("test/0000.mp4"))
    assert main(["label", best, str(clip), "--stream", "--lines", "change"]) == 0
    assert "median" in capsys.readouterr().err
