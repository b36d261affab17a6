"""Models of bytes, words and subwords wherever a model of characters is taken."""

from __future__ import annotations

import csv
import itertools
import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
import unrolled
from unrolled import plots
from unrolled.cli import main
from unrolled.core import GRU
from unrolled.data import TextData
from unrolled.errors import UsageError
from unrolled.tasks import CharLM
from unrolled.tasks.char_lm import task as module

LINES = ["the cat sat on the mat", "a dog and the cat ran", "the mat, the cat"]
UNITS = ("bytes", "words", "subwords")


@pytest.fixture(scope="module", params=UNITS)
def run(request, tmp_path_factory) -> tuple[Path, str]:
    """A folder with a run `a` of a model of these units, tested."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "text.txt").write_text("\n".join(LINES * 30) + "\n")
    flags = ["--data.units", request.param, "--data.documents", "files", "--name", "a"]
    flags += ["--data.chunk_length", "7", "--data.batch_size", "3", "--trainer.max_steps", "1"]
    flags += ["--model.core.hidden_size", "4", "--trainer.accelerator", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "char_lm/text", "--data.path", "text.txt", *flags]) == 0
        assert main(["test", "--ckpt_path", "runs/char_lm/a"]) == 0
    return folder, request.param


def test_a_test_leaves_documents_that_add_up(run):
    [scores] = run[0].glob("runs/char_lm/a/results/*/scores.json")
    with (scores.parent / "documents.tsv").open(newline="") as file:
        [row] = csv.DictReader(file, delimiter="\t")
    found = json.loads(scores.read_text())["scores"]
    assert float(row["bits_per_character"]) == pytest.approx(
        found["test/bits_per_character"], rel=1e-5
    )
    nats = float(row["nats"]) / int(row["symbols"])
    assert nats == pytest.approx(found["test/loss"], rel=1e-5)
    if run[1] != "bytes":
        assert float(row["perplexity"]) == pytest.approx(found["test/perplexity"], rel=1e-5)


# a model of bytes writes signs that no font of a bare machine has
@pytest.mark.filterwarnings("ignore:no font here has the letters")
def test_commands_take_it(run, monkeypatch, capsys):
    folder, units = run
    monkeypatch.chdir(folder)
    assert main(["report", "runs/char_lm/a", "--example", "the"]) == 0
    page = Path("report.html").read_text()
    assert ("single characters" in page) == (units != "bytes"), "what has no picture is named"
    assert "It writes" in page
    capsys.readouterr()
    generate = ["generate", "runs/char_lm/a", "--prompt", "the", "--length", "5", "--seed", "1"]
    assert main([*generate, "--num_samples", "2", "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["sample"], row["prompt"]) for row in rows] == [(1, "the"), (2, "the")]
    assert main([*generate, "--out", "one.txt", "--echo", "false"]) == 0
    written = Path("one.txt").read_bytes()
    assert main([*generate, "--format", "jsonl"]) == 0
    text = json.loads(capsys.readouterr().out)["text"]
    assert written.decode("utf-8", "replace") == text + ("" if units == "bytes" else "\n")
    assert main(["check", "char_lm/text", "--data.path", "text.txt", "--data.units", units]) == 0
    assert f" {'bytes' if units == 'bytes' else 'characters'}, 1 doc" in capsys.readouterr().out


def test_a_text_is_worth_its_symbols(run, monkeypatch, capsys):
    folder, units = run
    monkeypatch.chdir(folder)
    model = unrolled.load("runs/char_lm/a")
    Path("x.txt").write_text("the cat\nthe zebra sat\n")
    expected = 0.0
    state, before = model.core.initial_state(1), 0
    for line in ("the cat\n", "the zebra sat\n"):
        for number in model.vocabulary.encode(line, unknown="replace").tolist():
            with torch.no_grad():
                logits, state = model.step(torch.tensor([before]), state)
            expected, before = expected + float(logits.log_softmax(-1)[0, number]), number
    unit = {"bytes": "character", "words": "word", "subwords": "subword"}[units]
    wrong = "subword" if units != "subwords" else "character"
    for by in dict.fromkeys(("line", "word", unit)):
        assert main(["score", "runs/char_lm/a", "x.txt", "--by", by, "--format", "jsonl"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert sum(row["log_probability"] for row in rows) == pytest.approx(expected, abs=1e-4)
    assert main(["score", "runs/char_lm/a", "x.txt", "--by", wrong]) == 2
    assert f"predicts {unit}s: --by {unit}" in capsys.readouterr().err
    assert main(["score", "runs/char_lm/a", "x.txt", "--separate", "true"]) == 0


@pytest.mark.parametrize("units", ["words", "subwords"])
def test_pictures_of_characters_refuse_it(units):
    spec = {"vocabulary": {"kind": units, "symbols": "a b" if units == "words" else ""}}
    model = CharLM(spec, partial(GRU, hidden_size=4)).model
    for picture in (plots.surprise, plots.neurons, plots.unrolled):
        with pytest.raises(UsageError, match=f"reads {units}: the picture shows single char"):
            picture(model, "ab")


def test_many_documents_are_kept_without_sorting_each_time(tmp_path, trainer, monkeypatch):
    calls = itertools.count()
    merged = module.merged
    monkeypatch.setattr(module, "_PIECES", 5)
    monkeypatch.setattr(module, "merged", lambda kept: next(calls) * 0 or merged(kept))
    path = tmp_path / "names.txt"
    path.write_text("\n".join(f"n{n}" for n in range(400)))
    data = TextData(
        str(path), documents="lines", val_fraction=0.0, test_fraction=1.0, batch_size=2,
        chunk_length=4,
    )  # fmt: skip
    task = CharLM(data.spec, partial(GRU, hidden_size=4))
    task.kept = []
    trainer().test(task, data, verbose=False)
    rows = task.results(task.kept, data.inputs("test"))["documents.tsv"].records
    assert len(rows) == 400 == data.corpus.survey()["parts"]["test"]
    assert all(row["name"] is None for row in rows)
    assert next(calls) < 2 + math.log2(400)
