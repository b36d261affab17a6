"""The metrics of a run as a table, in which a run that was killed and resumed has every row once."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.apply_func import convert_tensors_to_scalars
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


EMPTY: dict[str, Any] = {"rows": 0, "next": None}


class MetricsTable(CSVLogger):
    """The metrics as `metrics.csv`, whose rows a resumed run adds to; Lightning's own deletes the file.

    The rows that a killed run wrote after its checkpoint are taken out: the resumed run writes them again.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> _Writer:
        """The writer of the table; Lightning asks for it before it reads the checkpoint."""
        if self._experiment is None:
            self.go_back(None)
        return self._experiment  # type: ignore[return-value]  # Lightning's own has this type

    def state(self, trainer: Trainer) -> dict[str, Any]:
        """Return what a checkpoint of this moment has to say.

        Args:
            trainer: The trainer.

        Returns:
            `rows`, the number of rows so far, and `next`, the row that Lightning will write about the step that has
            just ended, when all callbacks are done with it; None if there is none.
        """
        return {"rows": self.experiment.rows, "next": _next_row(trainer)}

    def go_back(self, state: dict[str, Any] | None) -> None:
        """Take the table back to a checkpoint.

        Args:
            state: What `state` returned; `EMPTY` for the beginning of a run; None keeps all rows.
        """
        self._experiment = _Writer(self.log_dir, state)


class _Writer(ExperimentWriter):
    """Writes the table so that a kill at any moment leaves all the rows of earlier checkpoints.

    Args:
        folder: The folder of the table.
        state: Where the rows go on; None: after the last.
    """

    def __init__(self, folder: str, state: dict[str, Any] | None) -> None:
        super().__init__(folder)
        path = Path(self.metrics_file_path)
        header, found = _read(path) if path.is_file() else ([], [])
        if not found:  # half a header, it may be
            header = []
            path.unlink(missing_ok=True)
        kept = found if state is None else found[: state["rows"]]
        if state is not None and state["next"] is not None:
            kept.append({name: str(value) for name, value in state["next"].items()})
        self.rows = len(kept)
        self.metrics_keys = sorted({*header, *(name for row in kept for name in row)})
        if kept != found:
            self._replace(kept)

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        """Add a row.

        Args:
            metrics_dict: The metrics.
            step: The step they belong to.
        """
        super().log_metrics(metrics_dict, step)
        self.rows += 1

    def _check_log_dir_exists(self) -> None:
        """Leave the table that is there."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._replace(_read(Path(self.metrics_file_path))[1])

    def _replace(self, rows: list[dict[str, str]]) -> None:
        path = Path(self.metrics_file_path)
        if not rows:
            path.unlink(missing_ok=True)
            self.metrics_keys = []
            return
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(path)


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return a table's header and its rows, cells without a value left out."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = [{name: value for name, value in row.items() if name and value} for row in reader]
        return list(reader.fieldnames or []), rows


def _next_row(trainer: Trainer) -> dict[str, Any] | None:
    loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
    progress = loop.batch_progress.current
    written = progress.completed == progress.processed
    if written or loop._should_accumulate() or not connector.should_update_logs:
        return None
    metrics = convert_tensors_to_scalars(connector.metrics["log"])
    return {"epoch": trainer.current_epoch, **metrics, "step": loop._batches_that_stepped} if metrics else None
