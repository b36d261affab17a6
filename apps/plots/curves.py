"""Loss, metrics and learning rate of one or more runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DataError, UsageError, did_you_mean
from ..pictures.canvas import (
    COLOURS,
    INK,
    QUIET,
    Picture,
    legend_columns,
    open_frame,
    shortened,
)

TABLE, RESUMED, CONFIG = "metrics.csv", "resumed.csv", "config.yaml"
_RATE = "train/lr"
_PANELS = 3  # metrics besides the loss that are shown unless others are asked for

Points = list[tuple[float, float]]


class Course(NamedTuple):
    """What is known of a run's course.

    Attributes:
        name: What it is called.
        series: Steps and values of each metric, by its name.
        resumed: The steps at which it was resumed.
        monitor: The metric that its best checkpoint is chosen by; empty where nothing says so.
        largest: Whether the best is the largest.
    """

    name: str
    series: dict[str, Points]
    resumed: list[float]
    monitor: str
    largest: bool


def curves(*runs: str | PathLike[str], metrics: str = "") -> Picture:
    """Draw loss, metrics and learning rate of runs over their steps.

    Training is thin, validation has dots, and the best of the monitored metric a star. A dotted
    line stands where a run was resumed. Several runs have a colour each.

    Args:
        *runs: Folders of runs; that of a task stands for all runs in it.
        metrics: Names of metrics with commas in between, as val/bleu,val/chrf; without them the
            loss, the monitored metric and the first others.
    """
    folders = [folder for run in runs for folder in _folders(Path(run))]
    if not folders:
        raise UsageError("Whose curves? Name the folder of a run, as runs/char_lm/1.")
    found = [read_run(folder) for folder in dict.fromkeys(folders)]
    return draw(found, [name.strip() for name in metrics.split(",") if name.strip()])


def _folders(path: Path) -> list[Path]:
    """Return the folders of runs that a path stands for."""
    if (path / TABLE).is_file():
        return [path]
    if not path.exists():
        raise DataError(f"There is no run '{path}'.")
    inside = sorted(table.parent for table in path.glob(f"*/{TABLE}")) if path.is_dir() else []
    if not inside:
        raise DataError(
            f"'{path}' has no {TABLE}: name the folder of a run, as runs/char_lm/1. A run with a "
            "logger of your own has its metrics there."
        )
    return inside


def read_run(folder: Path) -> Course:
    """Return the course of a run.

    Args:
        folder: The run's folder, with its `metrics.csv`.

    Raises:
        DataError: The table can't be read, or holds no metrics.
    """
    series: dict[str, Points] = {}
    for row in _rows(folder / TABLE):
        step = _number(row.pop("step", ""))
        row.pop("epoch", None)
        if step is None:
            continue
        for name, text in row.items():
            if (value := _number(text)) is not None:
                series.setdefault(name, []).append((step, value))
    if not series:
        raise DataError(f"'{folder / TABLE}' holds no metrics yet.")
    resumed = folder / RESUMED
    steps = [_number(row.get("step", "")) for row in _rows(resumed)] if resumed.is_file() else []
    monitor, largest = _monitored(folder / CONFIG)
    name = "/".join(folder.absolute().parts[-2:])
    return Course(name, series, [step for step in steps if step is not None], monitor, largest)


def _rows(path: Path) -> list[dict[str, str]]:
    from ...data.tables import csv_rows, read_lines

    rows = csv_rows(read_lines(path), f"'{path}'")
    _, header = next(rows, (0, []))
    return [dict(zip(header, row, strict=False)) for _, row in rows]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _monitored(config: Path) -> tuple[str, bool]:
    """Return what the best checkpoint is chosen by, and whether larger is better."""
    from ..shell.shipped import read_yaml

    try:
        keeper = read_yaml(config).get("checkpoint") or {}
    except (UsageError, DataError, OSError):
        return "", False
    if not isinstance(keeper, dict):
        return "", False
    return str(keeper.get("monitor") or ""), keeper.get("mode") == "max"


def draw(runs: Sequence[Course], metrics: Sequence[str] = ()) -> Picture:
    """Draw the courses of runs.

    Args:
        runs: At least one.
        metrics: Names of the metrics to show; none: the loss and what is chosen from the rest.

    Raises:
        UsageError: No run has such a metric.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.series))
    for name in metrics:
        if name not in names:
            raise UsageError(
                f"No run has the metric '{name}'.{did_you_mean(name, names)}\n"
                f"There are: {', '.join(names)}."
            )
    panels = [[name] for name in metrics] or _chosen(runs, names)
    figure = Picture(1.75 * len(panels) + 0.5 + 0.22 * -(-len(runs) // 2))
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, shown in zip(grid, panels, strict=True):
        _panel(axes, shown, runs)
    grid[-1].set_xlabel("steps", fontsize=10)
    if len(runs) > 1:
        from matplotlib.lines import Line2D

        handles = [
            Line2D([], [], color=_colour(place), linewidth=2.5, label=shortened(run.name, 28))
            for place, run in enumerate(runs)
        ]
        columns = legend_columns([str(handle.get_label()) for handle in handles], 9.5, 2)
        figure.legend(
            handles=handles, loc="outside upper center", ncols=columns, fontsize=9.5, frameon=False
        )
    figure.said = [line for run in runs for line in _in_words(run)]
    return figure


def _chosen(runs: Sequence[Course], names: list[str]) -> list[list[str]]:
    losses = [name for name in names if name in ("train/loss", "val/loss")]
    others = [name for name in names if name.startswith("val/") and name not in losses]
    monitored = [run.monitor for run in runs if run.monitor in others]
    first = list(dict.fromkeys([*monitored, *others]))[:_PANELS]
    rate = [[_RATE]] if _RATE in names else []
    found: list[list[str]] = [losses] * bool(losses) + [[name] for name in first] + rate
    return found or [[name] for name in names[:_PANELS]]


def _panel(axes: Any, names: list[str], runs: Sequence[Course]) -> None:
    open_frame(axes)
    for place, run in enumerate(runs):
        colour = _colour(place)
        for name in names:
            points = run.series.get(name)
            if not points:
                continue
            x, y = zip(*points, strict=True)
            if name.startswith("val/"):
                axes.plot(x, y, color=colour, linewidth=2, marker="o", markersize=3.5)
            else:
                axes.plot(x, y, color=colour, linewidth=1.1, alpha=0.6)
            if name == run.monitor:
                axes.plot(*_best(run), marker="*", color=INK, markersize=11, zorder=5)
        for step in run.resumed:
            axes.axvline(step, color=QUIET if len(runs) == 1 else colour, linestyle=":")
    title = "loss: training thin, validation with dots" if len(names) > 1 else names[0]
    axes.set_title(title, fontsize=10, loc="left", pad=4)
    if names == [_RATE]:
        axes.set_ylim(bottom=0)


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _best(run: Course) -> tuple[float, float]:
    """Return the step and the value of the best checkpoint: of equals the one of lower loss."""
    sign, losses = -1 if run.largest else 1, dict(run.series.get("val/loss", ()))
    points = run.series[run.monitor]
    return min(points, key=lambda point: (sign * point[1], losses.get(point[0], math.inf)))


def _in_words(run: Course) -> list[str]:
    end = max(points[-1][0] for points in run.series.values())
    text = f"{run.name}: to step {end:.0f}"
    if run.monitor in run.series:
        step, value = _best(run)
        text += f", best {run.monitor} {value:.4f} at step {step:.0f}"
    if run.resumed:
        text += f", resumed {len(run.resumed)} time(s)"
    return [text]
