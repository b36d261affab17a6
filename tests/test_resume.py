"""A run that was killed and resumed ends exactly where an undisturbed one does."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from chains import same, same_runs
from forks import HELPERS
from tiny_tasks import CASES, random_fit
from unrolled.cli import main

CASE = CASES[0]
RUNS = Path("runs", CASE.task)
PARTS = (
    "state_dict",
    "current_model_state",
    "optimizer_states",
    "lr_schedulers",
    "random_state",
    "carried_state",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HELPERS)
    CASE.write(tmp_path)
    return tmp_path


def arguments(name: str, workers: int) -> list[str]:
    return random_fit(
        CASE,
        name,
        *("--data.num_workers", str(workers), "--trainer.max_epochs", "3"),
        *("--trainer.callbacks+", "kill_at.KillAt", "--checkpoint.every_n_train_steps", "7"),
    )


def checkpoint(name: str) -> dict:
    return torch.load(RUNS / name / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture
def train(forks, folder) -> Callable[..., int]:
    """A function that trains in processes of their own and returns the exit code."""

    def run(
        name: str, *more: str, kill_at: int = -1, way: str = "SIGKILL", workers: int = 0
    ) -> int:
        words = [*arguments(name, workers), *more]
        return forks.run(folder, words, KILL_AT=str(kill_at), KILL_WAY=way)

    return run


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_killed_in_mid_epoch_and_resumed_is_bit_for_bit_the_same(train, workers):
    assert main(arguments("whole", workers)) == 0
    whole = checkpoint("whole")
    steps = whole["global_step"]
    # The second epoch is under way, five steps after a checkpoint.
    kill_at = (steps // 3 + steps // 6) // 7 * 7 + 5
    assert train("killed", kill_at=kill_at, workers=workers) == -signal.SIGKILL
    assert checkpoint("killed")["global_step"] == kill_at - 5
    assert main([*arguments("killed", workers), "--resume"]) == 0
    same_runs(RUNS / "whole", RUNS / "killed")


@pytest.mark.slow  # test_resume_chains.py kills in validations, too
def test_killed_in_a_validation_it_is_done_again(train):
    often = ["--trainer.val_check_interval", "10", "--trainer.max_epochs", "2"]
    assert main([*arguments("whole", 0), *often]) == 0
    half = checkpoint("whole")["global_step"] // 2
    assert train("killed", *often, kill_at=half, way="SIGKILL in validation") == -signal.SIGKILL
    assert main([*arguments("killed", 0), *often, "--resume"]) == 0
    same_runs(RUNS / "whole", RUNS / "killed")


def stopping(name: str, batches_a_step: int) -> list[str]:
    """Return the command line of a run that validates often."""
    accumulate = ["--trainer.accumulate_grad_batches", str(batches_a_step)]
    often = ["--trainer.val_check_interval", "10", "--trainer.max_epochs", "2"]
    return [*arguments(name, 0), *often, *accumulate]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Callable[[int], dict]:
    """A function that gives the last checkpoint of a run with so many batches a step."""

    @cache
    def train(batches_a_step: int) -> dict:
        folder = tmp_path_factory.mktemp("whole")
        CASE.write(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert main(stopping("whole", batches_a_step)) == 0
            return checkpoint("whole")

    return train


@pytest.mark.parametrize(
    ("way", "code", "batches_a_step", "resume"),
    [
        # test_resume_chains.py has SIGTERM between the batches of a step, too
        pytest.param("SIGTERM", 143, 2, "last", marks=pytest.mark.slow),
        ("SIGTERM", 143, 1, "best"),
        ("stop", 0, 1, "last"),
        ("stop in validation", 0, 1, "last"),
    ],
)
def test_stopped_in_mid_epoch_and_resumed_is_bit_for_bit_the_same(
    folder, monkeypatch, uninterrupted, way, code, batches_a_step, resume
):
    command, whole = stopping("stopped", batches_a_step), uninterrupted(batches_a_step)
    with monkeypatch.context() as patch:
        patch.setenv("KILL_AT", str(whole["global_step"] * 3 // 4))
        patch.setenv("KILL_WAY", way)
        assert main(command) == code
    assert whole["global_step"] // 2 < checkpoint("stopped")["global_step"] < whole["global_step"]
    path = f"runs/char_lm/stopped/checkpoints/{resume}.ckpt"
    assert main([*command, "--trust", "kill_at", "--resume", path]) == 0
    resumed = checkpoint("stopped")
    assert resumed["global_step"] == whole["global_step"]
    for part in PARTS:
        same(resumed[part], whole[part], part)
    # A run that is stopped validates once more.
    counters = [
        {
            name: value
            for name, value in state["loops"]["fit_loop"].items()
            if "val_loop" not in name
        }
        for state in (resumed, whole)
    ]
    same(*counters, "loops")


SCHEDULING = """\
trainer:
  callbacks+:
    - class_path: lightning.pytorch.callbacks.GradientAccumulationScheduler
      init_args: {scheduling: {0: 1, 1: 3}}
"""


@pytest.mark.parametrize(
    "settings",
    [
        # Lightning's own name of it is no plain text
        "--trainer.gradient_clip_val 0.01 --trainer.gradient_clip_algorithm value",
        "--config scheduling.yaml",
    ],
)
def test_settings_of_the_trainer_hold_after_a_resume(folder, monkeypatch, settings):
    (folder / "scheduling.yaml").write_text(SCHEDULING)
    assert main([*stopping("whole", 1), *settings.split()]) == 0
    whole, command = checkpoint("whole"), [*stopping("stopped", 1), *settings.split()]
    with monkeypatch.context() as patch:
        patch.setenv("KILL_AT", str(whole["global_step"] * 3 // 4))
        patch.setenv("KILL_WAY", "SIGTERM")
        assert main(command) == 143
    assert main([*command, "--resume"]) == 0
    for part in PARTS:
        same(checkpoint("stopped")[part], whole[part], part)
