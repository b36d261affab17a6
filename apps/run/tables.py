"""The metrics of a run as a table that has every row once, however often the run was killed."""

from __future__ import annotations

import csv
import io
from collections import deque
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.apply_func import convert_tensors_to_scalars
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from ...errors import DataError
from .folder.disk import replacing, writing

EMPTY: dict[str, Any] = {"rows": 0, "next": None}


class MetricsTable(CSVLogger):
    """The metrics as `metrics.csv`, which a resumed run adds to; Lightning's own deletes the file.

    The rows that a killed run wrote after its checkpoint are not written twice, and taken out
    where they change.
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
            `rows`, the number of rows so far, and `next`, the row that Lightning will write about
            the step that has just ended, when all callbacks are done; None if there is none.
        """
        return {"rows": self.experiment.rows, "next": _next_row(trainer)}

    def go_back(self, state: dict[str, Any] | None) -> None:
        """Take the table back to a checkpoint.

        Args:
            state: What `state` returned; `EMPTY` for the beginning of a run; None keeps all rows.
        """
        self._experiment = _Writer(self.log_dir, state)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Leave no row of a later time behind a run that came to its end.

        Args:
            status: Lightning's word for how the run ended.
        """
        super().finalize(status)
        if status == "success" and self._experiment is not None:
            self.experiment.cut()


class Board(TensorBoardLogger):
    """TensorBoard's file; that it can't be written ends the run with the reason."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Write metrics.

        Args:
            metrics: Their values by name.
            step: The step they belong to.
        """
        with self._writing():
            super().log_metrics(metrics, step)

    def save(self) -> None:
        """Write what waits."""
        with self._writing():
            super().save()

    def finalize(self, status: str) -> None:
        """Close the file.

        Args:
            status: Lightning's word for how the run ended.
        """
        with self._writing():
            super().finalize(status)

    def _writing(self) -> AbstractContextManager[None]:
        place = Path(self.log_dir) / "events.out.tfevents.*"
        return writing(place, "the last checkpoint is untouched: go on with --resume")


class _Writer(ExperimentWriter):
    """Writes the table so that a kill at any moment leaves every row that a checkpoint counts.

    Rows of a later time stay while the run writes the same again: a later checkpoint counts them.
    The first other row takes their place.

    Args:
        folder: The folder of the table.
        state: Where the rows go on; None: after the last.
    """

    def __init__(self, folder: str, state: dict[str, Any] | None) -> None:
        super().__init__(folder)
        self._path = Path(self.metrics_file_path)
        header, found, whole = _read(self._path)
        self.metrics_keys = header
        self.rows = len(found) if state is None else min(state["rows"], len(found))
        self._later = deque(found[self.rows :])
        if not whole:
            self._replace(found)
        if state is not None and state["next"] is not None:
            row = dict(state["next"])
            self.log_metrics(row, row.pop("step"))
            self.save()

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        """Add a row, or find it there.

        Args:
            metrics_dict: The metrics.
            step: The step they belong to.
        """
        super().log_metrics(metrics_dict, step)
        row = {name: str(value) for name, value in self.metrics[-1].items()}
        if self._later and self._later[0] == row:
            self._later.popleft()
            self.metrics.pop()
        else:
            self.cut()
        self.rows += 1

    def save(self) -> None:
        """Write the rows that wait."""
        with writing(self._path, "the last checkpoint is untouched: go on with --resume"):
            super().save()

    def cut(self) -> None:
        """Take out the rows of a later time."""
        if self._later:
            self._later.clear()
            self._replace(_read(self._path)[1][: self.rows])

    def _check_log_dir_exists(self) -> None:
        """Leave the table that is there."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._replace(_read(self._path)[1])

    def _replace(self, rows: list[dict[str, str]]) -> None:
        if not rows:
            self._path.unlink(missing_ok=True)
            self.metrics_keys = []
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.metrics_keys)
        writer.writeheader()
        writer.writerows(rows)
        with writing(self._path), replacing(self._path) as file:
            file.write(text.getvalue().encode())


_LONGEST = 1 << 17
"""Characters of a cell at most: a quote that is not closed takes in what follows, and is found."""


def _read(path: Path) -> tuple[list[str], list[dict[str, str]], bool]:
    """Return a table's header, its rows without empty cells, and whether its last line is whole.

    Raises:
        DataError: It is no text, or no table.
    """
    if not path.is_file():
        return [], [], True
    try:
        with path.open(newline="", encoding="utf-8") as file:
            text = file.read()
        csv.field_size_limit(_LONGEST)  # the whole process's: another reader leaves its own
        reader = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
        # What is in a row behind the header's last column has no name.
        rows = [{name: value for name, value in row.items() if name and value} for row in reader]
        # A damaged table may have lines without a value; every row has a step.
        rows = [row for row in rows if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"'{path}' is damaged: {error}.\n"
            "Move it away and --resume: the run then begins another table."
        ) from error
    return list(reader.fieldnames or []), rows, bool(rows) and text.endswith("\n")


def _next_row(trainer: Trainer) -> dict[str, Any] | None:
    loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
    progress = loop.batch_progress.current
    written = progress.completed == progress.ready
    if written or loop._should_accumulate() or not connector.should_update_logs:
        return None
    metrics = convert_tensors_to_scalars(connector.metrics["log"])
    if not metrics:
        return None
    return {"epoch": trainer.current_epoch, **metrics, "step": loop._batches_that_stepped}
