"""Lists are read from the source text, and agree with what importing it finds."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module

from unrolled import core
from unrolled.apps import list as listing
from unrolled.apps.shell import shipped, source
from unrolled.data import DataModule


def test_the_cores_listed_are_the_cores_discovered():
    listed = {entry.name for entry in listing.LISTS["cores"]()}
    assert listed == set(core.discover_cores())


def test_the_datasets_listed_are_the_concrete_data_modules():
    for found in source.classes_in("data").values():
        import_module(found.module)
    pending, names = [DataModule], set()
    while pending:
        pending += (children := pending.pop().__subclasses__())
        names |= {child.__name__ for child in children if not inspect.isabstract(child)}
    ours = {name for name in names if name in source.classes_in("data")}
    assert {entry.name for entry in listing.LISTS["datasets"]()} == ours


def test_every_entry_has_a_summary():
    for name, entries in listing.LISTS.items():
        found = entries()
        assert found, name
        assert all(entry.summary for entry in found), name


def test_a_line_is_cut_to_the_terminal():
    assert max(len(line) for line in listing.render(None, 60)) <= 60


def test_the_default_variant_comes_first():
    for task in shipped.tasks():
        assert shipped.variants(task)[0] == "default"


def test_looking_through_the_files_first_leaves_no_class_out(monkeypatch):
    roots = [("core", "RecurrentCore"), ("core", "Backbone"), ("data", "DataModule")]
    roots += [("tasks", "Task"), ("tasks", "Model")]
    quick = [source.subclasses(*one) for one in roots]
    monkeypatch.setattr(source, "_family", lambda folder, root: source.classes_in(folder))
    for found, one in zip(quick, roots, strict=True):
        expected = source.subclasses(*one)
        assert list(found) == list(expected)
        assert found
        for name, quick_one in found.items():
            assert quick_one.module == expected[name].module
            documented = [ast.get_docstring(one.node) for one in (quick_one, expected[name])]
            assert documented[0] == documented[1]
