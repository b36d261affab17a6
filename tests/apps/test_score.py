"""`unrolled score`: the log-probability of texts, translations and captions, exact and alone."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import math
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import unrolled
from app_models import SOURCES as LINES
from app_models import write_models
from unrolled.cli import main
from unrolled.core import GRU
from unrolled.tasks import CharLM
from unrolled.tasks.sequence_model import with_end

TEXT = "ab cab\n\nabba c\t\nbca"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture
def translator(made) -> Path:
    return made / "translation.ckpt"


def records(capsys, *words: str, code: int = 0) -> list[dict]:
    assert main(["score", *map(str, words), "--format", "jsonl"]) == code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def by_hand(model, text: str) -> list[float]:
    """Each character's log-probability, step by step."""
    ids = [0, *model.vocabulary.encode(text).tolist()]
    state, found = model.core.initial_state(1), []
    with torch.no_grad():
        for before, after in itertools.pairwise(ids):
            logits, state = model.step(torch.tensor([before]), state)
            found.append(float(logits.log_softmax(-1)[0, after]))
    return found


def test_a_text_is_worth_its_characters(made, tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    model = unrolled.load(made / "lm.ckpt")
    expected = by_hand(model, TEXT)
    found = records(capsys, made / "lm.ckpt", path, "--by", "character")
    assert "".join(row["character"] for row in found) == TEXT
    assert [row["log_probability"] for row in found] == pytest.approx(expected, abs=1e-5)
    assert [row["id"] for row in found if row["place"] == 1] == [1, 2, 3, 4]
    words = records(capsys, made / "lm.ckpt", path, "--by", "word")
    assert [row["word"] for row in words] == ["ab ", "cab\n", "\n", "abba ", "c\t\n", "bca"]
    assert sum(row["log_probability"] for row in words) == pytest.approx(sum(expected), abs=1e-4)
    lines = records(capsys, made / "lm.ckpt", path)
    assert [row["text"] for row in lines] == TEXT.split("\n")
    assert [row["symbols"] for row in lines] == [7, 1, 8, 3]
    assert sum(row["log_probability"] for row in lines) == pytest.approx(sum(expected), abs=1e-4)
    first = sum(expected[:7])
    assert lines[0]["perplexity"] == pytest.approx(math.exp(-first / 7), rel=1e-5)
    assert lines[0]["bits_per_character"] == pytest.approx(-first / 7 / math.log(2), rel=1e-5)


@pytest.mark.parametrize("size", [1, 3])
def test_lines_by_themselves_do_not_depend_on_others(size, made, tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    words = (made / "lm.ckpt", path, "--separate", "true", "--batch_size", size)
    model = unrolled.load(made / "lm.ckpt")
    expected = [sum(by_hand(model, line)) for line in TEXT.split("\n")]
    found = [row["log_probability"] for row in records(capsys, *words)]
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_bad_line_costs_no_other(made, tmp_path, capsys):
    path = tmp_path / "text.txt"
    for more, told in ([], "never saw: 'Q'"), (["--separate", "true"], "'Q' (1 x)"):
        path.write_bytes(b"ab\nQc\n\xff\nba\n")
        found = records(capsys, made / "lm.ckpt", path, *more, code=3)
        assert [row["id"] for row in found] == [1, 2, 3, 4]
        assert [row["error"] is None for row in found] == [True, False, False, True]
        assert told in found[1]["error"]
        path.write_bytes(b"ab\nc\n" + b"ba\n")
        whole = records(capsys, made / "lm.ckpt", path, *more)
        assert found[0]["log_probability"] == pytest.approx(whole[0]["log_probability"], abs=1e-5)


def test_bytes_of_a_character_are_put_together(tmp_path):
    torch.manual_seed(0)
    task = CharLM({"vocabulary": {"kind": "bytes", "symbols": ""}}, partial(GRU, hidden_size=6))
    model = task.model.eval()
    [found] = model.score(["aü日"])
    expected = by_hand(model, "aü日")
    assert found.symbols == [*"aü日"]
    sums = [expected[0], sum(expected[1:3]), sum(expected[3:])]
    assert found.log_probabilities == pytest.approx(sums, abs=1e-5)
    [streamed] = model.score_stream(["aü日"])
    assert streamed.log_probabilities == pytest.approx(sums, abs=1e-5)


def test_an_n_best_list_is_scored_as_the_search_scored_it(translator, tmp_path, capsys):
    source = tmp_path / "source.txt"
    source.write_text("\n".join(line for line in LINES if line) + "\n")
    for form in ("tsv", "json"):
        out = tmp_path / f"best.{form}"
        words = ["translate", str(translator), str(source), "--beam_size", "4", "--nbest", "4"]
        # far from the limit of its length each comes to its end
        assert main([*words, "--max_length", "60", "--out", str(out)]) == 0
        found = records(capsys, translator, out)
        assert len(found) == 12
        for row in found:
            assert float(row["given_log_probability"]) < 0
            again = unrolled.load(translator).score([row["source"]], [row["translation"]])[0]
            assert row["log_probability"] == pytest.approx(sum(again.log_probabilities), abs=1e-4)
            assert row["symbols"] == len(again.symbols)
        for number in ("1", "2", "3"):
            group = [row for row in found if str(row["id"]) == number]
            ranked = sorted(group, key=lambda row: row["rank"])
            assert [row["rank"] for row in ranked] == [1, 2, 3, 4]
            values = [row["log_probability"] for row in ranked]
            assert values == sorted(values, reverse=True)


def test_teacher_forcing_finds_what_the_search_found(translator):
    model = unrolled.load(translator)
    ids = [model.source.encode_batch([line])[0] for line in LINES if line]
    for row, found in zip(ids, model.search(model.read(ids), beam_size=3), strict=True):
        for one in found:
            [scored] = model.score_symbols([row], [with_end(one)])
            total = sum(scored.log_probabilities)
            assert total == pytest.approx(one.log_probability, rel=1e-5, abs=1e-4)
    many = model.score(LINES * 2, LINES[::-1] * 2, batch_size=3)
    alone = [model.score([a], [b])[0] for a, b in zip(LINES * 2, LINES[::-1] * 2, strict=True)]
    for one, other in zip(many, alone, strict=True):
        assert one.symbols == other.symbols
        assert one.log_probabilities == pytest.approx(other.log_probabilities, abs=1e-5)


def test_two_files_and_subwords(translator, tmp_path, capsys):
    source, target = tmp_path / "a.de", tmp_path / "a.en"
    source.write_text("ein hund\n" + "hund " * 2001 + "\nein mann\n")
    target.write_text("a dog\na dog\na man sees\n")
    lines = records(capsys, translator, source, target, code=3)
    assert [row["id"] for row in lines] == [1, 2, 3]
    assert "2,001 subwords" in lines[1]["error"]
    parts = records(capsys, translator, source, target, "--by", "subword", code=3)
    words = records(capsys, translator, source, target, "--by", "word", code=3)
    for number in (1, 3):
        total = lines[number - 1]["log_probability"]
        for rows in (parts, words):
            values = [row["log_probability"] for row in rows if row["id"] == number]
            assert sum(values) == pytest.approx(total, abs=1e-4)
    assert [row["word"] for row in words if row["id"] == 3][-1] == "</s>"
    assert len([row for row in words if row["id"] == 3]) == 4
    target.write_text("a dog\n")
    assert main(["score", str(translator), str(source), str(target)]) == 3
    assert "has 3 lines and" in capsys.readouterr().err


def test_captions_with_their_images(made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = made / "said.csv"
    rows = [("a.png", "a star"), ("bad.png", "a star"), ("b.png", "two large squares")]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    found = records(capsys, made / "caption.ckpt", table, code=3)
    assert [row["image"] for row in found] == [name for name, _ in rows]
    assert [row["error"] is None for row in found] == [True, False, True]
    model = unrolled.load(made / "caption.ckpt")
    scored = model.score([str(made / "b.png")], ["two large squares"])[0]
    assert found[2]["log_probability"] == pytest.approx(sum(scored.log_probabilities), abs=1e-4)
    words = records(capsys, made / "caption.ckpt", table, "--by", "word", code=3)
    assert [row["word"] for row in words if row["image"] == "a.png"][-1] == "</s>"


def test_a_spreadsheets_captions_with_images_where_training_finds_them(made, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    shutil.copy(made / "a.png", tmp_path / "images" / "a b.png")
    (tmp_path / "captions.csv").write_text("Image Name; Caption\na b.png;a star, red\n")
    (found,) = records(capsys, made / "caption.ckpt", tmp_path / "captions.csv")
    scored = unrolled.load(made / "caption.ckpt").score([made / "a.png"], ["a star, red"])[0]
    assert found["log_probability"] == pytest.approx(sum(scored.log_probabilities), abs=1e-4)


def test_mistakes(made, translator, tmp_path, capsys):
    path = tmp_path / "x.txt"
    path.write_text("ab\n")
    table = tmp_path / "x.tsv"
    table.write_text("id\tother\n1\tab\n")
    lm = made / "lm.ckpt"
    for words, code, message in [
        ([lm, tmp_path / "gone.txt"], 3, "does not exist"),
        ([lm, path, "--by", "subword"], 2, "--by character"),
        ([translator, path, path, "--by", "character"], 2, "--by subword"),
        ([translator, path], 3, "is no table"),
        ([lm, table, "--column", "text"], 3, "no column with the texts: it has id, other"),
        ([lm, path, "--batch_size", "0"], 2, "at least 1"),
        ([made / "video.ckpt", path], 2, "does not score texts"),
        ([lm, path, "--out", path], 2, "would overwrite"),
    ]:
        assert main(["score", *map(str, words)]) == code, words
        assert message in capsys.readouterr().err
    assert main(["score", str(lm), str(path)]) == 0
    head, row = csv.reader(io.StringIO(capsys.readouterr().out), delimiter="\t")
    assert head == [*("id", "text", "log_probability", "symbols", "perplexity"), *head[5:]]
    assert row[:2] == ["1", "ab"]
    assert Path(path).read_text() == "ab\n"


def test_standard_input_pipes_and_packed_files_score_as_the_file_does(
    made, translator, tmp_path, capsys, monkeypatch
):
    lm, path = str(made / "lm.ckpt"), tmp_path / "text.txt"
    for text in (TEXT, TEXT + "\n"):
        path.write_text(text)
        expected = records(capsys, lm, path)
        (tmp_path / "text.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
        (tmp_path / "wide.txt").write_bytes(text.encode("utf-16"))
        assert records(capsys, lm, tmp_path / "text.txt.gz") == expected
        assert records(capsys, lm, tmp_path / "wide.txt") == expected
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(path.read_bytes())))
        assert records(capsys, lm, "-") == expected
        read, write = os.pipe()
        os.write(write, path.read_bytes())
        os.close(write)
        assert records(capsys, lm, f"/dev/fd/{read}") == expected
        os.close(read)
    corpus = tmp_path / "corpus.de"
    corpus.write_text("\n".join(LINES))
    expected = records(capsys, translator, corpus, corpus)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(corpus.read_bytes())))
    assert records(capsys, translator, corpus, "-") == expected
    for words, code, said in [
        ((lm, "-", "-"), 2, "Standard input can be read once"),
        ((lm, str(tmp_path)), 2, "is a folder"),
        ((lm, str(tmp_path / "tex.txt")), 3, "Did you mean 'text.txt'?"),
    ]:
        assert main(["score", *words]) == code
        assert said in capsys.readouterr().err
