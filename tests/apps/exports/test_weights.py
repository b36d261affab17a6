"""Weights without code and plain JSON: the same model, read through the same gate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import unrolled
from app_models import write_models
from unrolled.cli import main
from unrolled.errors import DataError

safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("models")
    write_models(made)
    for name in ("lm", "translation", "caption", "video"):
        assert main(["export", str(made / f"{name}.ckpt"), "--format", "safetensors"]) == 0
    return made


@pytest.mark.parametrize("name", ["lm", "translation", "caption", "video"])
def test_the_same_model_comes_back(folder, name):
    expected = unrolled.load(folder / f"{name}.ckpt")
    for path in (folder / f"{name}-safetensors", folder / f"{name}-safetensors/model.safetensors"):
        model = unrolled.load(path)
        assert type(model) is type(expected)
        assert model.spec == expected.spec
        assert model.state_dict().keys() == expected.state_dict().keys()
        for one, two in zip(
            model.state_dict().values(), expected.state_dict().values(), strict=True
        ):
            assert torch.equal(one, two)


def test_commands_take_it_for_a_checkpoint(folder, capsys):
    said = []
    for name in ("lm.ckpt", "lm-safetensors"):
        capsys.readouterr()
        assert main(["generate", str(folder / name), "--seed", "3", "--length", "20"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert main(["info", str(folder / "lm-safetensors")]) == 0
    assert "CharLM" in capsys.readouterr().out


def test_the_card_says_what_the_model_is(folder):
    page = (folder / "lm-safetensors/README.md").read_text(encoding="utf-8")
    card = pytest.importorskip("huggingface_hub").ModelCard(page, ignore_metadata_errors=False)
    assert (card.data.library_name, card.data.pipeline_tag) == ("unrolled", "text-generation")
    assert "| task | CharLM" in page
    assert "| core | GRU" in page
    assert 'unrolled.load("./lm-safetensors")' in page
    assert str(folder) not in page


def test_the_card_of_a_run_has_its_scores_and_none_of_its_places(folder, tmp_path):
    run = tmp_path / "runs/char_lm/1"
    (run / "checkpoints").mkdir(parents=True)
    shutil.copy(folder / "lm.ckpt", run / "checkpoints/best.ckpt")
    (run / "config.yaml").write_text("data:\n  class_path: unrolled.data.TextData\n")
    scores = {"step": 0, "scores": {"test/loss": 1.25}}
    place = run / "results/best"
    place.mkdir(parents=True)
    (place / "scores.json").write_text(json.dumps(scores))
    out = tmp_path / "out"
    assert main(["export", str(run), "--format", "safetensors", "--out", str(out)]) == 0
    page = (out / "README.md").read_text(encoding="utf-8")
    assert "1.25" in page
    assert "TextData" in page
    assert str(tmp_path) not in page


@pytest.fixture
def copy(folder, tmp_path):
    """A function that writes a changed copy of an exported folder."""

    def write(change=lambda content: None, weights=lambda data: data) -> Path:
        source = folder / "lm-safetensors"
        content = json.loads((source / "config.json").read_text(encoding="utf-8"))
        change(content)
        (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
        data = weights((source / "model.safetensors").read_bytes())
        (tmp_path / "model.safetensors").write_bytes(data)
        return tmp_path

    return write


def test_nothing_of_it_is_executed(copy):
    def other(content):
        content["unrolled"]["model"] = "os.system"

    def task(content):
        content["unrolled"]["task"] = content["hyper_parameters"]["_class_path"] = "os.system"

    def core(content):
        content["hyper_parameters"]["core"]["class_path"] = "subprocess.Popen"

    for change in (other, task, core):
        with pytest.raises(DataError, match=r"subprocess|os\.system"):
            unrolled.load(copy(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.clear(),
        lambda content: content.update(unrolled=[]),
        lambda content: content.update(hyper_parameters=None),
        lambda content: content.update(global_step="7"),
        lambda content: content["hyper_parameters"].update(spec=[]),
    ],
)
def test_a_description_of_another_kind_is_refused(copy, change):
    with pytest.raises(DataError):
        unrolled.load(copy(change))


@pytest.mark.parametrize(
    "weights",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data[:8] + b"[" * (len(data) - 8),
        lambda data: (2).to_bytes(8, "little") + b"{}",
        lambda data: Path(__file__).read_bytes(),
    ],
)
def test_weights_that_are_not_whole_are_refused(copy, weights):
    with pytest.raises(DataError):
        unrolled.load(copy(weights=weights))


def test_the_description_belongs_to_the_weights(copy):
    made = copy()
    (made / "config.json").unlink()
    with pytest.raises(DataError, match="belongs to"):
        unrolled.load(made)
