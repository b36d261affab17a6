"""What a run keeps - checkpoints, its configuration, a table of its metrics - and when it stops."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from ...loading import CheckedCheckpoint
from .resuming import has_validation, validates_next
from .tables import EMPTY, MetricsTable


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
            several.
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
        self.trust: Sequence[str] = ()  # packages whose classes the checkpoint of the best may name

    @property
    def last(self) -> Path:
        """The file of the last state."""
        return Path(self.dirpath or "") / f"last{self.FILE_EXTENSION}"

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the table of metrics anew where there was no checkpoint to go on from."""
        super().on_fit_start(trainer, pl_module)
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
        super().on_validation_end(trainer, pl_module)
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
        trial = trainer.fast_dev_run  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        if trial or trainer.fit_loop.total_batch_idx == self._saved_last_at:
            return
        # A last state that was damaged must not take the place of the one before.
        if trainer.is_global_zero and self._last_is_whole and self.last.is_file():
            _keep(self.last, self.last.with_name(f"previous{self.FILE_EXTENSION}"))
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
        if self.save_top_k == 1 and (best := Path(here("best.ckpt"))).is_file():
            with suppress(Exception):  # a damaged file has nothing to add
                state_dict = CheckedCheckpoint(best, trust=self.trust).content["callbacks"][
                    self.state_key
                ]
        moved = dict(state_dict, dirpath=self.dirpath)
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[key] = here(moved.get(key, ""))
        best_ones = moved.get("best_k_models", {}).items()
        moved["best_k_models"] = {here(path): score for path, score in best_ones if here(path)}
        super().load_state_dict(moved)
        self.current_score = moved.get("current_score")  # Lightning saves it, but forgets it here


def _tables(trainer: Trainer) -> list[MetricsTable]:
    return [
        logger
        for logger in trainer.loggers
        if isinstance(logger, MetricsTable) and trainer.is_global_zero
    ]


def _stops(trainer: Trainer) -> bool:
    """Say whether a callback has stopped the run: Lightning takes the rest of the epoch for done when it ends."""
    return trainer.should_stop and trainer.fit_loop._can_stop_early


def _keep(path: Path, name: Path) -> None:
    """Give a file a second name at once, so that neither name is ever missing; a copy where links don't exist."""
    temporary = name.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:
        shutil.copy(path, temporary)
    temporary.replace(name)


class StopEarly(EarlyStopping):
    """Stops a run that no longer gets better.

    Args:
        patience: Stop after this many validations without a better value; null: never.
        monitor: The logged metric to watch.
        mode: Whether better is smaller or larger.
        min_delta: The least change that counts as better.
    """

    def __init__(
        self,
        patience: int | None = None,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor, min_delta=min_delta, patience=patience or 0, mode=mode)
        self.enabled = patience is not None

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
            super()._run_early_stopping_check(trainer)


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

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file of a new run."""
        if not self.resumed:
            super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file of a run that was resumed: now that its checkpoint fits the configuration."""
        super().setup(trainer, pl_module, "fit")

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file; Lightning calls this on the first rank only."""
        path = self.folder / "config.yaml"
        temporary = path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)  # a link is not followed
        temporary.write_text(self.parser.dump(self.config, skip_none=False), encoding="utf-8")
        temporary.replace(path)


class Bar(RichProgressBar):
    """Lightning's progress bar, with names that leave room for the bar."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The metrics: `train/loss` as `train`, `val/bits_per_character` as `val/bpc`."""
        initials = re.compile(r"([a-z])[a-z]*_|(?<=_)([a-z])[a-z]*")
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # the run's folder says which it is
        return {
            initials.sub(r"\1\2", name).removesuffix("/loss"): value
            for name, value in metrics.items()
        }

    def _get_train_description(self, current_epoch: int) -> str:
        described = str(super()._get_train_description(current_epoch))
        # a run that is limited by its steps has no number of epochs; Lightning shows -2
        return (
            f"Epoch {current_epoch}".ljust(len(described))
            if (self.trainer.max_epochs or -1) < 0
            else described
        )
