"""`unrolled translate A,B` and the like: several checkpoints speak as one."""

from __future__ import annotations

from pathlib import Path

import pytest
import unrolled
from app_models import PICTURES, SOURCES, write_models
from unrolled.cli import main
from unrolled.tasks import ensemble


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("models")
    write_models(place)
    (place / "corpus.de").write_text("\n".join(SOURCES) + "\n", encoding="utf-8")
    for name in ("translation", "caption", "video"):
        averaged = [str(place / f"{name}2.ckpt"), *[str(place / f"{name}.ckpt")] * 2]
        assert main(["average", *averaged]) == 0
    return place


@pytest.fixture(autouse=True)
def _folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_each_app_takes_several_checkpoints(capsys):
    model = ensemble([unrolled.load("translation.ckpt"), unrolled.load("translation2.ckpt")])
    assert main(["translate", "translation.ckpt,translation2.ckpt", "corpus.de"]) == 0
    assert capsys.readouterr().out.splitlines() == model.translate(SOURCES)
    model = ensemble([unrolled.load("caption.ckpt"), unrolled.load("caption2.ckpt")])
    assert main(["caption", "caption.ckpt, caption2.ckpt", *PICTURES]) == 0
    said = [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()]
    assert said == model.caption(PICTURES)
    for videos in (["video.ckpt,video2.ckpt"], ["video.ckpt"]):
        assert main(["label", *videos, "a.npy", "--format", "tsv"]) == 0
    first, second = capsys.readouterr().out.split("video\t")[1:]
    assert first == second  # of equal models the mean is either
    words = ["score", "translation.ckpt,translation2.ckpt", "corpus.de", "corpus.de"]
    assert main(words) == 0


def test_a_name_may_have_a_comma_in_it(capsys, folder):
    (folder / "a,b.ckpt").write_bytes((folder / "translation.ckpt").read_bytes())
    assert main(["translate", "a,b.ckpt", "corpus.de"]) == 0


@pytest.mark.parametrize(
    ("checkpoints", "code", "said"),
    [
        ("translation.ckpt,nowhere.ckpt", 3, "nowhere.ckpt"),
        ("translation.ckpt,lm.ckpt", 2, "'lm.ckpt' holds a CharModel, which does not translate"),
        (",", 3, "','"),
    ],
)
def test_what_is_no_checkpoint_is_named(checkpoints, code, said, capsys):
    assert main(["translate", checkpoints, "corpus.de"]) == code
    assert said in capsys.readouterr().err


def test_language_models_can_not_speak_together(capsys):
    assert main(["score", "lm.ckpt,lm.ckpt", "corpus.de"]) == 2
    assert "Several models of the kind CharModel" in capsys.readouterr().err
