"""Metrics that a run is to watch are found missing before it trains, not after."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from ...errors import UsageError, did_you_mean
from ...tasks.base import Task
from .progress import tell
from .resuming import has_validation
from .stopping import StopEarly


class Monitors(Callback):
    """Refuses a run that watches what will never be logged.

    Args:
        named: Whether the command line names what `checkpoint` watches. Otherwise a run without a
            validation keeps no best checkpoint and says so.
    """

    def __init__(self, *, named: bool) -> None:
        self.named = named

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what the trial validation has logged: it knows tasks of one's own, too."""
        known = [name for name in trainer.callback_metrics if name.startswith("val/")]
        for owner, name in _watched(trainer) if trainer.sanity_checking and known else ():
            if name.startswith("val/"):
                _refuse_unknown(owner, name, known)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to watch a validation that never comes."""
        trial = trainer.fast_dev_run  # type: ignore[attr-defined]  # set but not declared
        never = None if trial else _why_never(trainer)
        if never is None:
            return
        for owner, name in _watched(trainer):
            if not name.startswith("val/"):
                continue
            if owner == "checkpoint" and not self.named:
                tell(f"{never}: no best.ckpt will be kept, only the last state")
                continue
            flag = {"checkpoint": "checkpoint.monitor", "early_stopping": "early_stopping.patience"}
            raise UsageError(
                f"{owner} watches '{name}', but {never}.\n"
                f"Give it a validation, or leave it out (--{flag.get(owner, owner)} null)."
            )


def refuse_unknown_names(trainer: Trainer, task: Task) -> None:
    """Refuse names that no task of the suite logs, before anything is written.

    Args:
        trainer: The trainer, with its callbacks.
        task: What it will train.

    Raises:
        UsageError: There is such a name.
    """
    known = task.logged()
    for owner, name in [*_watched(trainer), *_followed(task)] if known else ():
        _refuse_unknown(owner, name, known or ())


def _followed(task: Task) -> Iterator[tuple[str, str]]:
    """Yield what the learning rate is to follow, by the configuration: no schedule is made yet."""
    schedule = task.hparams.get("lr_scheduler")
    settings = schedule.get("init_args") if isinstance(schedule, dict) else None
    if isinstance(settings, dict) and isinstance(name := settings.get("monitor"), str):
        yield "model.lr_scheduler", name


def _watched(trainer: Trainer) -> Iterator[tuple[str, str]]:
    """Yield who watches a metric, and its name."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        enabled = not isinstance(callback, StopEarly) or callback.enabled
        strict = getattr(callback, "strict", True)
        if isinstance(callback, EarlyStopping) and enabled and strict:
            yield "early_stopping", callback.monitor
        elif isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
            yield "checkpoint", callback.monitor
    for config in trainer.lr_scheduler_configs:
        if config.monitor is not None:
            yield "model.lr_scheduler", config.monitor


def _refuse_unknown(owner: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise UsageError(
            f"--{owner}.monitor '{name}': nothing of that name is logged."
            f"{did_you_mean(name, known)}\nWhat is logged: {', '.join(sorted(known))}."
        )


def _why_never(trainer: Trainer) -> str | None:
    """Say why a run that begins has no validation; None: it has one."""
    if not has_validation(trainer):
        return "there is no validation part"
    if trainer.ckpt_path:  # it may have had its validations
        return None
    batches, adding = trainer.num_training_batches, trainer.accumulate_grad_batches
    within, every = trainer.val_check_batch, trainer.check_val_every_n_epoch
    if getattr(trainer, "_val_check_time_interval", None) is not None or within is None:
        return None  # the clock says when
    if every is None:  # counted over epochs
        epochs, rest = divmod(within, batches) if batches != float("inf") else (0, within)
    else:
        epochs, rest = every - 1, within
    first = epochs * -(-batches // adding) if epochs else 0
    # gradients that wait at an epoch's end are not waited with
    first += -(-rest // adding) if rest >= batches else rest // adding
    too_short = 0 <= trainer.max_steps < first
    limit = trainer.max_epochs
    too_few = limit is not None and 0 <= limit < epochs + (rest > 0)
    if not too_short and not too_few:
        return None
    end = f"step {trainer.max_steps}" if too_short else f"epoch {limit}"
    return f"the run ends at {end}, before its first validation (at step {first:.0f})"
