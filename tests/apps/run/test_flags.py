"""The help of `fit` and its siblings is read from the source text, and short."""

from __future__ import annotations

import inspect

import pytest
from unrolled import core
from unrolled.apps.run.flags import command_help, task_help
from unrolled.apps.shell import shipped
from unrolled.apps.shell.source import arguments
from unrolled.tasks import CharLM
from unrolled.tasks.schedules import WarmupCosine


@pytest.mark.parametrize(
    ("folder", "cls"),
    [("tasks", CharLM), ("core", core.LSTM), ("core", core.Stacked), ("tasks", WarmupCosine)],
)
def test_arguments_read_are_the_arguments_of_the_class(folder, cls):
    read = {argument.name for argument in arguments(folder, cls.__name__)}
    assert read == set(inspect.signature(cls).parameters) - {"spec", "input_size", "params"}


def test_every_flag_of_a_tasks_help_is_explained():
    for task in shipped.tasks():
        text = task_help("fit", task)
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if line.startswith("  --"):
                assert len(line.split()) > 1 or lines[number + 1].startswith("      "), line
        assert max(len(line) for line in lines if "://" not in line) <= 80
        assert "--model.optimizer.lr" in text


def test_values_come_from_the_configuration():
    text = task_help("fit", "char_lm")
    model = shipped.read_yaml(shipped.find_config("char_lm"))["model"]["init_args"]
    assert f"[{model['core']['init_args']['hidden_size']}]" in text
    assert "[LSTM]" in text
    assert "--checkpoint.every_n_train_steps" in text
    assert "--early_stopping.patience" in text


def test_it_begins_with_what_people_change():
    for variant in shipped.list_variants():
        text = task_help("fit", variant.name)
        first = text[text.index("Changed most") :].partition("\n\n")[0]
        for flag in ("--data.batch_size", "--model.optimizer.lr", "--trainer.max_epochs"):
            assert flag in first, variant.name


def test_no_word_is_broken():
    assert "AWD-LSTM" in task_help("fit", "char_lm")


def test_it_is_short():
    assert len(command_help("fit").splitlines()) < 70
