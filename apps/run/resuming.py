"""What a resumed run needs, beside its weights, to go on as if it had never stopped.

Which batch comes next the data's loader knows (`data/loader.py`).
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.loops.fit_loop import RestartStage
from torch import Tensor, distributed


class RandomState(Callback):
    """Keeps every process's random numbers in the checkpoint: dropout goes on where it was."""

    def __init__(self) -> None:
        self._restored: list[dict[str, Any]] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Gather the generators of all processes."""
        checkpoint["random_state"] = _of_all(trainer, random_state())

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep this checkpoint's generators until training starts; what comes before draws, too."""
        self._restored = checkpoint.get("random_state")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore this process's generators; another number of processes has none to restore."""
        if self._restored is not None and len(self._restored) == trainer.world_size:
            set_random_state(self._restored[trainer.global_rank])
        self._restored = None


def _of_all(trainer: Trainer, mine: Any) -> list[Any]:
    """Gather what each process has."""
    found = [mine] * trainer.world_size
    if trainer.world_size > 1:
        distributed.all_gather_object(found, mine)
    return found


def random_state() -> dict[str, Any]:
    """Return the state of Python's, numpy's and torch's generators as plain data."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    words_of_numpy = np.asarray(keys).astype(np.int64)
    return {
        "python": [version, torch.tensor(words), gauss],
        "numpy": [name, torch.from_numpy(words_of_numpy), position, has_gauss, cached],
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


class ExactResume(Callback):
    """Sees to it that Lightning's loops go on from a checkpoint as if they had never stopped.

    It holds for a checkpoint that is saved at one of three places: at the end of a training step
    that is not its epoch's last and that no validation follows, at the end of a validation, at the
    end of an epoch. Where gradients are being added up over several batches, the checkpoint has
    them.
    """

    def __init__(self) -> None:
        self._gradients: list[dict[str, Tensor]] = []
        self._resumed = False

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add gradients that wait for more, and make up for what a restart would get wrong."""
        accumulates = trainer.fit_loop._should_accumulate()
        if accumulates:
            weights = pl_module.named_parameters()
            mine = {name: weight.grad for name, weight in weights if weight.grad is not None}
            checkpoint["gradients"] = _of_all(trainer, mine)
        by_steps = getattr(trainer, "_val_check_time_interval", None) is None
        if trainer.validating and not (by_steps and _validates(trainer, stopping=False)):
            # The clock or the end of the run asked for this validation; a restart won't, and has to
            # find it done.
            loops = checkpoint["loops"]["fit_loop"]
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] += not accumulates
            for counts in loops["epoch_progress"].values():
                counts["processed"] += trainer.is_last_batch

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the gradients, and leave out the trial validation: it resets counters."""
        self._gradients, self._resumed = checkpoint.get("gradients", []), True
        trainer.num_sanity_val_steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the gradients, and begin the next epoch after a checkpoint of an epoch's end."""
        if len(self._gradients) == trainer.world_size:
            mine = self._gradients[trainer.global_rank]
            for name, weight in pl_module.named_parameters():
                weight.grad = mine[name].to(weight.device) if name in mine else None
        self._gradients = []
        # Lightning does this itself, but not where max_steps is given: there it enters the finished
        # epoch again.
        loop = trainer.fit_loop
        if loop.restarted_on_epoch_end:
            loop.epoch_progress.increment_completed()
            loop._restart_stage = RestartStage.NONE
            super(type(loop), type(loop)).restarting.fset(loop, False)  # type: ignore[attr-defined]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set what Lightning sets at the beginning of epochs alone, where one is gone on with."""
        if self._resumed:
            self._resumed = False
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, GradientAccumulationScheduler):
                    callback.on_train_epoch_start(trainer)


def validates_next(trainer: Trainer) -> bool:
    """Say whether a validation follows the training step that has just ended.

    Args:
        trainer: The trainer.
    """
    return _validates(trainer, stopping=trainer.should_stop) and has_validation(trainer)


def has_validation(trainer: Trainer) -> bool:
    """Say whether there is anything to validate on; Lightning plans validations without data too.

    Args:
        trainer: The trainer.
    """
    if not trainer.enable_validation:
        return False
    validation = trainer.fit_loop.epoch_loop.val_loop
    validation.setup_data()
    return not validation.skip


def _validates(trainer: Trainer, *, stopping: bool) -> bool:
    """Ask Lightning whether it validates after this step; only its loop knows what decides."""
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    before, trainer.should_stop = trainer.should_stop, stopping
    try:
        return fetcher is not None and loop._should_check_val_fx(fetcher)
    finally:
        trainer.should_stop = before
