"""List tasks, variants, cores, datasets and ways to train."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial

from ..errors import UsageError, did_you_mean
from .shell.shipped import Shipped, list_overlays, list_tasks, list_variants
from .shell.source import subclasses


def list_(what: str | None = None) -> None:
    """List tasks, variants, cores, datasets and ways to train, with a line about each.

    Args:
        what: tasks, variants, cores, datasets or trainers; without it, all of them.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in render(what, width):
        print(line)


def _classes(folder: str, root: str) -> list[Shipped]:
    return [
        Shipped(name, (ast.get_docstring(source.node) or "").partition("\n")[0])
        for name, source in subclasses(folder, root).items()
    ]


LISTS: dict[str, Callable[[], list[Shipped]]] = {
    "tasks": list_tasks,
    "variants": list_variants,
    "cores": partial(_classes, "core", "RecurrentCore"),
    "datasets": partial(_classes, "data", "DataModule"),
    "trainers": list_overlays,
}


def render(what: str | None, width: int | None = None) -> Iterator[str]:
    """Yield the lines that `unrolled list` prints.

    Args:
        what: One of `LISTS`, or None for all of them.
        width: The number of columns; a longer summary is cut. None: no line is cut.

    Raises:
        UsageError: There is no such list.
    """
    if what is not None and what not in LISTS:
        raise UsageError(
            f"There is no list '{what}'.{did_you_mean(what, LISTS)} "
            f"The lists are: {', '.join(LISTS)}."
        )
    for index, name in enumerate(LISTS if what is None else [what]):
        if what is None:
            yield from ([""] if index else [])
            yield f"{name}:"
        entries = LISTS[name]()
        column = max((len(entry.name) for entry in entries), default=0) + 2
        for entry in entries:
            line = f"  {entry.name:<{column}}{entry.summary}".rstrip()
            if width is not None and len(line) > width:
                line = f"{line[: width - 3].rstrip()}..."
            yield line
