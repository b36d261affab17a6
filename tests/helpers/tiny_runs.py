"""Runs of a tiny language model in this process, in a folder with a text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from unrolled.cli import main

TINY = ["--data.path", "text.txt", "--data.batch_size", "2", "--data.chunk_length", "8"]
CPU = ["--trainer.accelerator", "cpu"]
RUNS = Path("runs/char_lm")


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch, repeats: int = 40) -> None:
    """Write a text into a folder and work in it."""
    monkeypatch.chdir(folder)
    (folder / "text.txt").write_text("the cat sat on the mat. " * repeats)


def fit(*flags: str, task: str = "char_lm", steps: int = 2) -> int:
    """Train for some steps; return the exit code."""
    sized = "--resume" in flags or "--model.core" in flags
    size = [] if sized else ["--model.core.hidden_size", "8"]
    return main(["fit", task, *TINY, *CPU, *size, "--trainer.max_steps", str(steps), *flags])


def read(name: str, run: str = "1") -> dict:
    """Return what a checkpoint of a run holds."""
    return torch.load(RUNS / run / "checkpoints" / f"{name}.ckpt", weights_only=True)
