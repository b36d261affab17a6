"""SIGTERM: a cluster wants its machine back."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed

from ...errors import UnrolledError
from .resuming import validates_next
from .saving import checkpoint_folder


class Preempted(UnrolledError):
    """The run was asked to stop and has saved itself."""

    exit_code = 143


class Preemption(Callback):
    """On SIGTERM: finish the step, and the validation or the epoch that ends with it; save; stop.

    Every process may be told, or only one of them: they agree at a step's end, all at the same one.

    Args:
        every_n_steps: How often several processes ask each other.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        self.every_n_steps = every_n_steps
        self._asked = False
        self._step = 0
        self._former: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the last turn: what others do after a step (averaging weights) has to be saved."""
        others = [callback for callback in trainer.callbacks if callback is not self]  # type: ignore[attr-defined]
        trainer.callbacks = [*others, self]  # type: ignore[attr-defined]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM over from Lightning, whose handler talks to other processes and can hang."""
        self._asked = False
        self._step = trainer.global_step
        with suppress(ValueError):  # signals belong to the main thread
            self._former = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_asked", True))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop if any process was asked to, unless a better place for it comes next."""
        step, before = trainer.global_step, self._step
        if step == before:  # gradients are being added up: no place to go on from
            return
        self._step = step
        alone = trainer.world_size == 1
        if not self._asked if alone else step % self.every_n_steps:
            return  # at most steps there is nothing to do, and nothing else is looked at
        if not trainer.is_last_batch and not validates_next(trainer):
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and stop after a validation, which may have taken long."""
        elsewhere = trainer.sanity_checking or trainer.is_last_batch
        if not elsewhere and not trainer.fit_loop._should_accumulate():
            self._stop_if_asked(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and stop at the end of an epoch; what stops a run within one has saved it."""
        if trainer.is_last_batch:
            self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Trainer) -> None:
        asked = self._asked
        if trainer.world_size > 1:
            flag = torch.tensor(int(asked), device=trainer.strategy.root_device)
            distributed.all_reduce(flag, distributed.ReduceOp.MAX)
            asked = bool(flag)
        if asked:
            path = checkpoint_folder(trainer) / "last.ckpt"
            trainer.save_checkpoint(path)
            raise Preempted(
                f"asked to stop (SIGTERM): saved {path} at step {trainer.global_step}; go on with "
                "--resume"
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give SIGTERM back."""
        if self._former is not None:
            with suppress(ValueError):
                signal.signal(signal.SIGTERM, self._former)
            self._former = None
