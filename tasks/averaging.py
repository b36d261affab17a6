"""Averages of the weights over training."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging


class EMA(WeightAveraging):
    """Exponential moving average of the weights (Polyak and Juditsky 1992), validated and saved in the weights' place.

    Lightning's callback, with a warm-up: after update n the average keeps min(decay, (1 + n) / (10 + n)) of itself.
    Without it a short run would be judged by its random start.

    Args:
        decay: Share of itself that the average keeps at each step, in the long run.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must be at least 0 and below 1")
        self.decay = decay
        super().__init__(multi_avg_fn=self._average)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copy the model; in double precision too, which Lightning gives the model itself only later."""
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None and trainer.precision == "64-true":
            self._average_model.double()

    @torch.no_grad()
    def _average(self, averaged: Any, current: Any, _: Any) -> None:
        updates = self._latest_update_step  # counted on the host: the model's own counter is on the device
        keep = min(self.decay, (1 + updates) / (10 + updates))
        # In true half precision the model is rounded, but its average, which moves in small steps, must not be.
        current = [new.to(old.dtype) for old, new in zip(averaged, current, strict=True)]
        torch._foreach_lerp_(averaged, current, 1 - keep)
