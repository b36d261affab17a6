"""What `unrolled test` leaves in the run's folder: scores, and every sentence, caption or frame."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import distributed

from ...data.base import DataModule
from ...errors import DataError, SetupError, UsageError
from ...loading import CheckedTask
from ...tasks.base import Task
from ...tasks.results import Records
from ..shell.records import format_of, table
from .folder import folders
from .folder.disk import replacing, writing
from .progress import tell

SCORES = "scores.json"
_LISTED = 1 << 24  # bytes of such a file at most


def results_folder(asked: str | None, checkpoint: Path) -> Path | None:
    """Return where a test's results go: `results/CHECKPOINT` in the run's folder, unless asked.

    Args:
        asked: The folder; None: the run's; empty: nowhere.
        checkpoint: The checkpoint that is tested.

    Raises:
        UsageError: Something else is in the folder that was asked for.
        DataError: The run's folder leads elsewhere by a link.
    """
    if asked is not None:
        place = Path(asked) if asked else None
        if place and place.exists():
            there = list(place.iterdir()) if place.is_dir() else [place]
            if there and not (place / SCORES).is_file():
                raise UsageError(
                    f"--results '{place}' holds something else: name a new folder, or one of a "
                    "test before."
                )
        return place
    try:
        run = folders.run_of(checkpoint)
    except UsageError:
        tell("The checkpoint lies in no run's folder: --results PATH keeps what the test finds.")
        return None
    place = run / "results" / checkpoint.stem
    if folders.leads_out(place, run):
        raise DataError(f"'{place}' leads out of the run's folder: name one with --results PATH.")
    return place


class KeepResults(Callback):
    """Writes, after a test, its scores and what its task has to say of each item.

    The first process writes for all. Files of the test before in the same folder are removed.

    Args:
        folder: The folder.
        checkpoint: What is tested.
        asked: The folder as it was asked for; where it was not, a disk that takes no more costs
            the files only.
    """

    def __init__(self, folder: Path, checkpoint: CheckedTask, *, asked: str | None) -> None:
        self.folder = folder
        self.asked = bool(asked)
        self._known = {
            "checkpoint": str(checkpoint.path),
            "step": checkpoint.content.get("global_step"),
            "epoch": checkpoint.content.get("epoch"),
        }

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to keep."""
        if isinstance(pl_module, Task):
            pl_module.kept = []

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather what all processes have kept, and write it."""
        if not isinstance(pl_module, Task):
            return
        shares: list[list[Any]] = [pl_module.kept or []]
        pl_module.kept = None
        if trainer.world_size > 1:
            mine, shares = shares[0], [[] for _ in range(trainer.world_size)]
            distributed.all_gather_object(shares, mine)
        try:
            if trainer.is_global_zero:
                self._write_if_possible(
                    trainer, pl_module, [one for each in shares for one in each]
                )
        finally:
            trainer.strategy.barrier()  # none leaves while the first still writes

    def _write_if_possible(self, trainer: Trainer, task: Task, kept: list[Any]) -> None:
        data = getattr(trainer, "datamodule", None)
        inputs = data.inputs("test") if isinstance(data, DataModule) else ()
        try:
            with writing(self.folder):
                self._write(trainer, task, task.results(kept, inputs))
        except SetupError as error:
            if self.asked:
                raise
            tell(f"{error}: what the test found is not kept; --results PATH names another folder")

    def _write(self, trainer: Trainer, task: Task, results: dict[str, Any]) -> None:
        from ... import __version__

        self.folder.mkdir(parents=True, exist_ok=True)
        for path in _of_the_test_before(self.folder):
            path.unlink()
        for name, content in results.items():
            place = self.folder / name
            if folders.leads_out(place.parent / "x", self.folder):
                raise DataError(f"'{place.parent}' leads out of the results' folder: remove it.")
            place.parent.mkdir(exist_ok=True)
            with replacing(place) as file:
                file.write(_text(place, content).encode("utf-8", "backslashreplace"))
        scores = {
            name: float(value) if math.isfinite(value) else None
            for name, value in sorted(trainer.callback_metrics.items())
            if name.startswith("test/")
        }
        said = {
            "unrolled": __version__,
            **self._known,
            "task": type(task).__name__,
            "data": type(getattr(trainer, "datamodule", None)).__name__,
            "scores": scores,
            "signatures": task.signatures(),
            "files": sorted(results),
        }
        with replacing(self.folder / SCORES) as file:
            file.write(_text(self.folder / SCORES, said).encode("utf-8", "backslashreplace"))
        tell(f"scores and results: {folders.short(self.folder.absolute())}")


def _text(place: Path, content: Any) -> str:
    """Return the text of a file."""
    format = format_of(place)
    if isinstance(content, Records) and format:
        return table(content.records, content.columns, format)
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _of_the_test_before(folder: Path) -> Iterator[Path]:
    """Yield the files that its scores list and that lie in the folder itself, through no link."""
    scores = folder / SCORES
    try:
        listed = json.loads(scores.read_bytes()[:_LISTED])["files"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return
    inside = os.path.realpath(folder)
    for name in listed if isinstance(listed, list) else []:
        path = folder / str(name)
        home = os.path.realpath(path.parent)
        if home in (inside, os.path.join(inside, "frames")) and path.is_file():
            yield path
