"""What every run needs: whole checkpoints, random numbers that resume, a good end on SIGTERM, a stop at NaN, progress.

The configurations of `configs/trainer/` put them into the trainer.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from torch import Tensor, distributed

from ...errors import SetupError, UnrolledError
from .resuming import validates_next


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, so that a full disk or a kill never costs the one before."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What to write.
            path: Where; a file that is there is replaced as a whole.
            storage_options: Not supported.

        Raises:
            SetupError: The disk is full; the file that was there is as it was.
        """
        if "://" in str(path):  # another file system has its own way to be atomic
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        # Always the same name: what a kill leaves behind is written anew, and no link is followed.
        temporary = place.with_name(f".{place.name}.part")
        try:
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(place)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if _is_full(error):
                raise SetupError(
                    f"{place}: no space left on the disk for the checkpoint; the one before is untouched. "
                    "Free space and go on with --resume"
                ) from error
            raise
        _sync_folder(place.parent)


def _is_full(error: BaseException) -> bool:
    # torch's zip writer reports a failed write as a RuntimeError of its own, with the cause behind
    # it or lost.
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        seen = seen.__cause__ or seen.__context__
    return isinstance(error, RuntimeError) and "PytorchStreamWriter failed" in str(error)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class RandomState(Callback):
    """Keeps every process's random number generators in the checkpoint: dropout goes on where it was."""

    def __init__(self) -> None:
        self._restored: list[dict[str, Any]] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Gather the generators of all processes."""
        mine = random_state()
        states: list[Any] = [mine]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            distributed.all_gather_object(states, mine)
        checkpoint["random_state"] = states

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep this checkpoint's generators until training starts: what comes before draws numbers of its own."""
        self._restored = checkpoint.get("random_state")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore this process's generators; with another number of processes there are none to restore."""
        if self._restored is not None and len(self._restored) == trainer.world_size:
            set_random_state(self._restored[trainer.global_rank])
        self._restored = None


def random_state() -> dict[str, Any]:
    """The state of Python's, numpy's and torch's generators, as plain data."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, torch.tensor(words), gauss],
        "numpy": [
            name,
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            position,
            has_gauss,
            cached,
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Set the generators to what `random_state` returned.

    Args:
        state: The plain data.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([device.cpu() for device in state["cuda"]])


class FiniteLoss(Callback):
    """Stops a run whose loss is not a number, before the optimizer's step and before any checkpoint of it.

    On a GPU the check is one step late, so that the host never waits for it; a checkpoint waits.
    """

    def __init__(self) -> None:
        self._pending: tuple[Tensor, torch.cuda.Event | None, int, int, int] | None = None

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Check this loss, or on a GPU the one before."""
        self._check()
        finite, copied = torch.isfinite(loss.detach()), None
        if finite.is_cuda:
            # Into page-locked memory: the host would wait for a copy into any other.
            finite = torch.empty(finite.shape, dtype=torch.bool, pin_memory=True).copy_(
                finite, non_blocking=True
            )
            copied = torch.cuda.Event()
            copied.record()
        self._pending = (
            finite,
            copied,
            trainer.global_step,
            trainer.current_epoch,
            trainer.fit_loop.batch_idx,
        )
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
                f"the loss is not finite at step {step} (epoch {epoch}, batch {batch}): training stopped, the last "
                "checkpoint is good. Try a lower learning rate or --trainer.gradient_clip_val 1"
            )


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
        """Take the last turn: what the other callbacks do after a step (averaging the weights) has to be saved."""
        trainer.callbacks = sorted(trainer.callbacks, key=lambda callback: callback is self)  # type: ignore[attr-defined]

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
        if trainer.is_last_batch or validates_next(trainer):
            return
        if trainer.world_size == 1 or step % self.every_n_steps == 0:
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
                f"asked to stop (SIGTERM): saved {path} at step {trainer.global_step}; go on with --resume"
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give SIGTERM back."""
        if self._former is not None:
            with suppress(ValueError):
                signal.signal(signal.SIGTERM, self._former)
            self._former = None


def checkpoint_folder(trainer: Trainer) -> Path:
    """Where this run's checkpoints go."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath:
            return Path(callback.dirpath)
    return Path(trainer.default_root_dir)


class LineProgress(ProgressBar):
    """Progress as lines of text, for files and pipes: one every few seconds, one after each validation.

    Args:
        seconds: The least time between two lines of training.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._enabled = True
        self._started = self._last = 0.0
        self._first_step = 0

    def disable(self) -> None:
        """Print nothing: Lightning calls this on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Print."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._started = self._last = time.monotonic()
        self._first_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print a line if the last one is old enough."""
        now = time.monotonic()
        if self._enabled and now - self._last >= self.seconds:
            self._last = now
            speed = (trainer.global_step - self._first_step) / (now - self._started)
            place = f"epoch {trainer.current_epoch}  batch {batch_idx + 1}/{trainer.num_training_batches}"
            self._print(f"{place}  {speed:.1f} steps/s{self._figures(trainer)}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the scores."""
        if self._enabled and not trainer.sanity_checking:
            self._print(
                f"epoch {trainer.current_epoch}  step {trainer.global_step}{self._figures(trainer)}"
            )

    def _figures(self, trainer: Trainer) -> str:
        figures = {**trainer.progress_bar_metrics}
        return "".join(f"  {name} {float(value):.4f}" for name, value in figures.items())

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print on the terminal, for Lightning."""
        if self._enabled:
            print(*args, **kwargs)

    @staticmethod
    def _print(line: str) -> None:
        print(line, file=sys.stderr, flush=True)


__all__ = [
    "AtomicCheckpointIO",
    "FiniteLoss",
    "LineProgress",
    "Preempted",
    "Preemption",
    "RandomState",
]
