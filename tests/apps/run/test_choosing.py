"""The best checkpoint is chosen by what can choose, and the learning rate follows what it should.

Validations are scripted: a metric of the configuration says what each of them is worth.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import RUNS, enter, fit, read
from torch import Tensor
from torchmetrics import Metric

EVERY = ["--trainer.val_check_interval", "2", "--trainer.num_sanity_val_steps", "0"]
BY = ["--checkpoint.monitor", "val/worth", "--checkpoint.mode", "max"]
COUNTED = Path("validations")
PLATEAU = "lightning.pytorch.cli.ReduceLROnPlateau"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch, repeats=60)
    (tmp_path / "worth.py").write_text(Path(__file__).read_text(encoding="utf-8"))
    monkeypatch.syspath_prepend(tmp_path)


class Scripted(Metric):
    """Says what the next validation is worth; a file counts them, also over a resumption."""

    full_state_update = False

    def __init__(self, script: list[float]) -> None:
        super().__init__()
        self.script = script
        self.add_state("seen", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        if not self.seen:
            with COUNTED.open("a") as file:
                file.write("one\n")
        self.seen += 1

    def compute(self) -> Tensor:
        times = len(COUNTED.read_text().split()) if COUNTED.exists() else 1
        return torch.tensor(self.script[min(times, len(self.script)) - 1])


def worth(*values: float) -> list[str]:
    script = f"{{class_path: worth.Scripted, init_args: {{script: {list(values)}}}}}"
    return ["--model.metrics", f"{{worth: {script}}}"]


def state(name: str) -> dict:
    callbacks = read(name)["callbacks"]
    (found,) = (value for key, value in callbacks.items() if key.startswith("Checkpoint"))
    return found


def losses() -> dict[int, float]:
    """The validations' losses by their steps."""
    lines = [line.split(",") for line in (RUNS / "1" / "metrics.csv").read_text().splitlines()]
    head = lines[0]
    rows = [dict(zip(head, line, strict=True)) for line in lines[1:]]
    return {int(row["step"]): float(row["val/loss"]) for row in rows if row["val/loss"]}


@pytest.mark.parametrize("values", [[0.0] * 5, [0.5, 0.5, 0.5, 0.5, 0.25]])
def test_of_equals_the_lower_loss_is_the_best(values, capsys):
    # a rate at which the loss goes up and down
    assert fit(*EVERY, *BY, *worth(*values), "--model.optimizer.lr", "0.3", steps=10) == 0
    found = {step + 1: loss for step, loss in losses().items()}  # a row counts from 0
    steps = sorted(found)
    best = [step for step, value in zip(steps, values, strict=True) if value == max(values)]
    chosen = min(best, key=found.__getitem__)
    assert chosen != best[0]  # the first of them would have been kept otherwise
    assert read("best")["global_step"] == chosen
    assert float(state("best")["best_model_score"]) == max(values)
    told = capsys.readouterr().err
    assert told.count("so the lower val/loss says which is the best") == 1


def test_several_of_the_best_keep_those_of_the_lower_loss():
    flags = [*EVERY, *BY, *worth(0.0), "--checkpoint.save_top_k", "2"]
    assert fit(*flags, "--model.optimizer.lr", "0.3", steps=10) == 0
    found = {step + 1: loss for step, loss in losses().items()}  # a row counts from 0
    kept = {read(path.stem)["global_step"] for path in (RUNS / "1/checkpoints").glob("best-*")}
    assert kept == set(sorted(found, key=found.__getitem__)[:2])
    assert read("best")["global_step"] == min(found, key=found.__getitem__)


def following(*flags: str) -> list[str]:
    words = ["--model.lr_scheduler", PLATEAU]
    for name, value in zip(flags[::2], flags[1::2], strict=True):
        words += [f"--model.lr_scheduler.{name}", value]
    return [*words, "--model.lr_scheduler.patience", "0", "--model.lr_scheduler.factor", "0.5"]


def rate(name: str = "last") -> float:
    return read(name)["optimizer_states"][0]["param_groups"][0]["lr"]


def test_a_learning_rate_follows_a_metric_and_resumes_exactly():
    script = worth(0.1, 0.3, 0.2, 0.2, 0.9, 0.1)
    flags = [*following("monitor", "val/worth", "mode", "max"), "--model.optimizer.lr", "0.08"]
    flags += [*EVERY, *script, "--checkpoint.every_n_train_steps", "2"]
    assert fit(*flags, steps=12) == 0
    whole = read("last")
    # better, better, worse, as bad, better, worse: three times half
    assert rate() == pytest.approx(0.08 / 8)
    COUNTED.unlink()
    for steps in (2, 5, 7, 12):  # interrupted at validations and between them
        more = ["--resume", "--trust", "worth"] if steps > 2 else []
        assert fit(*flags, *more, "--name", "2", steps=steps) == 0
    resumed = read("last", "2")
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert repr(resumed[part]) == repr(whole[part])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (following("monitor", "val/los"), "Did you mean 'val/loss'?"),
        (following("monitor", "worth"), "--model.lr_scheduler.monitor 'worth'"),
        (
            ["--model.lr_scheduler", "ReduceLROnPlateau"],
            "Several classes are called 'ReduceLROnPlateau': give the whole name, "
            "torch.optim.lr_scheduler.ReduceLROnPlateau or lightning.pytorch.cli.ReduceLROnPlateau",
        ),
        (
            [
                *("--model.lr_scheduler", "torch.optim.lr_scheduler.ReduceLROnPlateau"),
                *("--model.lr_scheduler.mode", "max"),
            ],
            "has to be told what it follows",
        ),
        (
            [*following("monitor", "val/loss"), "--trainer.limit_val_batches", "0"],
            "there is no validation part",
        ),
    ],
)
def test_what_can_not_be_followed_is_refused(flags, told, capsys):
    assert fit(*EVERY, *flags, steps=4) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "epoch" not in said  # before any step


def test_torchs_own_schedule_follows_the_loss():
    flags = ["--model.lr_scheduler", "torch.optim.lr_scheduler.ReduceLROnPlateau"]
    assert fit(*EVERY, *flags, "--model.lr_scheduler.patience", "0", steps=4) == 0
    assert read("last")["lr_schedulers"][0]["last_epoch"] == 2
