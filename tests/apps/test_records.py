"""`--format` and `--out` of `generate`, `caption` and `label`: a record an input, bad ones too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import unrolled
from app_models import PICTURES, write_models
from unrolled.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write_models(folder)
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def test_captions_keep_the_paths_of_their_images(here, tmp_path, capsys):
    given = ["a.png", "bad.png", "nothing", "b.png", "gone.png", "c.png"]
    out = tmp_path / "captions.json"
    words = ["caption", "caption.ckpt", *given, "--batch_size", "4", "--out", str(out)]
    assert main(words) == 3
    records = json.loads(out.read_text())
    assert [record["image"] for record in records] == given
    assert [name for name, r in zip(given, records, strict=True) if not r["error"]] == PICTURES
    expected = unrolled.load("caption.ckpt").caption(PICTURES)
    assert [record["caption"] for record in records if not record["error"]] == expected
    told = capsys.readouterr()
    assert told.out == ""
    assert "3 of 6 image(s) could not be captioned" in told.err
    assert main(["caption", "caption.ckpt", "a.png", "--out", "a.png"]) == 2
    assert "would overwrite" in capsys.readouterr().err


def test_labels_become_segments_of_each_video(here, capsys):
    given = ["a.npy", "nothing", "bad.npy", "b.npy", "gone.npy", "c.npy"]
    assert main(["label", "video.ckpt", *given, "--format", "jsonl"]) == 3
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["video"] for record in records] == given
    whole = [record for record in records if not record["error"]]
    assert [Path(record["video"]).stem for record in whole] == ["a", "b", "c"]
    model = unrolled.load("video.ckpt")
    for record in whole:
        labels = model.label(np.load(record["video"]).T.astype(np.float32))
        told = [s for s in record["segments"] for _ in range(s["start"], s["end"])]
        assert [segment["label"] for segment in told] == [label.name for label in labels]
        assert record["frames"] == 20
        for segment in record["segments"]:
            inside = labels[segment["start"] : segment["end"]]
            mean = sum(label.probability for label in inside) / len(inside)
            assert segment["probability"] == pytest.approx(mean)
    assert not (here / "labels").exists()
    assert main(["label", "video.ckpt", "a.npy", "--stream", "--format", "tsv"]) == 2


def test_texts_are_records_when_they_are_whole(here, tmp_path, capsys):
    words = ["generate", "lm.ckpt", "--prompt", "ab", "--length", "30", "--seed", "1"]
    assert main(words) == 0
    text = capsys.readouterr().out.removesuffix("\n")
    assert main([*words, "--format", "jsonl"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == {"sample": 1, "prompt": "ab", "text": text[2:], "error": None}
    out = tmp_path / "text.txt"
    assert main([*words, "--out", str(out)]) == 0
    assert out.read_text() == f"{text}\n"
    words[3] = "Z"
    assert main([*words, "--format", "tsv"]) == 3
    found = capsys.readouterr()
    assert found.out.splitlines()[1].startswith("1\tZ\t\tThe prompt has 1 character that")
    assert "1 of 1 text(s) could not be written" in found.err
