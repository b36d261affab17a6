"""`unrolled check` counts what is there, names what is doubtful, and trains nothing."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from unrolled.cli import main

from tests.helpers.corpora import (
    CLASSES,
    IMAGES,
    add_video,
    damage_image,
    draw_images,
    learnable_videos,
    pairs_of,
    write_ms_tcn,
    write_pairs,
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def check(capsys):
    """Run a check; return its lines, and those about doubts."""

    def carry_out(*words: str, code: int = 0) -> tuple[str, list[str]]:
        assert main(["check", *words]) == code
        told = capsys.readouterr().out
        return told, re.findall(r"^doubtful +(.*)$", told, re.MULTILINE)

    return carry_out


def test_sources_that_leak_are_counted_even_with_another_translation(tmp_path, check):
    train, test = pairs_of(200), pairs_of(30, 2)
    write_pairs(tmp_path, "train", train)
    write_pairs(tmp_path, "val", pairs_of(20, 1))
    # other capitals, another translation
    leaked = [(source.upper(), "something else.") for source, _ in train[:6]]
    write_pairs(tmp_path, "test", [*leaked, *train[6:10], *test])
    told, doubts = check("translation/parallel", ".", "--data.source", "de", "--data.target", "en")
    assert "pairs         train 200, val 20, test 40" in told
    assert "test with train, but for capitals and blanks: pairs 4 of 40" in told
    assert any("10 of 40 (25.0 %) sources" in one and "4 with the same" in one for one in doubts)
    assert not any(one.startswith("val") for one in doubts)
    assert not (tmp_path / "runs").exists()


def test_pairs_that_are_odd_are_named_by_their_lines(tmp_path, check):
    pairs = pairs_of(200)
    pairs[4] = ("", "nothing.")
    pairs[9] = ("the same.", "The same.")
    pairs[19] = (pairs[19][0], pairs[19][1] * 9)
    write_pairs(tmp_path, "train", [*pairs, *pairs[20:60]])
    write_pairs(tmp_path, "val", [("日本語 の 文", "unknown letters Ж Ж Ж")])
    told, doubts = check("translation/parallel", ".", "--data.source", "de", "--data.target", "en")
    said = " ".join(doubts)
    assert "pairs have an empty side: line 5" in said
    assert "the same text on both sides: line 10" in said
    assert "sides of very different lengths: line 20" in said
    assert "train: 40 of 240 (16.7 %) pairs have occurred before" in said
    assert re.search(r"of the subwords of the val sources are unknown symbols", said)
    assert "40 of 240 (16.7 %) training pairs have occurred before" in told


def test_exchanged_sides_of_the_training_part_are_told(tmp_path, check):
    english = [f"On Monday, January {n}, the German week of the year {n}." for n in range(1, 99)]
    german = [f"Am Montag, {n}. Januar, die deutsche Woche des Jahres {n}." for n in range(1, 99)]
    write_pairs(tmp_path, "train", list(zip(english, german, strict=True)))  # .de holds English
    write_pairs(tmp_path, "val", [("Zwei Tage im Februar.", "Two days in February.")])
    doubts = check("translation/parallel", ".", "--data.source", "de", "--data.target", "en")[1]
    assert any("are the two sides exchanged" in one for one in doubts)


def test_a_text_that_repeats_itself_and_was_damaged(tmp_path, check):
    lines = [f"this is line number {n} of a text\r\n" for n in range(300)]
    text = "".join(lines) + "caf\ufffd \x07" + "".join(lines[:40])
    (tmp_path / "a.txt").write_text(text, encoding="utf-8", newline="")
    told, doubts = check("char_lm/text", "a.txt", "--data.batch_size", "2")
    assert "scripts       Latin 100.0 %" in told
    said = " ".join(doubts)
    assert "carriage returns" in said
    assert "could not be read" in said
    assert "control characters" in said
    assert "lines of 20 symbols and more are in the training part" in said


def test_documents_that_come_twice_are_named(tmp_path, check):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(f"text {'a' if name == 'b' else name} " * 400)
    (tmp_path / "d.txt").write_text("")
    (tmp_path / "e.md").write_text("left out")
    flags = ("--data.batch_size", "2", "--data.chunk_length", "8")
    told, doubts = check("char_lm/text", ".", *flags)
    assert "left out      1 of 5 files don't match '*.txt'" in told
    assert any("1 document(s) are the same as one before: 'b.txt'" in one for one in doubts), doubts
    assert any("1 empty document(s): 'd.txt'" in one for one in doubts)


@pytest.fixture
def captions(tmp_path):
    """A folder of images and captions with one damaged, one missing, one twice."""
    root = draw_images(tmp_path / "photos", IMAGES)
    damage_image(root / "3.jpg")
    shutil.copy(root / "0.jpg", root / "9.jpg")
    lines = [
        {"image": name, "caption": [f"a dog {n}", "a dog"], "split": part}
        for n, (name, part) in enumerate(
            zip([*IMAGES, "gone.jpg"], ["train"] * 8 + ["val", "test", "train"], strict=True)
        )
    ]
    (root / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def test_images_are_read_whole_and_compared(captions, check):
    words = ["captioning/jsonl", str(captions), "--data.min_count", "1", "--data.image_size", "16"]
    told, doubts = check(*words, code=3)  # as `fit`
    assert not any("--data.missing" in one for one in check(*words, "--data.missing", "skip")[1])
    said = " ".join(doubts)
    assert "images        train 8, val 1, test 1" in told
    assert "decoded       10 of 10 images, 1 are damaged" in told
    assert "gone.jpg" in said
    assert "--data.missing skip" in said
    assert "3.jpg' is damaged" in said
    assert "test: 1 image(s) are in the training part too (9.jpg)" in said
    assert "captions are the same" in told
    assert re.search(r"30 epochs are [\d,]+ batches or 30,000 steps, whichever is first", told)


def test_images_without_captions_stop_nothing(tmp_path, check):
    root = draw_images(tmp_path / "photos", IMAGES)
    images = [{"id": n, "file_name": name} for n, name in enumerate(IMAGES)]
    notes = [{"image_id": n, "caption": f"a dog {n}"} for n in range(1, len(IMAGES))]
    (root / "captions.json").write_text(json.dumps({"images": images, "annotations": notes}))
    doubts = check("captioning/coco", str(root), "--data.image_size", "16")[1]
    assert any("1 image(s)" in one and "have no caption" in one for one in doubts)
    assert not any("`fit` stops" in one for one in doubts)


def test_classes_that_are_rare_or_never_occur(tmp_path, check):
    videos = learnable_videos(9, segments=9, longest=8, features=4, noise=0.5)
    write_ms_tcn(tmp_path, videos, test=["v8"], classes=[*CLASSES, "never_seen"])
    told, doubts = check("video/segmentation", str(tmp_path))
    assert re.search(r"^videos +train \d+ \(\d+ frames\)", told, re.MULTILINE)
    assert any("never occur: never_seen" in one for one in doubts)


def test_broken_videos_are_all_named(tmp_path, check):
    for n in range(6):
        add_video(tmp_path / f"v{n}.mp4", seed=n)
    for n in (1, 4):
        (tmp_path / f"v{n}.mp4").write_bytes(b"no video at all" * 20)
    words = ["video/files", str(tmp_path), "--data.val_fraction", "0.5"]
    doubts = check(*words, code=3)[1]  # as `fit`
    assert not any("--data.broken" in one for one in check(*words, "--data.broken", "skip")[1])
    said = " ".join(doubts)
    assert all(named in said for named in ("v1.mp4", "v4.mp4", "--data.broken skip"))


def test_numbers_of_lengths_and_scripts_are_right():
    from collections import Counter

    from unrolled.apps.checks.report import alike, doubles, scripts, scripts_of, shared, spread

    assert spread([1] * 98 + [7, 9]) == "1 to 9, half of them up to 1, 99 % up to 7"
    assert scripts(["Ж" * 1 + "abc", "123 !"]) == "Latin 75.0 %, Cyrillic 25.0 %"
    assert scripts_of(Counter({"漢": 2, "あ": 2})) == "Chinese 50.0 %, Hiragana 50.0 %"
    assert scripts(["12"]) == "no letters"
    assert alike("A  dog ") == alike("a dog") != alike("a god")
    assert doubles(np.array([1, 1, 2, 1])) == 2
    assert shared(np.array([1, 1, 3]), np.array([1, 2])) == 2


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "What shall be checked"),
        (["char_lm/text", "a.txt", "--data.chunk_lenght", "3"], 2, "chunk_length"),
        (["char_lm/text", "gone.txt"], 3, "does not exist"),
        (["char_lm/text", "a.txt", "--name", "x"], 2, "makes no run"),
        (["captioning", "a.txt"], 2, "ScenesData"),
        (["char_lm/texd", "a.txt"], 2, "Did you mean"),
    ],
)
def test_wrong_words(tmp_path, capsys, words, code, told):
    (tmp_path / "a.txt").write_text("a text\n" * 99)
    assert main(["check", *words]) == code
    assert told in capsys.readouterr().err


def test_what_fit_would_refuse_comes_after_what_was_found(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("short\n" * 9)
    words = ["check", "char_lm/text", str(tmp_path / "a.txt")]
    assert main([*words, "--data.val_fraction", "0.001", "--data.test_fraction", "0.999"]) == 3
    out, err = capsys.readouterr()
    assert "scripts       Latin" in out
    assert "the val share of 0.001 comes to none" in err
    assert main([*words, "--data.val_fraction", "1", "--data.test_fraction", "0"]) == 0
    assert "parts         train 0, val 54" in capsys.readouterr().out
