"""SIGTERM, Ctrl-C, a terminal that is closed: the run saves itself at the next place for it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed

from ...errors import UnrolledError
from ...signals import NAMES
from .folder import folders
from .resuming import validates_next
from .saving import checkpoint_folder


class Preempted(UnrolledError):
    """The run was asked to stop; the exit code is a shell's for the signal.

    Args:
        message: What became of it.
        number: The signal.
    """

    exit_code = 143

    def __init__(self, message: str, number: int = signal.SIGTERM) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Preemption(Callback):
    """When asked to: finish the step, the validation or epoch that ends with it; save; stop.

    SIGTERM asks, SIGHUP and the first Ctrl-C; the second ends the run at once. Every process may be
    asked, or only one of them: they agree at a step's end, all at the same one.

    Args:
        every_n_steps: How often several processes ask each other.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        self.every_n_steps = every_n_steps
        self._asked = 0  # the signal
        self._training = False
        self._step = 0
        self._former: dict[int, Any] = {}
        self._terminals: list[int] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the last turn: what others do after a step (averaging weights) has to be saved."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        others = [callback for callback in callbacks if callback is not self]
        trainer.callbacks = [*others, self]  # type: ignore[attr-defined]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, which can hang or end with another exit code."""
        connector = trainer._signal_connector
        theirs = connector.register_signal_handlers

        def register() -> None:
            theirs()
            for number in NAMES:
                self._take(number)

        connector.register_signal_handlers = register  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at a signal from now on; before, there is nothing to save, and it ends the run."""
        self._asked = 0
        self._step = trainer.global_step
        self._training = True
        self._terminals = [number for number in (0, 1, 2) if os.isatty(number)]
        for number in NAMES:
            self._take(number)

    def _take(self, number: int) -> None:
        # What a shell's `&` or nohup has switched off stays off.
        ignored = number != signal.SIGTERM and signal.getsignal(number) == signal.SIG_IGN
        if number in self._former or ignored:
            return
        with suppress(ValueError):  # signals belong to the main thread
            self._former[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, _: Any) -> None:
        if not self._training:
            raise Preempted(
                f"asked to stop ({NAMES[signal.Signals(number)]}) before the first step: there is "
                "nothing to save",
                number,
            )
        if number == signal.SIGINT and self._asked == signal.SIGINT:
            if 1 in self._terminals:
                os.write(1, b"\x1b[?25h")  # the progress bar has hidden the cursor
            os._exit(128 + number)
        self._asked = number  # before the message, whose reader may be quick
        if number == signal.SIGHUP:
            # What is written to a terminal that is gone would end the run before it is saved.
            gone = os.open(os.devnull, os.O_RDWR)
            for terminal in self._terminals:
                os.dup2(gone, terminal)
            os.close(gone)
        if number == signal.SIGINT and folders.rank() == 0:
            with suppress(OSError):  # not by print: it may be what was interrupted
                os.write(
                    sys.__stderr__.fileno() if sys.__stderr__ else 2,
                    b"\nstopping after this step, or the validation or epoch that ends with it, to "
                    b"save; Ctrl-C once more ends at once\n",
                )

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
            flag = torch.tensor(asked, device=trainer.strategy.root_device)
            distributed.all_reduce(flag, distributed.ReduceOp.MAX)
            asked = int(flag)
        if asked:
            path = checkpoint_folder(trainer) / "last.ckpt"
            trainer.save_checkpoint(path)
            raise Preempted(
                f"asked to stop ({NAMES[signal.Signals(asked)]}): saved {path} at step "
                f"{trainer.global_step}; go on with --resume",
                asked,
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._training = False
        for number, former in self._former.items():
            with suppress(ValueError):
                signal.signal(number, former)
        self._former = {}
