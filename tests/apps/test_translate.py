"""`unrolled translate`: a line in, a line out, from files or standard input; `unrolled average`."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import unrolled
from lightning.pytorch import Trainer
from unrolled.cli import main
from unrolled.core import GRU
from unrolled.data.tokenizer import Subwords
from unrolled.tasks import CharLM, Translation

LINES = ["ein hund", "", "zwei hunde laufen", "ein mann sieht einen hund"]


def save(model, path: Path) -> Path:
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=path.parent
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save(model(0), tmp_path_factory.mktemp("translate") / "model.ckpt")


def model(seed: int) -> Translation:
    torch.manual_seed(seed)
    words = Subwords.train([*LINES, "a dog", "two dogs run", "a man sees a dog"], size=60).to_spec()
    spec = {"source": words, "target": words, "joint": True}
    encoder, decoder = partial(GRU, hidden_size=6), partial(GRU, hidden_size=8)
    made = Translation(spec, encoder, decoder, embedding_size=5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter *= 3
    return made


@pytest.fixture
def corpus(tmp_path) -> Path:
    path = tmp_path / "corpus.de"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def test_a_line_in_a_line_out(checkpoint, corpus, capsys, monkeypatch):
    expected = unrolled.load(checkpoint).translate(LINES)
    assert main(["translate", str(checkpoint), str(corpus)]) == 0
    assert capsys.readouterr().out.split("\n") == [*expected, ""]
    compressed = corpus.with_name("corpus.de.gz")
    compressed.write_bytes(gzip.compress(corpus.read_bytes()))
    assert main(["translate", str(checkpoint), str(compressed)]) == 0
    assert capsys.readouterr().out.split("\n") == [*expected, ""]
    for words in ([], ["-"]):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(corpus.read_bytes())))
        assert main(["translate", str(checkpoint), *words]) == 0
        assert capsys.readouterr().out.split("\n") == [*expected, ""]


def test_n_best_with_scores_stays_aligned(checkpoint, corpus, capsys):
    flags = ["--beam_size", "4", "--nbest", "3", "--scores", "true"]
    assert main(["translate", str(checkpoint), str(corpus), *flags]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 3 * len(LINES)
    found = unrolled.load(checkpoint).translations(LINES, beam_size=4, num_hypotheses=3)
    for number, row in enumerate(found):
        mine = rows[3 * number : 3 * number + 3]
        assert [text for _, text in mine[: len(row)]] == [one.text for one in row]
        assert [float(score) for score, _ in mine[: len(row)]] == pytest.approx(
            [one.score for one in row],
            abs=1e-4,
            nan_ok=True,  # that of nothing is no number
        )
    assert [row[1] for row in rows[3:6]] == ["", "", ""]  # nothing of nothing


def test_drawing_repeats_however_the_lines_arrive(checkpoint, capsys, monkeypatch):
    def slowly(source: str) -> Iterator[str]:
        for line in LINES * 2:
            time.sleep(0.03)
            yield line

    printed = []
    for read in (lambda source: iter(LINES * 2), slowly):
        monkeypatch.setattr("unrolled.apps.translate._lines", read)
        monkeypatch.setattr("unrolled.apps.translate._TOGETHER", 4)
        assert main(["translate", str(checkpoint), "--temperature", "2", "--seed", "3"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    first, second = printed[0].split("\n")[:4], printed[0].split("\n")[4:8]
    assert first != second  # the same sentences again are drawn anew


def test_it_may_end_before_its_input(checkpoint):
    words = [sys.executable, "-m", "unrolled", "translate", str(checkpoint), "--beam_size", "0"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        run.stdin.write("ein hund\n")
        run.stdin.flush()  # and it stays open, as a terminal does
        assert run.wait(120) == 2
        assert "beam_size=0" in run.stderr.read()


BAD = [b"ein hund", b"hund " * 2001, b"zwei hunde", b"M\xe4dchen", b"", b"ein mann"]
GOOD = ["ein hund", "zwei hunde", "", "ein mann"]


@pytest.mark.parametrize("flags", [[], ["--seed", "1"], ["--nbest", "2", "--beam_size", "2"]])
def test_a_line_that_fails_costs_its_neighbours_nothing(flags, checkpoint, tmp_path, capsys):
    path = tmp_path / "text.de"
    path.write_bytes(b"\n".join(BAD))
    assert main(["translate", str(checkpoint), str(path), *flags]) == 3
    out, err = capsys.readouterr()
    beam = {"beam_size": 2, "num_hypotheses": 2} if "--nbest" in flags else {}
    model = unrolled.load(checkpoint)
    each = 2 if beam else 1
    expected = [[one.text for one in row] for row in model.translations(GOOD, **beam)]
    expected = [row + [""] * (each - len(row)) for row in expected]
    lines = [out.split("\n")[each * n : each * n + each] for n in range(len(BAD))]
    assert lines == [expected[0], [""] * each, expected[1], [""] * each, *expected[2:]]
    assert "2,001 subwords" in err
    assert "line 4 is not UTF-8" in err
    assert "2 of 6 line(s) could not be translated; the others are translated." in err


def test_records_keep_the_numbers_of_the_lines(checkpoint, tmp_path, capsys):
    path, out = tmp_path / "text.de", tmp_path / "out.jsonl"
    path.write_bytes(b"\n".join(BAD))
    assert main(["translate", str(checkpoint), str(path), "--out", str(out)]) == 3
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["id"] for record in records] == [*range(1, 7)]
    assert [bool(record["error"]) for record in records] == [*map(bool, (0, 1, 0, 1, 0, 0))]
    assert records[1]["translation"] is None
    one = unrolled.load(checkpoint).translations(["ein hund"])[0][0]
    assert records[0]["translation"] == one.text
    assert records[0]["log_probability"] == pytest.approx(one.log_probability)
    assert main(["translate", str(checkpoint), str(path), "--format", "xml"]) == 2
    assert "--format: expected one of 'tsv'" in capsys.readouterr().err


def test_the_n_best_have_ranks(checkpoint, corpus, capsys):
    flags = ["--beam_size", "3", "--nbest", "3", "--format", "tsv"]
    assert main(["translate", str(checkpoint), str(corpus), *flags]) == 0
    head, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert head == [
        "id",
        "rank",
        "source",
        "translation",
        "score",
        "log_probability",
        "unknown",
        "error",
    ]
    found = unrolled.load(checkpoint).translations(LINES, beam_size=3, num_hypotheses=3)
    expected = [
        [str(number), str(rank), LINES[number - 1], one.text]
        for number, best in enumerate(found, 1)
        for rank, one in enumerate(best, 1)
    ]
    assert [row[:4] for row in rows] == expected


@pytest.mark.parametrize(
    ("content", "flags", "code", "words"),
    [
        (b"ein hund\nM\xe4dchen\n", [], 3, ["line 2", "0xe4", "UTF-8"]),
        (
            b"ein hund\n" + b"hund " * 100_000 + b"\n",
            [],
            3,
            ["'hund hund", "100,000 subwords", "2,000", "split"],
        ),
        (b"ein hund\n", ["--beam_size", "0"], 2, ["beam_size"]),
        (b"ein hund\n", ["--nbest", "3", "--beam_size", "2"], 2, ["beam_size=2"]),
        (b"ein hund\n", ["--temperature", "-1"], 2, ["temperature"]),
        (b"ein hund\n", ["--length_penalty", "2000"], 2, ["length_penalty=2000"]),
        (b"ein hund\n", ["--beam", "3"], 2, ["--beam'", "--beam_size"]),
    ],
)
def test_mistakes_are_named(content, flags, code, words, checkpoint, tmp_path, capsys):
    path = tmp_path / "text.de"
    path.write_bytes(content)
    assert main(["translate", str(checkpoint), str(path), *flags]) == code
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert len(message.splitlines()) <= 3


def test_a_missing_file_and_a_checkpoint_of_another_task(checkpoint, corpus, tmp_path, capsys):
    assert main(["translate", str(checkpoint), str(corpus.with_name("corpus.dee"))]) == 3
    assert "Did you mean 'corpus.de'?" in capsys.readouterr().err
    assert main(["translate", str(checkpoint), str(tmp_path)]) == 2
    assert "is a folder: name a file of it" in capsys.readouterr().err
    other = save(
        CharLM({"vocabulary": {"kind": "bytes", "symbols": ""}}), tmp_path / "char_lm.ckpt"
    )
    assert main(["translate", str(other), str(corpus)]) == 2
    assert "CharModel, which does not translate" in capsys.readouterr().err
    assert main(["generate", str(checkpoint)]) == 2
    assert "TranslationModel, which does not write text" in capsys.readouterr().err
    assert (
        main(
            [
                "predict",
                "translation",
                "--ckpt_path",
                str(checkpoint),
                "--trainer.accelerator",
                "cpu",
            ]
        )
        == 2
    )
    assert "`translate`, `caption` and `label` take what you give" in capsys.readouterr().err


def test_an_average_has_the_mean_of_the_weights(checkpoint, corpus, tmp_path, capsys):
    second, mean = save(model(1), tmp_path / "second.ckpt"), tmp_path / "mean.ckpt"
    assert main(["average", str(mean), str(checkpoint), str(second)]) == 0
    parts = [unrolled.load(path).state_dict() for path in (checkpoint, second, mean)]
    for name, value in parts[2].items():
        torch.testing.assert_close(value, (parts[0][name] + parts[1][name]) / 2)
    assert main(["translate", str(mean), str(corpus)]) == 0
    capsys.readouterr()
    assert main(["average", str(mean), str(checkpoint), str(second)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["average", str(tmp_path / "new.ckpt"), str(checkpoint)]) == 2
    other = save(
        Translation(model(0).hparams["spec"], partial(GRU, hidden_size=5), embedding_size=5),
        tmp_path / "other.ckpt",
    )
    assert main(["average", str(tmp_path / "new.ckpt"), str(checkpoint), str(other)]) == 2
    assert "different models" in capsys.readouterr().err
