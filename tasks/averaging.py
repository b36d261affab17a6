"""Averages of the weights over training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

_AVERAGED = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
)
"""Types of which a mean can be taken: a counter (BatchNorm's) and a mask have none."""


class EMA(WeightAveraging):
    """Exponential moving average of the weights (Polyak and Juditsky 1992).

    It is validated and saved in the weights' place. Lightning's callback, with a warm-up: after
    update n the average keeps min(decay, (1 + n) / (10 + n)) of itself. Without it a short run
    would be judged by its random start. Buffers (a batch normalisation's running statistics) are
    averaged too; those of whole numbers and truth values (its counter) are the model's own.

    Args:
        decay: Share of itself that the average keeps at each step, in the long run.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must be at least 0 and below 1")
        self.decay = decay
        self._current: list[Tensor] = []
        super().__init__(multi_avg_fn=self._average)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copy the model, also in double precision: Lightning converts the model only later."""
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None and trainer.precision == "64-true":
            self._average_model.double()

    # Lightning exchanges the two in place, and so rounds the average to the model's precision at
    # every validation.
    @torch.no_grad()
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the average in the model's place."""
        if self._average_model is not None:
            self._current = [tensor.clone() for tensor in _tensors(pl_module)]
            self._copy_average_to_current(pl_module)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the model back."""
        for tensor, value in zip(_tensors(pl_module), self._current, strict=False):
            tensor.copy_(value)
        self._current = []

    @torch.no_grad()
    def _average(self, averaged: Any, current: Any, _: Any) -> None:
        if averaged[0].dtype not in _AVERAGED:  # all of a call are of one type
            torch._foreach_copy_(averaged, current)
            return
        # counted on the host: the model's own counter is on the device
        updates = self._latest_update_step
        keep = min(self.decay, (1 + updates) / (10 + updates))
        # In true half precision the model is rounded, but its average, which moves in small steps,
        # must not be.
        current = [new.to(old.dtype) for old, new in zip(averaged, current, strict=True)]
        torch._foreach_lerp_(averaged, current, 1 - keep)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(module.parameters(), module.buffers())
