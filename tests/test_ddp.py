"""Two processes (ddp, gloo, CPU) train as one does, and resume exactly."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HELPERS = Path(__file__).resolve().parent / "helpers"


def run(folder: Path, name: str, processes: int, *more: str, kill_at: int = -1) -> int:
    """Train in a subprocess; return its exit code."""
    command = [
        *(sys.executable, "-m", "unrolled", "fit", "char_lm/text", "--name", name, "--data.path", "text.txt"),
        *("--data.batch_size", str(4 // processes), "--data.chunk_length", "16"),
        *("--model.core.hidden_size", "12", "--model.embedding_dropout", "0", "--model.input_dropout", "0"),
        *("--model.output_dropout", "0", "--model.activation_regularization", "0.5"),
        *("--model.temporal_activation_regularization", "0.5", "--trainer.max_epochs", "2"),
        *("--trainer.precision", "64-true", "--trainer.accelerator", "cpu", "--trainer.devices", str(processes)),
        *("--trainer.strategy", "ddp" if processes > 1 else "auto", "--trainer.log_every_n_steps", "1"),
        *("--checkpoint.every_n_train_steps", "7", "--trainer.callbacks+", "kill_at.KillAt", *more),
    ]
    environment = {**os.environ, "KILL_AT": str(kill_at), "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, timeout=300, check=False).returncode


def checkpoint(folder: Path, name: str) -> dict:
    return torch.load(folder / "runs/char_lm" / name / "checkpoints/last.ckpt", weights_only=True)


def validation_losses(folder: Path, name: str) -> list[float]:
    with (folder / "runs/char_lm" / name / "metrics.csv").open() as file:
        return [float(row["val/loss"]) for row in csv.DictReader(file) if row.get("val/loss")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    text = "".join(f"line {n}: {n * n % 97} {n % 7 * 'la '}\n" for n in range(120))
    # 90 % are for training, in 4 streams with chunks of 16: the last batch has one symbol, for the second process.
    length = next(length for length in range(len(text), 0, -1) if length * 9 // 10 % (4 * 16) == 1)
    (folder / "text.txt").write_text(text[:length])
    assert run(folder, "one", 1) == 0
    assert run(folder, "two", 2) == 0
    return folder


def test_two_processes_equal_one_with_the_same_global_batch(folder):
    one, two = checkpoint(folder, "one"), checkpoint(folder, "two")
    assert one["global_step"] == two["global_step"]
    for name, value in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], value, rtol=1e-6, atol=1e-6)
    losses = validation_losses(folder, "one")
    assert len(losses) == 2
    assert validation_losses(folder, "two") == pytest.approx(losses, rel=1e-6)


def test_two_processes_killed_and_resumed_are_bit_for_bit_the_same(folder):
    whole = checkpoint(folder, "two")
    kill_at = whole["global_step"] * 2 // 3 // 7 * 7 + 3  # in the second epoch, three steps after a checkpoint
    assert run(folder, "killed", 2, kill_at=kill_at) != 0
    assert checkpoint(folder, "killed")["global_step"] == kill_at - 3
    assert run(folder, "killed", 2, "--resume") == 0
    resumed = checkpoint(folder, "killed")
    assert resumed["global_step"] == whole["global_step"]
    for part in ("state_dict", "current_model_state"):
        for name, value in whole[part].items():
            assert torch.equal(resumed[part][name], value), (part, name)
