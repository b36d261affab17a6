"""What a run was trained on wins over its variant when it is tested."""

from __future__ import annotations

import re

import pytest
import yaml
from unrolled.apps.run.request import parse
from unrolled.cli import main
from unrolled.errors import UsageError


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A run of `char_lm/text` with settings of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 60)
    words = ["fit", "char_lm/text", "--name", "a", "--data.path", "text.txt"]
    words += ["--data.batch_size", "2", "--data.chunk_length", "8", "--data.val_fraction", "0.25"]
    words += ["--model.core.hidden_size", "6", "--trainer.max_steps", "1"]
    assert main([*words, "--trainer.accelerator", "cpu"]) == 0


def data_of(*words: str) -> tuple[dict, bool]:
    request = parse("test", [*words, "--ckpt_path", "runs/char_lm/a"])
    found: dict = {}
    for text in request.configs[1:]:
        found |= yaml.safe_load(text)["data"]["init_args"]
    return found, request.foreign


def test_a_runs_own_settings_win_over_its_variant(begun, capsys):
    named, foreign = data_of("char_lm/text")
    assert (named["path"], named["val_fraction"]) == ("text.txt", 0.25)
    assert foreign  # its configuration may be anybody's
    assert named == data_of()[0]
    other, foreign = data_of("char_lm/shakespeare")
    assert other["val_fraction"] != 0.25
    assert not foreign
    assert main(["test", "char_lm/text", "--ckpt_path", "runs/char_lm/a"]) == 0
    assert "test/loss" in capsys.readouterr().out


def test_flags_and_configurations_come_after_the_runs_own(begun, tmp_path, capsys):
    (tmp_path / "more.yaml").write_text("data: {init_args: {val_fraction: 0.5}}\n")
    assert data_of("char_lm/text", "--config", "more.yaml")[0]["val_fraction"] == 0.5
    words = ["test", "char_lm/text", "--ckpt_path", "runs/char_lm/a", "--data.path", "gone.txt"]
    assert main(words) == 3
    assert "gone.txt" in capsys.readouterr().err
    with pytest.raises(UsageError):
        data_of("char_lm/nothing")


def test_a_backbones_weights_are_looked_for_before_the_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captions.csv").write_text("image,caption\ngone.jpg,a dog\n")
    words = ["fit", "captioning/csv", "--data.root", "."]
    flag = "--model.encoder.backbone"
    for given, told in (
        ((f"{flag}.weights", "gone.pt"), f"no file 'gone.pt'.*\n.*{flag}.weights FILE"),
        ((f"{flag}.name", "resnet5"), "there is no model 'resnet5'"),
    ):
        assert main([*words, *given]) == 2
        found = capsys.readouterr().err
        assert re.search(told, found), found
        assert "gone.jpg" not in found
