"""Two processes (ddp, gloo, CPU) train and score as one does, and resume exactly: every task."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_tasks import CASES, Case

# Frozen in the first epoch: ddp does not know of the gradients of the second.
THAWING = Case(
    "captioning",
    lambda folder: None,
    (
        *("--data.val_size", "5", "--data.train_size", "10", "--model.max_length", "8"),
        *("--model.decoder.hidden_size", "6", "--model.embedding_size", "5"),
        *("--model.encoder.backbone", "TorchvisionBackbone", "--model.encoder.output_size", "4"),
        *("--model.encoder.backbone.name", "mobilenet_v3_small", "--model.unfreeze_epoch", "1"),
        *("--trainer.check_val_every_n_epoch", "1"),
    ),
)


@pytest.fixture(scope="module")
def run(forks) -> Callable[..., int]:
    """A function that trains in processes of their own and returns the exit code."""

    def train(
        folder: Path, case: Case, name: str, processes: int, *more: str, kill_at: int = -1
    ) -> int:
        arguments = [
            *("fit", case.variant, "--name", name, *case.flags),
            *("--data.batch_size", str(4 // processes), "--trainer.max_epochs", "2"),
            *("--trainer.log_every_n_steps", "1", "--trainer.precision", "64-true"),
            *("--trainer.accelerator", "cpu", "--trainer.devices", str(processes)),
            *("--trainer.strategy", "ddp" if processes > 1 else "auto"),
            *("--checkpoint.every_n_train_steps", "5", "--trainer.callbacks+", "kill_at.KillAt"),
            *more,
        ]
        # One run is begun as people do it: Lightning's launcher starts the other process.
        launched = (case.task, name) == ("translation", "two")
        return forks.run(folder, arguments, 1 if launched else processes, KILL_AT=str(kill_at))

    return train


def checkpoint(folder: Path, case: Case, name: str) -> dict:
    return torch.load(
        folder / "runs" / case.task / name / "checkpoints/last.ckpt", weights_only=True
    )


def validations(folder: Path, case: Case, name: str) -> list[dict[str, float]]:
    """The scores of a run's validations."""
    with (folder / "runs" / case.task / name / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/loss")]
    return [
        {key: float(value) for key, value in row.items() if key.startswith("val/") and value}
        for row in rows
    ]


def assert_close(folder: Path, case: Case, one: str, two: str) -> None:
    """Assert that two runs have the same weights, carried states and scores, but for rounding."""
    first, second = checkpoint(folder, case, one), checkpoint(folder, case, two)
    assert first["global_step"] == second["global_step"]
    assert first.keys() == second.keys()
    for part in ("state_dict", "carried_state"):
        torch.testing.assert_close(second.get(part, {}), first.get(part, {}), rtol=1e-6, atol=1e-6)
    scores = validations(folder, case, one)
    assert len(scores) == 2
    for found, expected in zip(validations(folder, case, two), scores, strict=True):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def quick(*tasks: str) -> list:
    """All tasks, of which the ordinary run has these."""
    slow = pytest.mark.slow
    return [
        pytest.param(case, id=case.task, marks=[] if case.task in tasks else slow) for case in CASES
    ]


# Of the two tasks that carry a state and the two that decode, the ordinary run has one here, and
# the other two in apps/run/test_results.py.
@pytest.fixture(scope="module", params=quick("translation", "video"))
def trained(request, run, tmp_path_factory) -> tuple[Path, Case]:
    """A folder with a run of one process and one of two."""
    folder = tmp_path_factory.mktemp("ddp")
    request.param.write(folder)
    assert run(folder, request.param, "one", 1) == 0
    assert run(folder, request.param, "two", 2) == 0
    return folder, request.param


def test_two_processes_equal_one_with_the_same_global_batch(trained):
    assert_close(*trained, "one", "two")


@pytest.mark.parametrize("trained", quick("video"), indirect=True)
def test_two_processes_killed_in_mid_epoch_and_resumed_are_bit_for_bit_the_same(trained, run):
    folder, case = trained
    whole = checkpoint(folder, case, "two")
    saved = (whole["global_step"] - 4) // 5 * 5  # the last save before the end
    assert saved > whole["global_step"] // 2
    assert saved % (whole["global_step"] // 2)
    assert run(folder, case, "killed", 2, kill_at=saved + 3) != 0
    assert checkpoint(folder, case, "killed")["global_step"] == saved
    assert run(folder, case, "killed", 2, "--resume") == 0
    resumed = checkpoint(folder, case, "killed")
    assert resumed["global_step"] == whole["global_step"]
    for part in ("state_dict", "current_model_state", "carried_state"):
        torch.testing.assert_close(resumed.get(part, {}), whole.get(part, {}), rtol=0, atol=0)
    assert validations(folder, case, "killed")[-1] == validations(folder, case, "two")[-1]


@pytest.mark.slow  # two runs of a MobileNet
def test_a_backbone_that_thaws_learns_alike_on_two_processes(tmp_path, run):
    assert run(tmp_path, THAWING, "one", 1) == 0
    assert run(tmp_path, THAWING, "two", 2) == 0
    assert_close(tmp_path, THAWING, "one", "two")
