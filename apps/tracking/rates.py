"""Logs the learning rate with the loss of the same step."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class LearningRate(Callback):
    """Logs the learning rate of the optimizer's first group as `train/lr`."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add it to the row of this step."""
        if trainer._logger_connector.should_update_logs and trainer.optimizers:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            pl_module.log("train/lr", float(rate), batch_size=1)
