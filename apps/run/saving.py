"""What a run writes: checkpoints, whole or not at all, and its configuration."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

from jsonargparse import Namespace
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.utilities.migration.utils import _pl_migrate_checkpoint
from torch import Tensor

from ...checkpoints import BEST
from ...errors import DataError
from ...loading import CheckedCheckpoint, first_lines
from ...tasks.base import Task
from ..shell.shipped import own_yaml
from ..tracking.ending import note_resumption
from ..tracking.loggers import log_configuration
from .folder.contents import readable, save
from .folder.disk import keep, replacing, writing
from .progress import tell
from .resuming import validates_next
from .tables import EMPTY, MetricsTable
from .trust import refuse_rivals

_LOSS = "val/loss"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    A full disk or a kill never costs the one before.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What to write.
            path: Where; a file that is there is replaced as a whole.
            storage_options: Not supported.

        Raises:
            SetupError: The disk is full or read-only; the file that was there is as it was.
        """
        if "://" in str(path):  # another file system has its own way to be atomic
            return super().save_checkpoint(checkpoint, path, storage_options)
        remedy = "the one before is untouched; go on with --resume"
        save(readable(checkpoint, self._told), Path(path), remedy)


class CheckedCheckpointIO(AtomicCheckpointIO):
    """Gives Lightning the checkpoint that was checked, where it would read the file once more.

    Args:
        checkpoint: The checkpoint of the run.
    """

    def __init__(self, checkpoint: CheckedCheckpoint) -> None:
        super().__init__()
        self.checkpoint = checkpoint

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Return what the checkpoint holds; Lightning takes parts out of the dict.

        Args:
            path: The checkpoint's.
        """
        if Path(path) != self.checkpoint.path:
            raise ValueError(f"'{path}' was not checked: only '{self.checkpoint.path}' was.")
        try:
            # Lightning does it too, where nobody can tell that the file is at fault.
            return _pl_migrate_checkpoint(dict(self.checkpoint.content), path)
        except Exception as error:  # another version's states, or none
            raise DataError(
                f"'{path}' is of no version of Lightning that is known: {first_lines(error)}"
            ) from error

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove an older checkpoint; the one that was resumed names it, and may name anything.

        Args:
            path: The file; a folder, another kind of file or one on another file system stays.
        """
        place = Path(path)
        # Lightning has seen that it begins with the folder of the checkpoints.
        if place.suffix == ".ckpt" and ".." not in place.parts and place.is_file():
            place.unlink()


