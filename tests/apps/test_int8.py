"""`translate --int8` and `caption --int8`: what they write, and what they refuse."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import unrolled
from app_models import SOURCES, write_models
from PIL import Image
from unrolled.cli import main
from unrolled.core.products import eight_bits, has_eight_bits

needed = pytest.mark.skipif(
    not has_eight_bits(), reason="this processor has no products in 8 bits (AVX-512 with VNNI)"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("int8")
    write_models(place)
    (place / "lines").write_text("\n".join(SOURCES) + "\n", encoding="utf-8")
    Image.new("RGB", (40, 30), (200, 30, 30)).save(place / "red.png")
    return place


def command(folder: Path, task: str, *more: str) -> list[str]:
    given = {"translate": ("translation.ckpt", "lines"), "caption": ("caption.ckpt", "red.png")}
    return [task, *(str(folder / name) for name in given[task]), "--int8", "true", *more]


@needed
@pytest.mark.parametrize("shortlist", [False, True])
def test_translations_are_those_of_the_context(folder, capsys, shortlist):
    made = folder / f"listed{shortlist}.ckpt"
    files = [word for side in ("source", "target") for word in (f"--{side}", str(folder / "lines"))]
    listed = ["shortlist", str(made), str(folder / "translation.ckpt"), *files]
    assert main(listed) == 0
    capsys.readouterr()
    model = unrolled.load(made)
    found = []
    for context in (eight_bits(), nullcontext()):
        with context:
            every = model.translations(SOURCES, beam_size=2, shortlist=shortlist)
        found.append([f"{one[0].score:.4f}\t{one[0].text}" for one in every])
    words = ["translate", str(made), str(folder / "lines"), "--beam_size", "2", "--scores", "true"]
    words += ["--shortlist", str(shortlist).lower()]
    assert main([*words, "--int8", "true"]) == 0
    assert capsys.readouterr().out.splitlines() == found[0]
    assert found[0] != found[1]  # the scores are rounded


@needed
def test_captions_are_those_of_the_context(folder, capsys):
    model = unrolled.load(folder / "caption.ckpt")
    with eight_bits():
        (expected,) = model.captions([Image.open(folder / "red.png")])
    assert main(command(folder, "caption", "--scores", "true")) == 0
    said = capsys.readouterr().out.rstrip("\n").split("\t")
    assert said[1:] == [f"{expected[0].score:.4f}", expected[0].text]


@pytest.mark.parametrize("task", ["translate", "caption"])
def test_what_can_not_be_had_is_refused(folder, capsys, monkeypatch, task):
    assert main(command(folder, task, "--device", "cuda")) == 2
    assert "--int8 true: products in 8 bits are the cpu's" in capsys.readouterr().err
    monkeypatch.setattr("unrolled.core.products.has_eight_bits", lambda: False)
    assert main(command(folder, task)) == 4
    assert "leave --int8 out" in capsys.readouterr().err


def test_an_exported_model_has_its_own(folder, capsys):
    exported = folder / "exported"
    exported.mkdir()
    (exported / "model.json").write_text("{}")
    assert main(["translate", str(exported), str(folder / "lines"), "--int8", "true"]) == 2
    assert "unrolled export with --int8 true" in capsys.readouterr().err
