"""The examples in the docstrings of the public classes."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest
import torch
import unrolled.core

PUBLIC = {
    name: value
    for name, value in inspect.getmembers(unrolled.core, inspect.isclass)
    if value.__module__.startswith("unrolled.core.")
    and not issubclass(value, tuple)  # states: a core's example shows its own
}
OPTIONAL = {"TimmBackbone": "timm"}  # a package that is not always there


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_class_has_an_example_that_runs(name):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    cls = PUBLIC[name]
    names = vars(importlib.import_module(cls.__module__)) | {"torch": torch}
    found = doctest.DocTestFinder(recurse=False).find(cls, name, globs=dict(names))
    assert any(test.examples for test in found), f"{name} shows no example"
    report: list[str] = []
    for test in found:
        doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)
