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
PLATEAU = "lightning.pytorch.cli.ReduceLROnPlateau"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch, repeats=60)
    (tmp_path / "worth.py").write_text(Path(__file__).read_text(encoding="utf-8"))
    monkeypatch.syspath_prepend(tmp_path)


class Scripted(Metric):
    """Says one value after the other, and then the last: what a validation is worth."""

    full_state_update = False
    script = (0.0, 0.0, 0.0, 0.0)

    def __init__(self, script: list[float]) -> None:
        super().__init__()
        self.script = script
        self.register_buffer("times", torch.zeros((), dtype=torch.int64))
        self.add_state("seen", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        if not self.seen:
            self.times += 1
        self.seen += 1

    def compute(self) -> Tensor:
        return torch.tensor(self.script[min(int(self.times), len(self.script)) - 1])


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


@pytest.mark.parametrize("values", [[0.0] * 5, [0.5, 1.0, 1.0, 0.5, 1.0]])
def test_of_equals_the_lower_loss_is_the_best(values, capsys):
    # a rate at which the loss goes up and down
    assert fit(*EVERY, *BY, *worth(*values), "--model.optimizer.lr", "0.3", steps=10) == 0
    found = losses()
    steps = sorted(found)
    best = [step for step, value in zip(steps, values, strict=True) if value == max(values)]
    chosen = min(best, key=found.__getitem__)
    assert chosen != best[0] or found[best[0]] == min(found[step] for step in best)
    assert read("best")["global_step"] == chosen + 1 or read("best")["global_step"] == chosen
    assert float(state("best")["best_model_score"]) == max(values)
    told = capsys.readouterr().err
    assert told.count("so the lower val/loss says which is the best") == 1
