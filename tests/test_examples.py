"""The examples in the docstrings of data, vocabularies, tasks and metrics.

tests/core/test_examples.py runs those of the cores.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("unrolled.data", "unrolled.data.vocabulary", "unrolled.tasks", "unrolled.tasks.metrics")
BASES = {"Model", "Task"}  # abstract in all but name
MODULES = [
    path
    for folder in ("data", "tasks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def module_of(path: Path) -> ModuleType:
    return importlib.import_module(
        ".".join(("unrolled", *path.relative_to(ROOT).with_suffix("").parts))
    )


def public_classes() -> dict[str, type]:
    """What users make: no base classes, and no tuples or dicts, which hold what others made."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", dir(module)):
            value = getattr(module, name)
            if (
                inspect.isclass(value)
                and value.__module__.startswith(("unrolled.data.", "unrolled.tasks."))
                and not inspect.isabstract(value)
                and name not in BASES
                and not issubclass(value, (tuple, dict, Exception))
                and not getattr(value, "_is_protocol", False)
            ):
                found[f"{package}.{name}"] = value
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = module_of(path)
    torch.manual_seed(0)
    report: list[str] = []
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("name", public_classes())
def test_every_public_class_shows_an_example(name):
    assert ">>> " in (public_classes()[name].__doc__ or ""), f"{name} shows no example"
