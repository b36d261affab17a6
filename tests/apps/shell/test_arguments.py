"""What another library says is passed on whole, with its reason."""

from __future__ import annotations

import importlib.util
from typing import Literal

import pytest
from tiny_runs import enter, fit
from unrolled.apps.shell.arguments import Parser, cause, lacking
from unrolled.errors import SetupError, UsageError


@pytest.mark.parametrize(
    ("logger", "package"), [("WandbLogger", "wandb"), ("CometLogger", "comet_ml")]
)
def test_a_logger_without_its_package(tmp_path, monkeypatch, capsys, logger, package):
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    enter(tmp_path, monkeypatch)
    assert fit("--trainer.logger", logger) in (2, 4)
    told = capsys.readouterr().err.split("unrolled: error: ")[1].strip()
    assert not told.endswith(":")
    assert package.partition("_")[0] in told
    if logger == "WandbLogger":
        assert "pip install" in told


def test_the_lines_behind_a_colon_are_told():
    reason = "  - Problem with X:\n      the reason\n      goes on\n"
    text = f"Does not validate\nErrors:\n{reason}  - Expected"
    assert str(cause(ValueError(text))) == "Problem with X: the reason goes on"
    assert isinstance(cause(ValueError("Problem with X:\n  the reason")), UsageError)
    assert str(cause(ValueError("Problem with X:\n  the reason"))) == "Problem with X: the reason"


def test_a_package_that_is_missing_is_named_with_its_remedy():
    told = lacking(ModuleNotFoundError("No module named 'rich'", name="rich.live"))
    assert isinstance(told, SetupError)
    assert str(told) == "No module named 'rich'. Try: pip install rich"
    told = lacking(ModuleNotFoundError("X is needed: `pip install x`"))
    assert str(told) == "X is needed: `pip install x`"


def test_a_flag_that_may_be_null_says_what_else_it_may_be():
    def command(form: Literal["tsv", "csv"] | None = None, share: float | None = None) -> None: ...

    parser = Parser(prog="x")
    parser.add_function_arguments(command, as_group=False)
    for flag, value, expected in (
        ("--form", "xml", "one of 'tsv', 'csv' or null"),
        ("--share", "much", "float or null"),
    ):
        with pytest.raises(UsageError, match=f"^{flag}: expected {expected}, got '{value}'.$"):
            parser.parse_args([flag, value])


def test_a_path_with_blanks_is_one_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my text.txt").touch()
    parser = Parser(prog="x")
    parser.add_argument("--data.path")
    with pytest.raises(UsageError, match=r"The word 'my text.txt' .* --data.path 'my text.txt'$"):
        parser.parse_args(["my text.txt", "more"])
    with pytest.raises(UsageError, match="The word 'my' is not expected here"):
        parser.parse_args(["my other.txt"])
