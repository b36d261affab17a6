"""What `unrolled test` leaves: every item once, in the data's order, whatever the processes."""

from __future__ import annotations

import csv
import json
import math
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from corpora import learnable_videos, write_ms_tcn, write_pairs
from tiny_tasks import CASES, Case
from unrolled.apps.run.results import KeepResults, results_folder
from unrolled.cli import main
from unrolled.errors import UsageError

FEW = ("--trainer.max_steps", "4", "--trainer.accelerator", "cpu", "--trainer.precision", "64-true")


def write_text(folder: Path) -> None:
    """Several documents, of which the test part has the middle of one and others whole."""
    (folder / "text").mkdir()
    for number in range(12):
        (folder / "text" / f"{number:02}.txt").write_text(f"the cat {number} sat. " * (5 + number))


def write_sentences(folder: Path) -> None:
    CASES[1].write(folder)
    write_pairs(folder, "test", [("ein hund\tläuft", 'a dog "runs"'), ("", ""), ("hund", "dog")])


def write_videos(folder: Path) -> None:
    videos = learnable_videos(9, segments=9, longest=8, features=4, noise=0.5)
    named = {f"rgb-{name}": video for name, video in videos.items()}
    write_ms_tcn(folder, named, test=["rgb-v5", "rgb-v2", "rgb-v8"])


TESTED = (
    replace(
        CASES[0],
        write=write_text,
        flags=(
            *("--data.path", "text", *CASES[0].flags[2:]),
            *("--data.test_fraction", "0.4", "--data.val_fraction", "0.1"),
        ),
    ),
    replace(CASES[1], write=write_sentences),
    replace(CASES[2], flags=(*CASES[2].flags, "--data.test_size", "5")),
    replace(CASES[3], write=write_videos),
)


# The ordinary run has the two tasks that it doesn't train in two processes: test_ddp.py.
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(case, id=case.task, marks=marks)
        for case, marks in zip(TESTED, ([], pytest.mark.slow, [], pytest.mark.slow), strict=True)
    ],
)
def tested(request, forks, tmp_path_factory) -> tuple[Path, Case]:
    """A folder with the results of one process, in its run, and of two, in `two`."""
    folder, case = tmp_path_factory.mktemp("results"), request.param
    case.write(folder)
    data = [word for pair in pairs(case.flags) if pair[0].startswith("--data") for word in pair]
    fit = ["fit", case.variant, "--name", "a", *case.flags, "--data.batch_size", "4", *FEW]
    assert forks.run(folder, fit) == 0
    test = ["test", case.variant, "--ckpt_path", f"runs/{case.task}/a/checkpoints/last.ckpt", *data]
    test += FEW[2:]
    assert forks.run(folder, [*test, "--data.batch_size", "4"]) == 0
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--results", "two"]
    assert forks.run(folder, [*test, "--data.batch_size", "2", *two], 2) == 0
    return folder, case


