"""What `abilities` found, as Markdown tables and as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ability_tasks import TASKS, chance
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from measure import head, introduce, line
from unrolled.apps.pictures.canvas import COLOURS, INK, QUIET, Picture
from unrolled.core import RecurrentCore, discover_cores
from unrolled.core.families.chunked import ChunkedCore
from unrolled.core.families.diagonal import DiagonalCore

TIMES = (1, 2, 4, 8)
"""The scored lengths, in trained lengths."""
KINDS = (
    "the next state is no linear function of the state",
    "a linear recurrence of a vector",
    "a linear recurrence of matrices",
)
_APART = 0.1  # seeds that differ by more are named

Row = dict[str, Any]


def kind(core: type[RecurrentCore]) -> str:
    """Return which of `KINDS` a core is."""
    if issubclass(core, ChunkedCore):
        return KINDS[2]
    return KINDS[int(core.parallel and not issubclass(core, DiagonalCore))]


def ordered(rows: Iterable[Row]) -> list[str]:
    """Return the names of the cores that occur, kind by kind."""
    cores = discover_cores()
    names = sorted({row["core"] for row in rows})
    return sorted(names, key=lambda name: KINDS.index(kind(cores[name])))


def shares(rows: Iterable[Row], core: str, task: str) -> np.ndarray:
    """Return the shares of right answers, seeds by lengths; of no seed where there is no cell."""
    found = [row["accuracy"] for row in rows if (row["core"], row["task"]) == (core, task)]
    return np.array(found).reshape(len(found), len(TIMES))


def milliseconds(rows: Iterable[Row], core: str) -> float:
    """Return the CPU milliseconds of a step of training, the median over the cells."""
    found = [1e3 * row["seconds"] / row["trained_steps"] for row in rows if row["core"] == core]
    return statistics.median(found)


def print_tables(rows: list[Row]) -> None:
    """Print the share of right answers of every core and task, and where seeds differ."""
    names = ordered(rows)
    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    seeds = sorted({row["seed"] for row in rows})
    steps = max(row["steps"] for row in rows)
    introduce(f"{len(rows)} cells, at most {steps} steps each, one thread, seeds {seeds}")
    head("core", "hidden size", *tasks, "ms a step")
    levels = [
        _percent(chance(TASKS[task], TASKS[task].length * more) for more in TIMES) for task in tasks
    ]
    line("the best constant answer", "", *levels, "")
    apart = []
    for name in names:
        cells = []
        for task in tasks:
            found = shares(rows, name, task)
            cells.append(_percent(found.mean(0)) if len(found) else "")
            if len(found) and len(found) < len(seeds):
                cells[-1] += f" ({len(found)} of {len(seeds)} seeds)"
            if len(found) > 1 and (found.max(0) - found.min(0) > _APART).any():
                apart.append((name, task, "; ".join(_percent(seed) for seed in found)))
        sizes = [row["hidden_size"] for row in rows if row["core"] == name]
        size = f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else sizes[0]
        line(f"`{name}`", size, *cells, f"{milliseconds(rows, name):.1f}")
    if apart:
        print(f"\nWhere seeds are more than {_APART:.0%} apart:\n")
        head("core", "task", "each seed")
        for cells in apart:
            line(*cells)


def _percent(found: Iterable[float]) -> str:
    """Write shares as whole per cents."""
    return " ".join(f"{100 * share:.0f}" for share in found)


def draw(rows: list[Row], path: Path) -> None:
    """Draw how far above chance each core is, at every length, beside the time of a step.

    Args:
        rows: The cells.
        path: Where to, .svg or .png.
    """
    cores, names = discover_cores(), ordered(rows)
    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    left = {task: 4.6 * place for place, task in enumerate(tasks)}
    kinds = [kind(cores[name]) for name in names]
    top = {name: place + KINDS.index(kinds[place]) for place, name in enumerate(names)}
    high = max(top.values()) + 1
    picture = Picture(0.24 * high + 1.5, width=9.5)
    axes, bars = picture.subplots(1, 2, sharey=True, width_ratios=(7, 1))
    scale = ScalarMappable(Normalize(0, 1), "cividis")
    for task in tasks:
        levels = [chance(TASKS[task], TASKS[task].length * more) for more in TIMES]
        for name in names:
            found = shares(rows, name, task)
            if not len(found):
                continue
            above = (found.mean(0) - levels) / (1 - np.array(levels))
            for place, share in enumerate(above.clip(0, 1)):
                corner = (left[task] + place, top[name])
                axes.add_patch(_square(corner, scale.to_rgba(share)))
        axes.text(left[task] + 2, -1.0, task, ha="center", va="bottom", fontsize=9, color=INK)
    for name in (names[kinds.index(one)] for one in dict.fromkeys(kinds)):
        says = f"{kind(cores[name])}:"
        axes.text(0, top[name] - 0.1, says, va="bottom", fontsize=8, style="italic", color=INK)
    axes.set_xlim(-0.2, max(left.values()) + len(TIMES) + 0.2)
    axes.set_ylim(high + 0.1, -0.9)
    axes.set_yticks([top[name] + 0.5 for name in names], names, fontsize=9)
    places = [
        (left[task] + place + 0.5, f"{more}×") for task in tasks for place, more in enumerate(TIMES)
    ]
    axes.set_xticks(*zip(*places, strict=True), fontsize=7)
    times = [milliseconds(rows, name) for name in names]
    bars.barh([top[name] + 0.5 for name in names], times, height=0.7, color=COLOURS[0])
    for name, time in zip(names, times, strict=True):
        bars.text(time, top[name] + 0.5, f" {time:.0f}", va="center", fontsize=7, color=INK)
    bars.set_xlim(0, 1.25 * max(times))
    bars.set_xticks([])
    bars.set_title("CPU ms a step", fontsize=9, color=INK, pad=4)
    for side in (axes, bars):
        side.spines[:].set_visible(False)
        side.tick_params(length=0, colors=INK)
    bar = picture.colorbar(
        scale, ax=[axes, bars], location="bottom", aspect=60, shrink=0.6, pad=0.02
    )
    bar.set_ticks([0, 0.5, 1], labels=["chance", "half way", "all right"], fontsize=8)
    bar.outline.set_edgecolor(QUIET)
    picture.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)


def _square(corner: tuple[float, float], colour: Any) -> Rectangle:
    """Return one coloured field, with a little paper around it."""
    return Rectangle(corner, 0.96, 0.92, facecolor=colour, edgecolor="none")
