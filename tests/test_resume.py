"""A run that was killed and resumed ends exactly where an undisturbed one does."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from unrolled.cli import main

HELPERS = Path(__file__).resolve().parent / "helpers"
PARTS = ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "random_state", "carried_state")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HELPERS)
    (tmp_path / "text.txt").write_text("".join(f"line {n}: {n * n % 97} {n % 7 * 'la '}\n" for n in range(150)))
    return tmp_path


def arguments(name: str, workers: int) -> list[str]:
    return [
        *("fit", "char_lm/text", "--name", name, "--data.path", "text.txt"),
        *("--data.batch_size", "4", "--data.chunk_length", "16", "--data.num_workers", str(workers)),
        *("--model.core.hidden_size", "12", "--model.embedding_dropout", "0.1", "--model.output_dropout", "0.4"),
        *("--trainer.max_epochs", "3", "--trainer.accelerator", "cpu", "--trainer.callbacks+", "kill_at.KillAt"),
        *("--checkpoint.every_n_train_steps", "7"),
    ]


def checkpoint(name: str) -> dict:
    return torch.load(Path("runs/char_lm") / name / "checkpoints" / "last.ckpt", weights_only=True)


def validations(name: str) -> list[tuple[str, str]]:
    """Steps and losses of a run's validations."""
    with (Path("runs/char_lm") / name / "metrics.csv").open() as file:
        return [(row["step"], row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]


def same(a, b, where: str = "") -> None:
    """Assert that two nests of plain data are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{where}[{number}]")
    else:
        assert a == b, where


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_in_mid_epoch_and_resumed_is_bit_for_bit_the_same(folder, workers):
    assert main(arguments("whole", workers)) == 0
    whole = checkpoint("whole")
    steps = whole["global_step"]
    # The second epoch is under way, five steps after a checkpoint.
    kill_at = (steps // 3 + steps // 6) // 7 * 7 + 5
    environment = {**os.environ, "KILL_AT": str(kill_at), "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
    died = subprocess.run(
        [sys.executable, "-m", "unrolled", *arguments("killed", workers)], env=environment, check=False
    )
    assert died.returncode == -signal.SIGKILL
    assert checkpoint("killed")["global_step"] == kill_at - 5
    assert main([*arguments("killed", workers), "--resume"]) == 0
    resumed = checkpoint("killed")
    assert resumed["global_step"] == steps
    for part in PARTS:
        same(resumed[part], whole[part], part)


def test_killed_in_a_validation_it_is_done_again(folder):
    often = ["--trainer.val_check_interval", "10", "--trainer.max_epochs", "2"]
    assert main([*arguments("whole", 0), *often]) == 0
    whole = checkpoint("whole")
    environment = {**os.environ, "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
    environment |= {"KILL_AT": str(whole["global_step"] // 2), "KILL_WAY": "SIGKILL in validation"}
    command = [sys.executable, "-m", "unrolled", *arguments("killed", 0), *often]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert main([*arguments("killed", 0), *often, "--resume"]) == 0
    resumed = checkpoint("killed")
    for part in PARTS:
        same(resumed[part], whole[part], part)
    assert validations("killed") == validations("whole")


@pytest.mark.parametrize(
    ("way", "code", "batches_a_step", "resume"),
    [
        ("SIGTERM", 143, 2, "last"),
        ("SIGTERM", 143, 1, "best"),
        ("stop", 0, 1, "last"),
        ("stop in validation", 0, 1, "last"),
    ],
)
def test_stopped_in_mid_epoch_and_resumed_is_bit_for_bit_the_same(
    folder, monkeypatch, way, code, batches_a_step, resume
):
    accumulate = ["--trainer.accumulate_grad_batches", str(batches_a_step)]
    often = ["--trainer.val_check_interval", "10", "--trainer.max_epochs", "2", *accumulate]
    assert main([*arguments("whole", 0), *often]) == 0
    whole = checkpoint("whole")
    with monkeypatch.context() as patch:
        patch.setenv("KILL_AT", str(whole["global_step"] * 3 // 4))
        patch.setenv("KILL_WAY", way)
        assert main([*arguments("stopped", 0), *often]) == code
    assert whole["global_step"] // 2 < checkpoint("stopped")["global_step"] < whole["global_step"]
    assert main([*arguments("stopped", 0), *often, "--resume", f"runs/char_lm/stopped/checkpoints/{resume}.ckpt"]) == 0
    resumed = checkpoint("stopped")
    assert resumed["global_step"] == whole["global_step"]
    for part in PARTS:
        same(resumed[part], whole[part], part)
