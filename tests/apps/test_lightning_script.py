"""The console script `lightning`: the trainer's commands are ours, others lightning-sdk's."""

from __future__ import annotations

import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
from unrolled import cli


@pytest.fixture
def lightning(monkeypatch):
    """A function that runs the script."""

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["lightning", *words])
        with pytest.raises(SystemExit) as stop:
            cli.lightning_entry()
        return stop.value.code

    return run


def test_it_is_installed():
    (script,) = metadata.entry_points(group="console_scripts", name="lightning")
    assert script.value == "unrolled.cli:lightning_entry"


def test_the_trainers_commands_are_ours(lightning, capsys):
    assert lightning("fit", "chr_lm") == 2
    assert (
        "lightning: error: There is no task 'chr_lm'. Did you mean 'char_lm'?"
        in capsys.readouterr().err
    )
    assert lightning("fit", "--help") == 0
    assert "Usage: lightning fit TASK[/VARIANT]" in capsys.readouterr().out


def test_other_words_without_lightning_sdk(lightning, capsys):
    assert lightning("studio", "list") == 2
    assert "lightning-sdk's, which is not installed" in capsys.readouterr().err
    assert lightning("validat") == 2
    assert "Did you mean 'validate'?" in capsys.readouterr().err
    assert lightning("--help") == 0
    assert "Usage: lightning COMMAND" in capsys.readouterr().out


def test_other_words_go_to_lightning_sdk_where_it_is_installed(lightning, monkeypatch):
    called = []
    theirs = SimpleNamespace(
        dist=SimpleNamespace(name="lightning_sdk"), load=lambda: lambda: called.append(sys.argv[1:])
    )
    ours = next(iter(metadata.entry_points(group="console_scripts", name="lightning")))
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [ours, theirs])
    assert lightning("studio", "list") == 0
    assert called == [["studio", "list"]]
    assert lightning("fit", "chr_lm") == 2
    assert len(called) == 1
