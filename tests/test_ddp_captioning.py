"""Captioning on two processes (ddp, gloo, CPU): trained as on one, scored alike, resumed exactly."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HELPERS = Path(__file__).resolve().parent / "helpers"
SMALL = ["--model.encoder.backbone.channels", "[4,4,6,6]"]
# Frozen in the first epoch: ddp does not know of the gradients of the second.
THAWING = [
    *("--model.encoder.backbone", "TorchvisionBackbone", "--model.encoder.backbone.name", "mobilenet_v3_small"),
    *("--model.encoder.output_size", "4", "--model.unfreeze_epoch", "1", "--data.train_size", "10"),
]


def run(folder: Path, name: str, processes: int, *more: str, kill_at: int = -1) -> int:
    """Train in a subprocess; return its exit code."""
    command = [
        # 26 images: the last batch has two, and none for the second process; validation has an odd number
        *(sys.executable, "-m", "unrolled", "fit", "captioning", "--name", name, "--data.train_size", "26"),
        *("--data.val_size", "5", "--data.batch_size", str(4 // processes), "--model.decoder.hidden_size", "6"),
        *("--model.embedding_size", "5", "--model.doubly_stochastic", "0.5", "--trainer.max_epochs", "2"),
        *("--trainer.check_val_every_n_epoch", "1", "--model.max_length", "8"),
        *("--trainer.precision", "64-true", "--trainer.accelerator", "cpu", "--trainer.devices", str(processes)),
        *("--trainer.strategy", "ddp" if processes > 1 else "auto", "--trainer.log_every_n_steps", "1"),
        *("--checkpoint.every_n_train_steps", "5", "--trainer.callbacks+", "kill_at.KillAt", *more),
    ]
    environment = {**os.environ, "KILL_AT": str(kill_at), "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, timeout=300, check=False).returncode


def checkpoint(folder: Path, name: str) -> dict:
    return torch.load(folder / "runs/captioning" / name / "checkpoints/last.ckpt", weights_only=True)


def validations(folder: Path, name: str) -> list[dict[str, float]]:
    """The scores of a run's validations."""
    with (folder / "runs/captioning" / name / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/loss")]
    return [{key: float(value) for key, value in row.items() if key.startswith("val/")} for row in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ddp")


def assert_equal(folder: Path, one: str, two: str) -> None:
    first, second = checkpoint(folder, one), checkpoint(folder, two)
    assert first["global_step"] == second["global_step"]
    for name, value in first["state_dict"].items():
        torch.testing.assert_close(second["state_dict"][name], value, rtol=1e-6, atol=1e-6)
    scores = validations(folder, one)
    assert {"val/cider_d", "val/exact", "val/bleu4"} < set(scores[0])
    for found, expected in zip(validations(folder, two), scores, strict=True):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_two_processes_equal_one_and_resume_bit_for_bit(folder):
    assert run(folder, "one", 1, *SMALL) == 0
    assert run(folder, "two", 2, *SMALL) == 0
    assert_equal(folder, "one", "two")
    whole = checkpoint(folder, "two")
    assert whole["global_step"] == 14
    kill_at = 13  # in the second epoch, three steps after a checkpoint
    assert run(folder, "killed", 2, *SMALL, kill_at=kill_at) != 0
    assert checkpoint(folder, "killed")["global_step"] == 10
    assert run(folder, "killed", 2, *SMALL, "--resume") == 0
    resumed = checkpoint(folder, "killed")
    assert resumed["global_step"] == whole["global_step"]
    for name, value in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], value), name
    assert validations(folder, "killed")[-1] == validations(folder, "two")[-1]


@pytest.mark.slow  # two runs of a MobileNet
def test_a_backbone_that_thaws_learns_alike_on_two_processes(folder):
    assert run(folder, "thawed", 1, *THAWING) == 0
    assert run(folder, "thawed_two", 2, *THAWING) == 0
    assert_equal(folder, "thawed", "thawed_two")
