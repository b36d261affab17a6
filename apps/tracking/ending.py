"""What stays of a run for people to look at: its curves, and where it was resumed."""

from __future__ import annotations

import csv
from pathlib import Path

from ...errors import UnrolledError
from ..run.folder.disk import writing

_FEWEST = 2  # validations that make a curve


def note_resumption(folder: Path, step: int) -> None:
    """Add a row to `resumed.csv`, from which the curves know where a run went on.

    Args:
        folder: The run's folder.
        step: The step that it goes on from.
    """
    from ..plots.curves import RESUMED

    path = folder / RESUMED
    with writing(path), path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not file.tell():
            writer.writerow(["step"])
        writer.writerow([step])


def draw_curves(folder: Path) -> Path | None:
    """Draw a run's curves as `curves.png` into its folder, once there is something to see.

    Args:
        folder: The run's folder.

    Returns:
        The picture; None where the run has logged elsewhere, or not even two validations.
    """
    from ..plots.curves import TABLE, draw, read_run

    if not (folder / TABLE).is_file():
        return None
    try:
        run = read_run(folder)
        validated = [len(run.series[name]) for name in run.series if name.startswith("val/")]
        if max(validated, default=0) < _FEWEST:
            return None
        from ..pictures.canvas import save

        return save(draw([run]), folder / "curves.png")
    except UnrolledError:  # a table that somebody has changed: the run itself is done
        return None