class Checkpoint(ModelCheckpoint):
    """Keeps the last state of a run, the one before it, and the best by a metric.

    `last.ckpt` and `previous.ckpt` are written where a resumed run can go on bit for bit (see
    `ExactResume`): at the end of a training step, of the validation that follows it, or of the
    epoch. Lightning's own callback defers a step's save to the next validation when it also
    watches a metric.

    Args:
        every_n_train_steps: Save `last.ckpt` every so many steps; it is also saved at the end of an
            epoch and of a run.
        monitor: The logged metric that says which checkpoint is the best; null keeps none but the
            last.
        mode: Whether the best is the smallest or the largest.
        save_top_k: Keep this many of the best: `best.ckpt`, or `best-STEP.ckpt` when there are
            several, of which `best.ckpt` is then the best.

    Of two that are equally good the one with the lower `val/loss` is the better. Where the metric
    can't tell at all, as BLEU of one-word references, the task names another (`Task.instead_of`).
    """

    def __init__(
        self,
        every_n_train_steps: int = 500,
        monitor: str | None = "val/loss",
        mode: Literal["min", "max"] = "min",
        save_top_k: int = 1,
    ) -> None:
        if every_n_train_steps < 1:
            raise ValueError(f"every_n_train_steps={every_n_train_steps}: must be at least 1")
        super().__init__(
            filename="best" if save_top_k == 1 else "best-{step}",
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k if monitor else 0,
            auto_insert_metric_name=False,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        self.last_every = every_n_train_steps
        self._saved_last_at = -1
        self._last_is_whole = False  # this run wrote it, or went on from it
        self._save_after_validation = False
        self.watched = monitor  # what says which is the best: the monitor, or what stands for it
        self._losses: dict[str, float] = {}  # of the best, by their files
        self._told: set[str] = set()
        self.trust: Sequence[str] = ()  # packages whose classes the checkpoint of the best may name

    @property
    def last(self) -> Path:
        """The file of the last state."""
        return Path(self.dirpath or "") / f"last{self.FILE_EXTENSION}"

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the table of metrics anew where there was no checkpoint to go on from."""
        super().on_fit_start(trainer, pl_module)
        refuse_rivals(self, trainer.checkpoint_callbacks)
        if not trainer.ckpt_path:
            for table in _tables(trainer):
                table.go_back(EMPTY)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember where a run begins that goes on from its last state."""
        super().on_train_start(trainer, pl_module)
        start = trainer.ckpt_path
        if start and self.last.is_file() and os.path.samefile(start, self.last):
            self._saved_last_at = trainer.fit_loop.total_batch_idx
            self._last_is_whole = True
        self.last_model_path = str(self.last)

    def _monitor_candidates(self, trainer: Trainer) -> dict[str, Tensor]:
        """Give the metric that is watched the value of the one that stands for it."""
        found: dict[str, Tensor] = super()._monitor_candidates(trainer)
        if self.monitor:
            name = cast(Task, trainer.lightning_module).instead_of(self.monitor)
            if name != self.monitor and name in found:
                found[self.monitor] = found[name]
                self._tell(f"{self.monitor} can't tell here", f"{name} says which is the best")
            if name != self.watched:  # what was the best by another metric says nothing
                self.best_k_models, self._losses = {}, {}
            self.watched = name
        return found

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Say whether these weights are among the best; a lower loss decides between equals."""
        if super().check_monitor_top_k(trainer, current):
            return True
        if current is None or len(self.best_k_models) < self.save_top_k or self.save_top_k < 1:
            return False
        loss = trainer.callback_metrics.get(_LOSS)
        worst = self.best_k_models[self.kth_best_model_path]
        tie = loss is not None and bool(current == worst)
        if tie and self.monitor != _LOSS:
            same = f"{self.watched} is {float(current):.4g} again"
            self._tell(same, f"the lower {_LOSS} says which is the best")
        better = tie and float(loss or 0) < self._loss_of(self.kth_best_model_path)
        return bool(trainer.strategy.reduce_boolean_decision(better))

    def _loss_of(self, path: str) -> float:
        return self._losses.get(path, -math.inf)

    def _tell(self, found: str, decided: str) -> None:
        if decided not in self._told:  # once in a run
            self._told.add(decided)
            tell(f"checkpoint: {found}, so {decided}")

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """Remember the loss, and find the best of those that are equally good."""
        loss = trainer.callback_metrics.get(_LOSS)
        self._losses[filepath] = math.inf if loss is None else float(loss)
        self._losses = {path: self._loss_of(path) for path in self.best_k_models}
        self.best_model_path = min(self._equals(self.best_model_path), key=self._loss_of)
        if self.kth_best_model_path in self.best_k_models:
            self.kth_best_model_path = max(
                self._equals(self.kth_best_model_path), key=self._loss_of
            )
        super()._save_checkpoint(trainer, filepath)

    def _equals(self, path: str) -> list[str]:
        """Return which of the best are as good as one of them, itself included."""
        score = self.best_k_models[path]
        return [path, *(one for one, other in self.best_k_models.items() if other == score)]

    def state_dict(self) -> dict[str, Any]:
        """Return the state, with the losses of the best, and by what they were chosen."""
        losses = {os.path.basename(path): loss for path, loss in self._losses.items()}
        return {**super().state_dict(), "losses": losses, "watched": self.watched}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when the step's number or the end of the run says so.

        Where a validation comes next, save after it: a run that is killed in it must not go on
        without it. An epoch's last step is saved at the epoch's end: before it, Lightning's
        counters call the epoch unfinished.
        """
        step = trainer.global_step
        due = step % self.last_every == 0 or step == trainer.max_steps
        stepped = not trainer.fit_loop._should_accumulate()
        if ((due and stepped) or _stops(trainer)) and not trainer.is_last_batch:
            self._save_after_validation = validates_next(trainer)
            if not self._save_after_validation:
                self.save_last_state(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the best, and the last state where that was put off or the run stops here."""
        best = self.best_model_path
        super().on_validation_end(trainer, pl_module)
        if trainer.is_global_zero and self.save_top_k != 1 and self.best_model_path != best:
            place = Path(self.best_model_path).with_name(BEST)
            with writing(place):
                keep(Path(self.best_model_path), place)
        if trainer.sanity_checking or trainer.is_last_batch:
            return
        if self._save_after_validation or _stops(trainer):
            self._save_after_validation = False
            self.save_last_state(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end of the epoch; in `on_train_end` the averages have replaced the weights."""
        super().on_train_epoch_end(trainer, pl_module)
        self.save_last_state(trainer)

    def save_last_state(self, trainer: Trainer) -> None:
        """Write `last.ckpt` and keep the one before it; every rank has to call this.

        Args:
            trainer: The trainer.
        """
        trial = trainer.fast_dev_run  # type: ignore[attr-defined]  # set but not declared
        if trial or trainer.fit_loop.total_batch_idx == self._saved_last_at:
            return
        # A last state that was damaged must not take the place of the one before.
        if trainer.is_global_zero and self._last_is_whole and self.last.is_file():
            previous = self.last.with_name(f"previous{self.FILE_EXTENSION}")
            with writing(previous, "the last checkpoint is untouched"):
                keep(self.last, previous)
        trainer.save_checkpoint(self.last)
        self._last_is_whole = True
        self._saved_last_at = trainer.fit_loop.total_batch_idx

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say how much of the table of metrics belongs to this state."""
        for table in _tables(trainer):
            checkpoint["metrics_table"] = table.state(trainer)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go back to that place in the table."""
        for table in _tables(trainer):
            table.go_back(checkpoint.get("metrics_table"))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what the checkpoint says, also when the run's folder has been moved.

        Args:
            state_dict: What `state_dict` returned.
        """

        def here(path: str) -> str:
            name = os.path.basename(path)  # of a checkpoint; the state may be a stranger's
            return (
                os.path.join(str(self.dirpath), name) if name.endswith(self.FILE_EXTENSION) else ""
            )

        # The best may have been found at the very step of the last state, or after it: its own file
        # knows.
        if self.save_top_k == 1 and (best := Path(here(BEST))).is_file():
            with suppress(Exception):  # a damaged file has nothing to add
                state_dict = CheckedCheckpoint(best, trust=self.trust).content["callbacks"][
                    self.state_key
                ]
        moved = dict(state_dict, dirpath=self.dirpath)
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[key] = here(moved.get(key, ""))
        best_ones = moved.get("best_k_models", {}).items()
        moved["best_k_models"] = {here(path): score for path, score in best_ones if here(path)}
        self.watched = moved.pop("watched", None) or self.monitor
        losses = moved.pop("losses", None)  # an earlier version's state has none
        known = losses.items() if isinstance(losses, dict) else ()
        self._losses = {here(path): loss for path, loss in known if isinstance(loss, float)}
        super().load_state_dict(moved)
        self.current_score = moved.get("current_score")  # Lightning saves it, but forgets it here


def _tables(trainer: Trainer) -> list[MetricsTable]:
    loggers = trainer.loggers if trainer.is_global_zero else []
    return [logger for logger in loggers if isinstance(logger, MetricsTable)]


def _stops(trainer: Trainer) -> bool:
    """Say whether a callback has stopped the run: Lightning then takes the epoch for done."""
    return trainer.should_stop and trainer.fit_loop._can_stop_early


def checkpoint_folder(trainer: Trainer) -> Path:
    """Return where this run's checkpoints go.

    Args:
        trainer: The trainer.
    """
    keepers = [one for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint)]
    # the run's own before those of its user, which may keep theirs elsewhere
    for callback in sorted(keepers, key=lambda one: not isinstance(one, Checkpoint)):
        if callback.dirpath:
            return Path(callback.dirpath)
    return Path(trainer.default_root_dir)


class SaveConfig(SaveConfigCallback):
    """Writes the whole configuration of a run into its folder, at once or not at all.

    Args:
        parser: The parser of the command.
        config: What it parsed.
        folder: The run's folder.
        resumed: Whether the run goes on from a checkpoint.
    """

    def __init__(
        self, parser: LightningArgumentParser, config: Namespace, folder: Path, *, resumed: bool
    ) -> None:
        super().__init__(parser, config, save_to_log_dir=False)
        self.folder = folder
        self.resumed = resumed
        self.text = ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file of a new run."""
        if not self.resumed:
            super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file of a resumed run, whose checkpoint fits the configuration; log it."""
        super().setup(trainer, pl_module, "fit")
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            log_configuration(logger, own_yaml(self.text))
        if self.resumed:
            note_resumption(self.folder, trainer.global_step)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file; Lightning calls this on the first rank only."""
        path = self.folder / "config.yaml"
        self.text = self.parser.dump(self.config, skip_none=False, skip_validation=True)
        with writing(path), replacing(path) as file:
            file.write(self.text.encode())
