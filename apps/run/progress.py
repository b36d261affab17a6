"""What a run tells while it goes on: a bar on a terminal, lines elsewhere, little of Lightning."""

from __future__ import annotations

import logging
import re
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar

from ...errors import printable
from ..shell.source import PACKAGE
from .folder import folders


class Bar(RichProgressBar):
    """Lightning's progress bar, with names that leave room for the bar."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the metrics, `train/loss` as `train`, `val/bits_per_character` as `val/bpc`."""
        initials = re.compile(r"([a-z])[a-z]*_|(?<=_)([a-z])[a-z]*")
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # the run's folder says which it is
        short = (initials.sub(r"\1\2", name).removesuffix("/loss") for name in metrics)
        return dict(zip(short, metrics.values(), strict=True))

    def _get_train_description(self, current_epoch: int) -> str:
        described = str(super()._get_train_description(current_epoch))
        # a run that is limited by its steps has no number of epochs; Lightning shows -2
        if (self.trainer.max_epochs or -1) < 0:
            return f"Epoch {current_epoch}".ljust(len(described))
        return described


class LineProgress(ProgressBar):
    """Progress as lines for files and pipes: one every few seconds, one after each validation.

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
            batch = f"batch {batch_idx + 1}/{trainer.num_training_batches}"
            self._print(
                f"epoch {trainer.current_epoch}  {batch}  {speed:.1f} steps/s"
                f"{self._figures(trainer)}"
            )

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


def tell(text: str) -> None:
    """Print a line about the run, on the first rank only and apart from the results.

    Args:
        text: The line.
    """
    if folders.rank() == 0:
        print(printable(text), file=sys.stderr, flush=True)


def hush_lightning() -> None:
    """Leave out what Lightning says of devices, seeds and other products, but for its warnings."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_worth_reading)


def _worth_reading(record: logging.LogRecord) -> bool:
    path = Path(record.pathname)
    rooms = ("apps", "core", "data", "tasks")
    ours = path.is_relative_to(PACKAGE) and path.relative_to(PACKAGE).parts[0] in rooms
    # a profiler was asked for, and its report is all that it says
    return ours or record.levelno >= logging.WARNING or "profilers" in path.parts
