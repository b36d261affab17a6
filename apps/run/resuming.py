"""What an exact resume needs of Lightning's loops."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.fit_loop import RestartStage
from torch import Tensor, distributed


class ExactResume(Callback):
    """Sees to it that Lightning's loops go on from a checkpoint as if they had never stopped.

    It holds for a checkpoint that is saved at one of three places: at the end of a training step
    that is not its epoch's last and that no validation follows, at the end of a validation, at the
    end of an epoch. Where gradients are being added up over several batches, the checkpoint has
    them.
    """

    def __init__(self) -> None:
        self._gradients: list[dict[str, Tensor]] = []

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add gradients that wait for more, and make up for what a restart would get wrong."""
        accumulates = trainer.fit_loop._should_accumulate()
        if accumulates:
            weights = pl_module.named_parameters()
            mine = {name: weight.grad for name, weight in weights if weight.grad is not None}
            gradients: list[Any] = [mine]
            if trainer.world_size > 1:
                gradients = [None] * trainer.world_size
                distributed.all_gather_object(gradients, mine)
            checkpoint["gradients"] = gradients
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
        self._gradients = checkpoint.get("gradients", [])
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
