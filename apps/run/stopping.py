"""When a run stops before its end: it no longer gets better, or its loss is not a number."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from ...errors import UnrolledError, UsageError
from ...tasks.base import Task
from .resuming import has_validation


class StopEarly(EarlyStopping):
    """Stops a run that no longer gets better.

    Args:
        patience: Stop after this many validations without a better value; null: never.
        monitor: The logged metric to watch.
        mode: Whether better is smaller or larger.
        min_delta: The least change that counts as better.

    Raises:
        UsageError: The patience is negative.
    """

    def __init__(
        self,
        patience: int | None = None,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        min_delta: float = 0.0,
    ) -> None:
        if patience is not None and patience < 0:
            raise UsageError(f"--early_stopping.patience is {patience}; it has to be at least 0.")
        super().__init__(monitor, min_delta=min_delta, patience=patience or 0, mode=mode)
        self.enabled = patience is not None
        self._watched: Tensor | None = None  # the value; the metric's own may not be able to tell

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check after each validation, before the checkpoint; without one, at the epoch's end."""
        super().on_train_start(trainer, pl_module)
        if self.enabled and has_validation(trainer):
            self._check_on_train_epoch_end = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once when the checkpoint says that the patience is over."""
        super().on_fit_start(trainer, pl_module)
        if self.enabled and 0 < self.wait_count >= self.patience:
            trainer.should_stop = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint says, except for the patience, which the command line says.

        Args:
            state_dict: What `state_dict` returned.
        """
        super().load_state_dict({**state_dict, "patience": self.patience})

    def _run_early_stopping_check(self, trainer: Trainer) -> None:
        if self.enabled:
            name = cast(Task, trainer.lightning_module).instead_of(self.monitor)
            self._watched = trainer.callback_metrics.get(name)
            super()._run_early_stopping_check(trainer)

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        watched = current if self._watched is None else self._watched.squeeze()
        found: tuple[bool, str | None] = super()._evaluate_stopping_criteria(watched)
        return found


class FiniteLoss(Callback):
    """Stops a run whose loss is not a number, before the optimizer's step and any checkpoint.

    On a GPU the check is one step late, so that the host never waits for it; a checkpoint waits.
    """

    def __init__(self) -> None:
        self._pending: tuple[bool | Tensor, torch.cuda.Event | None, int, int, int] | None = None

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Check this loss, or on a GPU the one before."""
        self._check()
        finite: bool | Tensor
        copied = None
        if not loss.is_cuda:
            finite = math.isfinite(loss.item())
        else:
            finite = torch.isfinite(loss.detach())
            # Into page-locked memory: the host would wait for a copy into any other.
            pinned = torch.empty(finite.shape, dtype=torch.bool, pin_memory=True)
            finite = pinned.copy_(finite, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
        place = trainer.global_step, trainer.current_epoch, trainer.fit_loop.batch_idx
        self._pending = (finite, copied, *place)
        if copied is None:
            self._check()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to save what a bad loss has spoilt."""
        self._check()

    def _check(self) -> None:
        if self._pending is None:
            return
        finite, copied, step, epoch, batch = self._pending
        self._pending = None
        if copied is not None:
            copied.synchronize()
        if not finite:
            raise UnrolledError(
                f"the loss is not finite at step {step} (epoch {epoch}, batch {batch}): training "
                "stopped, the last checkpoint is good. Try a lower learning rate or "
                "--trainer.gradient_clip_val 1"
            )
