"""A run stops where it no longer gets better, and where its loss is not a number."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny_runs import enter, fit, read
from unrolled.apps.run.stopping import FiniteLoss, StopEarly
from unrolled.errors import UnrolledError


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch, repeats=60)


def test_a_run_out_of_patience_has_reached_its_end(capsys):
    flags = ["--trainer.val_check_interval", "2", "--early_stopping.min_delta", "100"]
    assert fit(*flags, "--early_stopping.patience", "1", steps=20) == 0
    stopped = read("last")["global_step"]
    assert stopped < 20
    assert fit(*flags, "--early_stopping.patience", "1", "--resume", steps=20) == 0
    assert read("last")["global_step"] == stopped
    assert "the run had reached its end" in capsys.readouterr().err
    assert fit(*flags, "--early_stopping.patience", "3", "--resume", steps=20) == 0
    assert read("last")["global_step"] > stopped


def test_a_resumed_run_has_the_patience_of_its_command_line():
    callback = StopEarly(patience=5)
    callback.load_state_dict(StopEarly().state_dict())
    assert callback.patience == 5
    assert callback.enabled


class Spoil(Callback):
    """Makes the head's weights infinite before a step's forward pass."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.weights: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            with torch.no_grad():
                pl_module.model.head.bias[0] = torch.nan
            self.weights = [
                parameter.detach().clone() for parameter in pl_module.model.core.parameters()
            ]


def test_a_loss_that_is_not_finite_stops_the_run_before_the_step(task_and_data, tmp_path, trainer):
    model, data = task_and_data
    spoil = Spoil(step=7)
    saved = ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=1, save_top_k=-1)
    run = trainer(
        max_epochs=1,
        limit_val_batches=0,
        callbacks=[spoil, FiniteLoss(), saved],
        enable_checkpointing=True,
    )
    with pytest.raises(
        UnrolledError, match=r"the loss is not finite at step 7 \(epoch 0, batch 7\)"
    ):
        run.fit(model, data)
    for parameter, before in zip(model.model.core.parameters(), spoil.weights, strict=True):
        assert torch.equal(parameter, before)
    last = max((tmp_path / "ckpt").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["global_step"] == 7  # seven good steps: 0 to 6
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
