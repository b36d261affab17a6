"""The lecture's example: "hello" with three units, its table before and after, its picture."""

from __future__ import annotations

import re

import pytest
import torch
from PIL import Image
from unrolled import load, plots
from unrolled.apps.tracking.steps import StepTable, table
from unrolled.cli import main
from unrolled.errors import UsageError
from unrolled.tasks import CharModel

RUN = "runs/char_lm/1"
CPU = ["--trainer.accelerator", "cpu"]
SPEC = {"vocabulary": {"kind": "characters", "symbols": "abc"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the example has run, and what it has printed."""
    folder = tmp_path_factory.mktemp("hello")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "char_lm/hello", *CPU]) == 0
    return folder


@pytest.fixture
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_it_learns_to_spell(folder):
    model = load(str(folder / RUN))
    ids = torch.from_numpy(model.vocabulary.encode("hell")).long()
    logits, state = model.eval()(ids.unsqueeze(0))
    assert model.vocabulary.decode(logits[0].argmax(-1).tolist()) == "ello"
    assert state.hidden.shape == (1, 3)
    rows = [re.split(r" {3,}", line) for line in table(model, "hello")]
    assert [row[0].strip() for row in rows] == ["input", "h", "e", "l", "l"]
    assert [row[-1] for row in rows] == ["target", "e", "l", "l", "o"]
    shown = torch.tensor([[float(value) for value in row[1].split()] for row in rows[1:]])
    output, _ = model.read(ids.unsqueeze(0))
    torch.testing.assert_close(shown, output[0].detach(), atol=0.006, rtol=0)


def test_the_picture_has_the_numbers_of_the_table_from_top_to_bottom(folder):
    figure = plots.unrolled(str(folder / RUN), "hello")
    drawn = [text for text in figure.axes[0].texts if re.fullmatch(r"-?\d\.\d\d", text.get_text())]
    drawn.sort(key=lambda text: (text.get_position()[0], -text.get_position()[1]))
    rows = [re.split(r" {3,}", line)[1].split() for line in table(load(str(folder / RUN)), "hello")]
    assert [text.get_text() for text in drawn] == [value for row in rows[1:] for value in row]


def test_the_picture_is_there(folder):
    with Image.open(folder / RUN / "unrolled.png") as picture:
        assert min(picture.size) > 300


def test_a_run_goes_on_and_another_text_is_shown(there, capsys):
    assert main(["fit", "char_lm/hello", "--resume", "--trainer.max_epochs", "201"]) == 0
    output = capsys.readouterr().out
    assert "At step 200:" in output
    assert "After 201 steps:" in output
    few = ["--trainer.max_steps", "2", "--data.text", "banana"]
    assert main(["fit", "char_lm/hello", *CPU, *few]) == 0
    output = capsys.readouterr().out
    before, after = output.split("After 2 steps:")
    for part in (before.partition("Before training:")[2], after.partition("Picture:")[0]):
        assert [line.split()[0] for line in part.split("\n")[1:-1]][:6] == ["input", *"banan"]
    assert "Picture: runs/char_lm/2/unrolled.png" in after
    assert "■ the end" in before  # what no letter is


def test_the_list_names_it(capsys):
    assert main(["list", "variants"]) == 0
    assert "char_lm/hello " in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags", [["--data.path", "a.txt"], ["--data.dataset", "a.jsonl"], ["--data.text", ""]]
)
def test_one_text_only(flags, there, capsys):
    assert main(["fit", "char_lm/hello", *CPU, *flags]) == 2
    assert "text" in capsys.readouterr().err


def test_many_units_are_not_all_shown():
    torch.manual_seed(0)
    lines = list(table(CharModel(SPEC), "abc"))
    assert "(8 of 256 units)" in lines[0]
    assert len(lines) == 3


def test_a_text_of_one_letter_is_refused(there, capsys):
    assert main(["fit", "char_lm/hello", *CPU, "--data.text", "a"]) == 2
    assert "two characters" in capsys.readouterr().err
    with pytest.raises(UsageError, match="language models"):
        StepTable("ab")._subject(None, None)
