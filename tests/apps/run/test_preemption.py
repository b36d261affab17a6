"""SIGTERM ends a run well."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from unrolled.apps.run.preemption import Preempted, Preemption


class Kill(Callback):
    """Sends SIGTERM to this process in the middle of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_backward(self, trainer, pl_module, loss):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_finishes_the_step_saves_and_stops(task_and_data, tmp_path, trainer):
    model, data = task_and_data
    before = signal.getsignal(signal.SIGTERM)
    saved = ModelCheckpoint(tmp_path / "ckpt")
    run = trainer(
        max_epochs=1,
        limit_val_batches=0,
        callbacks=[Kill(step=5), Preemption(), saved],
        enable_checkpointing=True,
    )
    with pytest.raises(
        Preempted, match=r"saved .*last\.ckpt at step 6; go on with --resume"
    ) as error:
        run.fit(model, data)
    assert error.value.exit_code == 143
    assert torch.load(tmp_path / "ckpt" / "last.ckpt", weights_only=True)["global_step"] == 6
    assert signal.getsignal(signal.SIGTERM) is before
