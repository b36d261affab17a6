"""A learning rate that follows a metric: stepped after every validation, wherever that comes."""

from __future__ import annotations

import sys

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ..errors import UsageError, did_you_mean

WATCHED = "val/loss"  # where the schedule does not say what it follows


def plateau_settings(
    optimizer: Optimizer, schedule: ReduceLROnPlateau
) -> OptimizerLRSchedulerConfig:
    """Return what Lightning is told of a schedule, so that it saves it and never steps it.

    It would at an epoch's end, after the last checkpoint was written, or at every step.

    Args:
        optimizer: The optimizer.
        schedule: The schedule; Lightning's own knows what it follows, torch's follows `val/loss`.

    Raises:
        UsageError: It is told that larger is better, but not of what.
    """
    monitor = getattr(schedule, "monitor", None)
    if monitor is None and schedule.mode == "max":
        raise UsageError(
            "ReduceLROnPlateau with mode max has to be told what it follows: --model.lr_scheduler "
            "lightning.pytorch.cli.ReduceLROnPlateau --model.lr_scheduler.monitor val/..."
        )
    return {
        "optimizer": optimizer,
        "lr_scheduler": {
            "scheduler": schedule,
            "monitor": monitor or WATCHED,
            "interval": "epoch",
            "frequency": sys.maxsize,
            "strict": False,
        },
    }


class FollowMetric(Callback):
    """Steps the schedules that follow a metric, before the checkpoint of the validation is saved.

    So a run that is resumed from there goes on with the learning rate that the validation left.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell each schedule the value.

        Raises:
            UsageError: Nothing of its name was logged.
        """
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        for config in trainer.lr_scheduler_configs:
            schedule = config.scheduler
            if not isinstance(schedule, ReduceLROnPlateau):
                continue
            found = trainer.callback_metrics
            name = str(config.monitor)
            watched = getattr(pl_module, "instead_of", lambda name: name)(name)
            if watched not in found:
                raise UsageError(
                    f"--model.lr_scheduler.monitor '{name}': nothing of that name is logged."
                    f"{did_you_mean(name, found)}\nWhat is logged: {', '.join(sorted(found))}."
                )
            schedule.step(float(found[watched]))
