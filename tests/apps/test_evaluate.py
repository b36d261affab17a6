"""`unrolled evaluate`: files of every kind against the truth, matched by their ids."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from unrolled.cli import main
from unrolled.tasks.metrics import SacreBLEU
from unrolled.tasks.metrics.caption import caption_scores

HYPOTHESES = ["the cat sat", "a dog runs far away", "nothing of that kind"]
REFERENCES = ["the cat sat down", "a dog runs away", "something else entirely"]
IMAGES = [391895, 522418, 7]
TEXTS = {391895: ["a man rides", "a man on a bike"], 522418: ["a woman cuts cake"], 7: ["a dog"]}
SAID = {391895: "a man rides a bike", 522418: "a cake", 7: "two dogs"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scores(capsys, *words: str, code: int = 0) -> dict[str, float]:
    assert main(["evaluate", *words]) == code
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    return {name: float(value) for name, value in lines}


def bleu(hypotheses: list[str], references: list[str]) -> float:
    metric = SacreBLEU()
    metric.update(hypotheses, references)
    return float(metric.compute()["bleu"])


def write(name: str, records: list[dict]) -> str:
    columns = list(records[0])
    if name.endswith("jsonl"):
        text = "".join(json.dumps(record) + "\n" for record in records)
    elif name.endswith("json"):
        text = json.dumps(records)
    else:
        sign = "\t" if name.endswith("tsv") else ","
        rows = [columns, *([str(v) for v in record.values()] for record in records)]
        text = "".join(sign.join(row) + "\n" for row in rows)
    Path(name).write_text(text)
    return name


@pytest.mark.parametrize("form", ["txt", "tsv", "csv", "json", "jsonl"])
def test_translations_of_any_form(form, capsys):
    Path("truth.txt").write_text("\n".join(REFERENCES) + "\n")
    name = f"given.{form}"
    if form == "txt":
        Path(name).write_text("\n".join(HYPOTHESES) + "\n")
    else:
        records = [{"id": n, "translation": t} for n, t in enumerate(HYPOTHESES, 1)]
        write(name, records[::-1])  # matched by id, not by place
    found = scores(capsys, name, "truth.txt")
    assert found["bleu"] == pytest.approx(bleu(HYPOTHESES, REFERENCES), abs=1e-4)
    assert (found["matched"], found["missing"], found["extra"]) == (3, 0, 0)


def test_the_best_of_the_n_best_is_scored_and_failures_are_missing(capsys):
    write("truth.tsv", [{"id": n, "reference": r} for n, r in enumerate(REFERENCES)])
    given = [{"id": n, "rank": 1, "translation": t, "error": ""} for n, t in enumerate(HYPOTHESES)]
    given.insert(1, {"id": 0, "rank": 2, "translation": "x", "error": ""})
    given[-1] |= {"translation": "", "error": "has 2,001 subwords"}
    given.append({"id": "new", "rank": 1, "translation": "y", "error": ""})
    found = scores(capsys, write("given.tsv", given), "truth.tsv", code=3)
    assert found["bleu"] == pytest.approx(bleu(HYPOTHESES[:2], REFERENCES[:2]), abs=1e-4)
    assert (found["matched"], found["missing"], found["extra"]) == (2, 1, 1)
    main(["evaluate", "given.tsv", "truth.tsv"])
    told = capsys.readouterr().err
    assert "1 item(s) of the truth have no prediction and are not scored: 2." in told
    assert "not scored: new" in told


def coco(path: str) -> str:
    content = {
        "images": [{"id": n, "file_name": f"COCO_val2014_{n:012}.jpg"} for n in IMAGES],
        "annotations": [{"image_id": n, "caption": t} for n in IMAGES for t in TEXTS[n]],
    }
    Path(path).write_text(json.dumps(content))
    return path


def karpathy(path: str) -> str:
    images = [
        {
            **{"cocoid": n, "filename": f"COCO_val2014_{n:012}.jpg", "split": "test"},
            **{"filepath": "val2014", "sentences": [{"raw": text} for text in TEXTS[n]]},
        }
        for n in IMAGES
    ]
    Path(path).write_text(json.dumps({"images": images}))
    return path


def table(path: str) -> str:
    rows = [f"COCO_val2014_{n:012}.jpg,{text}\n" for n in IMAGES for text in TEXTS[n]]
    Path(path).write_text("".join(["image,caption\n", *rows]))
    return path


@pytest.mark.parametrize("truth", [(coco, "a.json"), (karpathy, "b.json"), (table, "captions.csv")])
def test_captions_against_the_references_of_the_field(truth, capsys):
    make, name = truth
    make(name)
    expected = caption_scores([SAID[n] for n in IMAGES], [TEXTS[n] for n in IMAGES])
    by_number = [{"image_id": n, "caption": SAID[n]} for n in IMAGES[::-1]]
    by_path = [
        {"image": f"folder/COCO_val2014_{n:012}.jpg", "caption": SAID[n], "error": ""}
        for n in IMAGES
    ]
    for records in ([] if make is table else [by_number]) + [by_path]:
        found = scores(capsys, write("given.json", records), name)
        assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-4)
    rows = [f"{one['image']};{one['caption']}\n" for one in by_path]  # as spreadsheets write
    Path("semicolons.csv").write_text("".join(["Image Name;Caption\n", *rows]))
    assert scores(capsys, "semicolons.csv", name)["matched"] == len(IMAGES)
    found = scores(capsys, write("given.tsv", by_path[:2]), name, code=3)
    assert (found["matched"], found["missing"]) == (2, 1)


def test_labels_in_folders_of_three_forms(capsys):
    truth, given = ["a", "a", "b", "b", "b", "c"], ["a", "a", "a", "b", "b", "b"]
    for folder in ("truth", "csv", "recognition", "segments"):
        Path(folder).mkdir()
    Path("truth/v.txt").write_text("\n".join(truth) + "\n")
    rows = [f"{n},{label},0.5\n" for n, label in enumerate(given)]
    Path("csv/v.csv").write_text("".join(["frame,label,probability\n", *rows]))
    Path("recognition/v").write_text("### Frame level recognition: ###\n" + " ".join(given) + "\n")
    Path("segments/v.csv").write_text("start,end,label\n0,3,a\n3,6,b\n")
    for folder in ("csv", "recognition", "segments"):
        found = scores(capsys, folder, "truth")
        assert found["accuracy"] == pytest.approx(100 * 4 / 6, abs=1e-4)
        assert found["edit"] == pytest.approx(100 * 2 / 3, abs=1e-4)
        found = scores(capsys, folder, "truth", "--background", "c")
        assert found["edit"] == 100
    # what has no label is wrong, and no segment
    Path("segments/v.csv").write_text("start,end,label\n0,3,a\n3,5,b\n")
    found = scores(capsys, "segments", "truth")
    assert found["edit"] == pytest.approx(100 * 2 / 3, abs=1e-4)
    assert found["accuracy"] == pytest.approx(100 * 4 / 6, abs=1e-4)


def test_labels_of_several_videos_in_a_table_as_for_training(capsys):
    Path("given").mkdir()
    for name, labels in (("v 1", "aaab"), ("w", "bbbb")):
        rows = [f"{n},{label}\n" for n, label in enumerate(labels)]
        Path(f"given/{name}.csv").write_text("".join(["frame,label\n", *rows]))
    Path("truth").mkdir()
    for table in ("all.csv", "truth/all.csv"):
        # the last frames belong to their segments
        Path(table).write_text(
            "Video;Start;End;Action\nv 1.mp4;0;1;a\nv 1.mp4;2;3;b\nw.mp4;0;3;b\n"
        )
    for truth in ("all.csv", "truth"):
        found = scores(capsys, "given", truth)
        assert (found["matched"], found["missing"]) == (2, 0)
        assert found["accuracy"] == pytest.approx(100 * 7 / 8, abs=1e-4)
    # two segments share a frame's number, so ends are none of theirs, and frame 2 has no label
    Path("one.csv").write_text("start,end,label\n0,1,a\n1,2,a\n3,4,b\n")
    assert scores(capsys, "given/v 1.csv", "one.csv")["accuracy"] == 100
    Path("all.csv").write_text("video,label\nv 1.mp4,a\nw.mp4,b\nx.mp4,b\n")  # of whole videos
    found = scores(capsys, "given", "all.csv", code=3)
    assert (found["matched"], found["missing"]) == (2, 1)
    assert found["accuracy"] == pytest.approx(100 * 7 / 8, abs=1e-4)


def test_what_does_not_fit_is_named(capsys):
    Path("two.txt").write_text("a\nb\n")
    Path("three.txt").write_text("a\nb\nc\n")
    Path("other.tsv").write_text("id\twords\n1\ta\n")
    Path("odd.tsv").write_text("id\ttranslation\n1\n")
    Path("ids.tsv").write_text("id\ttranslation\nx\ta\n")
    Path("twice.tsv").write_text("id\ttranslation\n1\ta\n1\tb\n")
    for folder in ("long", "short", "empty"):
        Path(folder).mkdir()
    Path("long/v.txt").write_text("a\na\n")
    Path("short/v.txt").write_text("a\n")
    for words, code, message in [
        (["tow.txt", "two.txt"], 3, "'tow.txt' does not exist. Did you mean 'two.txt'?"),
        (["-", "-"], 2, "Standard input can be read once"),
        (["two.txt", "three.txt"], 3, "has 2 sentences and 'three.txt' 3"),
        (["other.tsv", "two.txt"], 3, "no column with sentences: it has id, words"),
        (["odd.tsv", "two.txt"], 3, "line 2: 1 fields"),
        (["ids.tsv", "twice.tsv"], 3, "the id '1' twice"),
        (["ids.tsv", "other.tsv"], 3, "no column with sentences"),
        (["long", "short"], 3, "labels 2 frames and"),
        (["empty", "short"], 3, "holds no labels"),
        (["long", "long", "--background", "z"], 2, "there are the classes a"),
        (["two.txt", "two.txt", "--tokenize", "x"], 2, "sacreBLEU has"),
        (["long", "two.txt"], 2, "is a folder"),
    ]:
        assert main(["evaluate", *words]) == code, words
        assert message in capsys.readouterr().err


def test_translations_come_from_standard_input_and_pipes(capsys, monkeypatch):
    Path("hypotheses.txt").write_text("\n".join(HYPOTHESES))
    Path("references.txt").write_text("\n".join(REFERENCES))
    expected = scores(capsys, "hypotheses.txt", "references.txt")
    given = SimpleNamespace(buffer=io.BytesIO(Path("hypotheses.txt").read_bytes()))
    monkeypatch.setattr(sys, "stdin", given)
    assert scores(capsys, "-", "references.txt") == expected
    read, write = os.pipe()
    os.write(write, Path("references.txt").read_bytes())
    os.close(write)
    assert scores(capsys, "hypotheses.txt", f"/dev/fd/{read}") == expected
    os.close(read)
    for kind in ("video", "captioning"):
        assert main(["evaluate", "-", "references.txt", "--kind", kind]) == 2
        assert "standard input holds translations only" in capsys.readouterr().err