def pairs(flags: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(zip(flags[::2], flags[1::2], strict=True))


def place(tested: tuple[Path, Case]) -> Path:
    return tested[0] / "runs" / tested[1].task / "a/results/last"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            return list(csv.DictReader(file))
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_two_processes_leave_what_one_leaves(tested):
    folder, two = place(tested), tested[0] / "two"
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    scores = json.loads((folder / "scores.json").read_text())
    assert sorted(scores["files"]) == sorted(set(map(str, files)) - {"scores.json"})
    others = json.loads((two / "scores.json").read_text())
    assert scores["signatures"] == others["signatures"]
    assert others["scores"] == pytest.approx(scores["scores"], rel=1e-5, abs=1e-6, nan_ok=True)
    for file in files:
        if file.suffix == ".json" and file.name != "scores.json":
            assert json.loads((two / file).read_text()) == json.loads((folder / file).read_text())
        elif file.suffix != ".json":
            for one, other in zip(read(folder / file), read(two / file), strict=True):
                assert one.keys() == other.keys()
                for name, value in one.items():
                    assert value == other[name] or float(value) == pytest.approx(
                        float(other[name]), rel=1e-5, abs=2e-6
                    )


def test_the_files_say_what_the_scores_say(tested):
    folder, case = place(tested), tested[1]
    scores = json.loads((folder / "scores.json").read_text())["scores"]
    if case.task == "char_lm":
        rows = read(folder / "documents.tsv")
        assert len(rows) > 3
        assert [row["name"].split("'")[1] for row in rows] == [
            f"{n:02}.txt" for n in range(12 - len(rows), 12)
        ]
        nats = sum(float(row["nats"]) for row in rows) / sum(int(row["symbols"]) for row in rows)
        assert nats == pytest.approx(scores["test/loss"], rel=1e-5)
        assert nats / math.log(2) == pytest.approx(scores["test/bits_per_character"], rel=1e-5)
        # a document that is in it whole, with the symbol that begins it or the one that ends it
        assert int(rows[-2]["symbols"]) == 1 + len("the cat 10 sat. " * 15)
    elif case.task == "translation":
        rows = read(folder / "translations.tsv")
        assert [row["id"] for row in rows] == ["1", "2", "3"]
        assert [row["source"] for row in rows] == [r"ein hund\tläuft", "", "hund"]
        assert [row["reference"] for row in rows] == ['a dog "runs"', "", "dog"]
        exact = sum(row["reference"] == row["hypothesis"] for row in rows)
        assert scores["test/exact"] == pytest.approx(100 * exact / 3)
    elif case.task == "captioning":
        rows = read(folder / "captions.tsv")
        assert [row["image_id"] for row in rows] == [*"01234"]
        results = json.loads((folder / "coco_results.json").read_text())
        assert [one["caption"] for one in results] == [row["caption"] for row in rows]
        truth = json.loads((folder / "coco_references.json").read_text())
        assert [image["id"] for image in truth["images"]] == [one["image_id"] for one in results]
        counts = Counter(one["image_id"] for one in truth["annotations"])
        assert [counts[n] for n in range(5)] == [len(json.loads(row["references"])) for row in rows]
    else:
        rows = read(folder / "videos.tsv")
        order = (tested[0] / "splits/test.split1.bundle").read_text().split()
        assert [f"{row['video']}.txt" for row in rows] == order
        frames = [frame for row in rows for frame in read(folder / row["file"])]
        right = [frame["label"] == frame["truth"] for frame in frames]
        assert 100 * sum(right) / len(right) == pytest.approx(scores["test/accuracy"], rel=1e-5)
        classes, confusion = read(folder / "classes.tsv"), read(folder / "confusion.tsv")
        counts = Counter((frame["truth"], frame["label"]) for frame in frames)
        for row in confusion:
            for other in classes:
                key = row["truth"], other["class"]
                assert int(row[f"predicted {other['class']}"]) == counts[key]
        recalls = [float(row["recall"]) for row in classes if row["recall"]]
        assert sum(recalls) / len(recalls) == pytest.approx(scores["test/mean_accuracy"], rel=1e-5)
        ranked = [
            float(row["average_precision"])
            for row in classes
            if row["average_precision"] and row["background"] == "false"
        ]
        assert sum(ranked) / len(ranked) == pytest.approx(scores["test/map"], rel=1e-5)


def test_evaluate_finds_the_scores_again(tested, capsys):
    folder, case = place(tested), tested[1]
    names = {
        "translation": ("translations.tsv", folder / "translations.tsv"),
        "captioning": ("coco_results.json", folder / "coco_references.json"),
        "video": ("frames", tested[0] / "groundTruth"),
    }
    if case.task not in names:
        return
    given, truth = folder / names[case.task][0], names[case.task][1]
    more = ["--background", "rest"] if case.task == "video" else []
    # of nine videos three were labelled
    expected = 3 if case.task == "video" else 0
    assert main(["evaluate", str(given), str(truth), *more, "--format", "jsonl"]) == expected
    found = capsys.readouterr()
    rows = [json.loads(line) for line in found.out.splitlines()]
    values = {row["name"]: row["value"] for row in rows}
    scores = json.loads((folder / "scores.json").read_text())["scores"]
    shared = {name for name in values if f"test/{name}" in scores}
    assert len(shared) >= 3
    for name in shared:
        assert values[name] == pytest.approx(scores[f"test/{name}"], rel=1e-6), name
    assert values["missing"] == (6 if case.task == "video" else 0)
    assert ("rgb-v0" in found.err) == (case.task == "video")


def test_another_test_replaces_its_own_files_only(here, capsys):
    (here / "two/frames").mkdir(parents=True)
    kept = ["two/mine.txt", "outside.txt", "two/frames/mine.csv"]
    for name in (*kept, "two/frames/old.csv", "two/documents.tsv"):
        (here / name).write_text("of a test before")
    listed = ["frames/old.csv", "documents.tsv", "../outside.txt", str(here / "outside.txt")]
    (here / "two/scores.json").write_text(json.dumps({"files": listed}))
    words = ["test", "char_lm", "--ckpt_path", "runs/char_lm/a", "--data.path", "text.txt"]
    assert main([*words, *FEW[2:4], "--results", "two"]) == 0
    assert "results: two" in capsys.readouterr().err
    assert not (here / "two/frames/old.csv").exists()
    assert read(here / "two/documents.tsv")[0]["document"] == "1"
    assert all((here / name).read_text() == "of a test before" for name in kept)
    assert main([*words, *FEW[2:4], "--results", "false"]) == 0
    assert not (here / "runs/char_lm/a/results").exists()


def test_where_results_go(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs/char_lm/a"
    (run / "checkpoints").mkdir(parents=True)
    checkpoint = run / "checkpoints/best.ckpt"
    assert results_folder(None, checkpoint) is None  # no configuration: it is no run
    assert "--results PATH" in capsys.readouterr().err
    (run / "config.yaml").touch()
    assert results_folder(None, checkpoint) == Path("runs/char_lm/a/results/best")
    assert results_folder("", checkpoint) is None
    assert results_folder("new", checkpoint) == Path("new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").touch()
    for taken in ("full", "full/thesis.tex"):
        with pytest.raises(UsageError, match="something else"):
            results_folder(taken, checkpoint)
    os.symlink(tmp_path / "full", run / "results")
    with pytest.raises(ValueError, match="leads out"):
        results_folder(None, checkpoint)
    # nor may a folder among the results lead elsewhere
    (tmp_path / "kept").mkdir()
    os.symlink(tmp_path / "full", tmp_path / "kept/frames")
    tested = SimpleNamespace(path=checkpoint, content={})
    keeper = KeepResults(tmp_path / "kept", tested, asked=None)
    with pytest.raises(ValueError, match="leads out"):
        keeper._write(None, None, {"frames/a.json": {}})
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    for command in ("fit", "validate"):
        assert main([command, "char_lm", "--results", "x"]) == 2
        assert "belongs to `unrolled test`" in capsys.readouterr().err
