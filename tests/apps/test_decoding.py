"""How `translate` and `caption` decode: beginnings, draws, alignments, what is unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import unrolled
from app_models import PICTURES, SOURCES, write_models
from unrolled.cli import main

LINES = [*SOURCES, "", "😀", "ein 😀 hund"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("models")
    write_models(place)
    (place / "corpus.de").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return place


@pytest.fixture(autouse=True)
def _folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


def lines(capsys) -> list[str]:
    return capsys.readouterr().out.split("\n")[:-1]


def test_translations_begin_and_last_as_they_are_told(capsys):
    flags = ["--prefix", "two dogs", "--min_length", "9"]
    assert main(["translate", "translation.ckpt", "corpus.de", *flags]) == 0
    found = lines(capsys)
    model = unrolled.load("translation.ckpt")
    assert found == model.translate(LINES, prefix="two dogs", min_length=9)
    assert all(text.startswith("two dogs") for text in found if text)
    assert main(["caption", "caption.ckpt", *PICTURES, "--prefix", "a red", "--top_k", "4"]) == 0
    assert all("\ta red" in line for line in lines(capsys))


def test_several_are_drawn_for_each_input(capsys):
    draw = ["--nbest", "7", "--top_k", "5", "--top_p", "0.9", "--min_p", "0.01", "--seed", "1"]
    assert main(["translate", "translation.ckpt", "corpus.de", *draw]) == 0
    found = lines(capsys)
    assert len(found) == 7 * len(LINES)
    assert len(set(found[:7])) > 1
    assert main(["translate", "translation.ckpt", "corpus.de", *draw]) == 0
    assert lines(capsys) == found
    assert main(["caption", "caption.ckpt", *PICTURES, *draw]) == 0
    assert len(lines(capsys)) == 7 * len(PICTURES)


def test_alignments_have_a_line_for_each_line(capsys, tmp_path):
    out = tmp_path / "links.align"
    words = ["translate", "translation.ckpt", "corpus.de", "--nbest", "2", "--alignments", str(out)]
    assert main(words) == 0
    translated, linked = lines(capsys), out.read_text().split("\n")[:-1]
    assert len(translated) == len(linked) == 2 * len(LINES)
    sources = [line for line in LINES for _ in range(2)]
    for source, target, links in zip(sources, translated, linked, strict=True):
        pairs = [tuple(map(int, link.split("-"))) for link in links.split()]
        assert all(s < len(source.split()) and t < len(target.split()) for s, t in pairs)
    assert any(linked)
    assert linked[6:8] == ["", ""]  # those of nothing
    records = tmp_path / "links.jsonl"
    assert main([*words[:-1], str(records)]) == 0
    found = [json.loads(line) for line in records.read_text().splitlines()]
    assert [one["id"] for one in found] == [1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6]


def test_what_is_not_known_is_counted_and_marked(capsys):
    flags = ["--scores", "true", "--unknown", "copy"]
    assert main(["translate", "translation.ckpt", "corpus.de", *flags]) == 0
    told = capsys.readouterr()
    rows = [line.split("\t") for line in told.out.split("\n")[:-1]]
    assert [row[0] == "nan" for row in rows] == [False, False, False, True, True, False]
    assert rows[3:5] == [["nan", ""], ["nan", "😀"]]
    said = "2 of 6 line(s) hold what the model does not know, and 1 of them nothing that it knows"
    assert said in told.err
    assert main(["translate", "translation.ckpt", "corpus.de", "--format", "jsonl"]) == 0
    told = capsys.readouterr()
    records = [json.loads(line) for line in told.out.splitlines()]
    assert [one["unknown"] for one in records] == [0, 0, 0, 0, 1, 1]
    assert records[4]["score"] is None
    assert "see --unknown" in told.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--prefix", "Ω"], "the model does not know all of it"),
        (["--beam_size", "3", "--top_k", "3"], "beam_size=3 searches the best, top_k draw"),
        (["--min_length", "9", "--max_length", "3"], "min_length=9"),
        (["--min_length", "-1"], "min_length=-1"),
        (["--top_p", "2"], "top_p=2"),
        (["--unknown", "guess"], "unknown"),
        (["--top_k", "3", "--seed", str(2**64)], "seed=18446744073709551616: must be a number of"),
        (["--alignments", "corpus.de"], "would overwrite what is read"),
        (["--alignments", "-"], "the translations go there"),
        (["--alignments", "nowhere/a"], "--alignments 'nowhere/a': there is no folder 'nowhere'"),
        (["--alignments", "nothing"], "--alignments 'nothing' is a folder"),
        (["--alignments", "./x.txt", "--out", "x.txt"], "the translations go there"),
    ],
)
def test_mistakes_are_told(flags, said, capsys):
    assert main(["translate", "translation.ckpt", "corpus.de", *flags]) == 2
    assert said in capsys.readouterr().err
    assert Path("corpus.de").read_text(encoding="utf-8").startswith("ein hund")


@pytest.mark.parametrize(
    "words",
    [
        ["translate", "translation.ckpt", "corpus.de", "--alignments", "translation.ckpt"],
        ["translate", "caption.ckpt,translation.ckpt", "corpus.de", "--out", "translation.ckpt"],
        ["score", "translation.ckpt", "corpus.de", "corpus.de", "--out", "translation.ckpt"],
        ["caption", "caption.ckpt", "a.png", "--out", "caption.ckpt"],
        ["label", "video.ckpt", "a.npy", "--format", "tsv", "--out", "video.ckpt"],
        ["generate", "lm.ckpt", "--out", "lm.ckpt"],
    ],
)
def test_no_result_takes_the_place_of_a_model(words, capsys):
    before = Path(words[-1]).read_bytes()
    assert main(words) == 2
    assert f"{words[-2]} '{words[-1]}' would overwrite what is read" in capsys.readouterr().err
    assert Path(words[-1]).read_bytes() == before
