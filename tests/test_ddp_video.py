"""Video labelling on two processes (ddp, gloo, CPU): trained in chunks as on one, scored alike, resumed exactly."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

HELPERS = Path(__file__).resolve().parent / "helpers"
CLASSES = ["rest", "cut", "mix"]


def write_videos(root: Path) -> None:
    """Write nine videos in the layout of MS-TCN: four rows have unequal shares, and validation an odd number."""
    random = np.random.default_rng(0)
    for folder in ("features", "groundTruth", "splits"):
        (root / folder).mkdir(parents=True)
    (root / "mapping.txt").write_text("".join(f"{number} {name}\n" for number, name in enumerate(CLASSES)))
    for number in range(9):
        labels = np.repeat(random.integers(3, size=9), random.integers(2, 9, size=9))
        features = np.eye(4)[labels] + 0.5 * random.normal(size=(len(labels), 4))
        np.save(root / "features" / f"v{number}.npy", features.T.astype(np.float32))
        (root / "groundTruth" / f"v{number}.txt").write_text("".join(f"{CLASSES[label]}\n" for label in labels))
    for part, names in {"train": range(8), "test": [8]}.items():
        (root / "splits" / f"{part}.split1.bundle").write_text("".join(f"v{number}.txt\n" for number in names))


def run(folder: Path, name: str, processes: int, *more: str, kill_at: int = -1) -> int:
    """Train in a subprocess; return its exit code."""
    command = [
        *(sys.executable, "-m", "unrolled", "fit", "video/segmentation", "--name", name, "--data.root", "videos"),
        *("--data.batch_size", str(4 // processes), "--data.chunk_length", "6", "--data.eval_chunk_length", "7"),
        *("--data.val_fraction", "0.375", "--data.background", "[rest]"),
        *("--model.core", "GRU", "--model.core.hidden_size", "6"),
        *("--model.input_dropout", "0", "--model.output_dropout", "0", "--trainer.max_epochs", "2"),
        *("--trainer.precision", "64-true", "--trainer.accelerator", "cpu", "--trainer.devices", str(processes)),
        *("--trainer.strategy", "ddp" if processes > 1 else "auto", "--trainer.log_every_n_steps", "1"),
        *("--checkpoint.every_n_train_steps", "5", "--trainer.callbacks+", "kill_at.KillAt", *more),
    ]
    environment = {**os.environ, "KILL_AT": str(kill_at), "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, timeout=300, check=False).returncode


def checkpoint(folder: Path, name: str) -> dict:
    return torch.load(folder / "runs/video" / name / "checkpoints/last.ckpt", weights_only=True)


def validations(folder: Path, name: str) -> list[dict[str, float]]:
    """The scores of a run's validations."""
    with (folder / "runs/video" / name / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/loss")]
    return [{key: float(value) for key, value in row.items() if key.startswith("val/")} for row in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    write_videos(folder / "videos")
    assert run(folder, "one", 1) == 0
    assert run(folder, "two", 2) == 0
    return folder


def test_two_processes_equal_one_with_the_same_global_batch(folder):
    one, two = checkpoint(folder, "one"), checkpoint(folder, "two")
    assert one["global_step"] == two["global_step"] > 10
    for name, value in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], value, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(two["carried_state"], one["carried_state"], rtol=1e-6, atol=1e-6)
    scores = validations(folder, "one")
    assert len(scores) == 2
    assert len(scores[0]) == 8
    for found, expected in zip(validations(folder, "two"), scores, strict=True):
        assert found == pytest.approx(expected, rel=1e-6)


def test_two_processes_killed_in_mid_epoch_and_resumed_are_bit_for_bit_the_same(folder):
    whole = checkpoint(folder, "two")
    kill_at = whole["global_step"] * 2 // 3 // 5 * 5 + 3  # in the second epoch, three steps after a checkpoint
    assert run(folder, "killed", 2, kill_at=kill_at) != 0
    assert checkpoint(folder, "killed")["global_step"] == kill_at - 3
    assert run(folder, "killed", 2, "--resume") == 0
    resumed = checkpoint(folder, "killed")
    assert resumed["global_step"] == whole["global_step"]
    for part in ("state_dict", "current_model_state", "carried_state"):
        for name, value in whole[part].items():
            assert torch.equal(resumed[part][name], value), (part, name)
    assert validations(folder, "killed")[-1] == validations(folder, "two")[-1]
