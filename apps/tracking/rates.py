"""Logs the learning rate with the loss of the same step."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class LearningRate(Callback):
    """Logs the learning rate of the optimizer's first group as `train/lr`."""

    def __init__(self) -> None:
        self._rate = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take note of it: the schedule changes it before the step's end."""
        if trainer.optimizers:
            self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add it to the row of this step, where there is one."""
        if trainer._logger_connector.should_update_logs:
            pl_module.log("train/lr", float(self._rate), batch_size=1)
