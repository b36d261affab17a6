"""Lists and help are read from the source text, and agree with what importing it finds."""

from __future__ import annotations

import inspect

import pytest
from unrolled import core
from unrolled.apps import help as help_texts
from unrolled.apps import listing
from unrolled.apps.run import shipped
from unrolled.data import DataModule
from unrolled.tasks import CharLM
from unrolled.tasks.schedules import WarmupCosine


def test_the_cores_listed_are_the_cores_discovered():
    listed = {entry.name for entry in listing.list_cores()}
    assert listed == set(core.discover_cores())


def test_the_datasets_listed_are_the_concrete_data_modules():
    for source in listing.classes_in("data").values():
        __import__(source.module)
    pending, found = [DataModule], set()
    while pending:
        pending += (children := pending.pop().__subclasses__())
        found |= {child.__name__ for child in children if not inspect.isabstract(child)}
    ours = {name for name in found if name in listing.classes_in("data")}
    assert {entry.name for entry in listing.list_datasets()} == ours


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


@pytest.mark.parametrize(
    ("folder", "cls"),
    [("tasks", CharLM), ("core", core.LSTM), ("core", core.Stacked), ("tasks", WarmupCosine)],
)
def test_arguments_read_are_the_arguments_of_the_class(folder, cls):
    read = {argument.name for argument in help_texts.arguments(folder, cls.__name__)}
    assert read == set(inspect.signature(cls).parameters) - {"spec", "input_size", "params"}


def test_every_flag_of_a_tasks_help_is_explained():
    for task in shipped.tasks():
        text = help_texts.task_help("fit", task)
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if line.startswith("  --"):
                assert len(line.split()) > 1 or lines[number + 1].startswith("      "), line
        assert max(len(line) for line in lines) <= 120


def test_values_come_from_the_configuration():
    text = help_texts.task_help("fit", "char_lm")
    given = shipped.read_yaml(shipped.find_config("char_lm"))["model"]["init_args"]["core"][
        "init_args"
    ]
    assert f"[{given['hidden_size']}]" in text
    assert "[LSTM]" in text
    assert "--checkpoint.every_n_train_steps" in text
    assert "--early_stopping.patience" in text


def test_the_short_helps_are_short():
    assert len(help_texts.main_help().splitlines()) < 30
    assert len(help_texts.command_help("fit").splitlines()) < 60
