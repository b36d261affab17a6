"""`unrolled plot` from the command line."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from xml.etree import ElementTree

import pytest
import unrolled
from PIL import Image
from unrolled import plots
from unrolled.apps.plots import files
from unrolled.cli import main

WANTED = "alignment attention curves memory neurons surprise timeline unrolled".split()


def test_every_picture_is_a_function_and_the_type_checker_knows_it():
    assert sorted(files()) == WANTED == dir(plots)
    assert unrolled.plots is plots
    tree = ast.parse(Path(plots.__file__).read_text())
    known = {
        alias.name
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        for alias in node.names
    }
    assert known == set(WANTED)
    for name in WANTED:
        function = getattr(plots, name)
        assert inspect.isfunction(function)
        assert inspect.signature(function).return_annotation == "Picture"
    with pytest.raises(AttributeError):
        plots.nothing  # noqa: B018


def test_pictures_of_a_run_in_every_format(here, capsys):
    for name in ("a.png", "deep/a.svg", "a.PDF"):
        assert main(["plot", "surprise", "runs/char_lm", "the cat", "--out", name]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert shown[0] == name
        assert shown[1].startswith("7 characters, ")
    with Image.open("a.png") as picture:
        assert picture.width == 1000
    assert ElementTree.parse("deep/a.svg").getroot().tag.endswith("svg")
    assert Path("a.PDF").read_bytes().startswith(b"%PDF")
    first = Path("deep/a.svg").read_bytes()
    assert main(["plot", "surprise", "runs/char_lm", "the cat", "--out", "deep/a.svg"]) == 0
    assert Path("deep/a.svg").read_bytes() == first  # the same picture is the same file


def test_flags_and_words_of_every_kind(here, capsys):
    assert main(["plot", "unrolled", "runs/char_lm"]) == 3  # no "h", "e", "l", "l", "o" in it
    assert "lacks: 'l' (2 x)" in capsys.readouterr().err
    assert main(["plot", "unrolled", "runs/char_lm", "the", "--top", "2"]) == 0
    assert Path("unrolled.png").is_file()
    assert main(["plot", "neurons", "runs/char_lm", "text.txt", "--units", "3"]) == 0
    assert main(["plot", "neurons", "runs/char_lm", "text.txt", "--units", "[3,1]"]) == 0
    assert main(["plot", "neurons", "runs/char_lm", "text.txt", "--find"]) == 0
    assert "line length" in capsys.readouterr().out
    assert main(["plot", "memory", "GRU", "runs/char_lm", "--steps", "5"]) == 0
    assert "runs/char_lm (LSTM): " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["surprize", "x"], "There is no picture 'surprize'. Did you mean 'surprise'?"),
        (["surprise", "runs/char_lm"], "Missing: text"),
        (["surprise", "runs/char_lm", "the", "cat"], "The word 'cat' is not expected here"),
        (["surprise", "runs/char_lm", "the", "--tops", "2"], "no flag '--tops'. Did you mean"),
        (["surprise", "runs/char_lm", "the", "--top", "x"], "--top: expected int, got 'x'"),
        (["surprise", "runs/char_lm", "the", "--out", "a.jpg"], "ends with .png, .svg or .pdf"),
        (["surprise", "runs/char_lm", "the", "--out", "text.txt/a.png"], "can't be written"),
        (["surprise", "runs/char_lm", "the", "--out"], "--out needs a value"),
        (["alignment", "runs/char_lm", "the"], "holds a CharModel, which does not translate"),
        (["attention", "runs/char_lm", "the"], "'the' does not exist"),
        (["timeline", "runs/char_lm", "the"], "which does not label videos"),
        (["surprise", "runs/none", "the"], "runs/none"),
    ],
)
def test_mistakes_are_a_line(here, capsys, words, answer):
    assert main(["plot", *words]) in (2, 3)
    error = capsys.readouterr().err
    assert answer in error
    assert len(error.splitlines()) <= 3
    assert not list(here.glob("*.png"))


def test_help(capsys):
    assert main(["plot"]) == 2
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in WANTED)
    assert main(["plot", "--help"]) == 0
    assert capsys.readouterr().out == shown
    for name in WANTED:
        assert main(["plot", name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"Usage: unrolled plot {name} ")
        assert f"[{name}.png]" in shown
    assert main(["plot", "nothing", "--help"]) == 2
