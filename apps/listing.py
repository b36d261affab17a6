"""`unrolled list`: tasks, variants, cores and data sets, read from the source text without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..errors import UsageError, did_you_mean
from .run.shipped import CONFIGS, PACKAGE, tasks, variants


class Entry(NamedTuple):
    """One line of a list: a name and what it is."""

    name: str
    summary: str


class SourceClass(NamedTuple):
    """A class as its source text shows it."""

    module: str
    node: ast.ClassDef

    @property
    def bases(self) -> list[str]:
        """The last component of every base class."""
        return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in self.node.bases]


@cache
def classes_in(folder: str) -> dict[str, SourceClass]:
    """Return every top-level class in the modules of a folder of the package.

    Args:
        folder: `core`, `data` or `tasks`.
    """
    found = {}
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name] = SourceClass(f"unrolled.{module}", node)
    return found


def subclasses(folder: str, root: str) -> dict[str, SourceClass]:
    """Return the public concrete classes of a folder that descend from a class named there.

    Args:
        folder: `core`, `data` or `tasks`.
        root: The name of the base class.
    """
    found = classes_in(folder)
    line = {name: [*_ancestors(name, found)] for name in found}
    return {
        name: found[name]
        for name, ancestors in line.items()
        if name != root
        and root in ancestors
        and not name.startswith("_")
        and not _missing(ancestors, found)
    }


def _ancestors(name: str, found: dict[str, SourceClass]) -> Iterator[str]:
    """Yield a class and its base classes, as far as the folder defines them, the nearest first."""
    if name in found:
        yield name
        for base in found[name].bases:
            yield from _ancestors(base, found)


def _missing(ancestors: list[str], found: dict[str, SourceClass]) -> set[str]:
    """Return the abstract methods of a class that it does not define."""
    abstract: set[str] = set()
    for name in reversed(ancestors):
        for node in found[name].node.body:
            if isinstance(node, ast.FunctionDef):
                decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
                (abstract.add if "abstractmethod" in decorators else abstract.discard)(node.name)
    return abstract


def _first_sentence(node: ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _comment(path: Path) -> str:
    """Return the first line of a YAML file when it is a comment."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def list_tasks() -> list[Entry]:
    """Return the tasks with the first line of their default configuration."""
    return [Entry(task, _comment(CONFIGS / task / f"{variants(task)[0]}.yaml")) for task in tasks()]


def list_variants() -> list[Entry]:
    """Return every `TASK/VARIANT` with the first line of its file."""
    return [
        Entry(f"{task}/{variant}", _comment(CONFIGS / task / f"{variant}.yaml"))
        for task in tasks()
        for variant in variants(task)
    ]


def list_cores() -> list[Entry]:
    """Return the cores and the wrappers around them."""
    return [
        Entry(name, _first_sentence(source.node))
        for name, source in subclasses("core", "RecurrentCore").items()
    ]


def list_datasets() -> list[Entry]:
    """Return the data modules."""
    return [
        Entry(name, _first_sentence(source.node))
        for name, source in subclasses("data", "DataModule").items()
    ]


LISTS = {
    "tasks": list_tasks,
    "variants": list_variants,
    "cores": list_cores,
    "datasets": list_datasets,
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
            f"There is no list '{what}'.{did_you_mean(what, LISTS)} The lists are: {', '.join(LISTS)}."
        )
    for index, name in enumerate(LISTS if what is None else [what]):
        if what is None:
            yield from ([""] if index else [])
            yield f"{name}:"
        entries = LISTS[name]()
        column = max((len(entry.name) for entry in entries), default=0) + 2
        for entry in entries:
            line = f"  {entry.name:<{column}}{entry.summary}".rstrip()
            yield (
                line if width is None or len(line) <= width else f"{line[: width - 3].rstrip()}..."
            )
