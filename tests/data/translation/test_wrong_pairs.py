"""Everything that can be wrong with parallel text is named, or counted and left out."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from corpora import PAIRS, parallel_data, read_pairs, with_reference, write_pairs
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from unrolled.data import ParallelData, Subwords
from unrolled.errors import DataError, UsageError


def refused(data_or_root, **settings) -> str:
    with pytest.raises((DataError, UsageError)) as caught:
        parallel_data(data_or_root, **settings).prepare_data()
    return str(caught.value)


def told(data: ParallelData, caplog) -> str:
    """Prepare, and return what is logged and warned."""
    with caplog.at_level("INFO"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data.prepare_data()
    return "\n".join(
        [record.getMessage() for record in caplog.records] + [str(w.message) for w in caught]
    )


def test_files_of_different_lengths(root):
    with (root / "train.en").open("a") as file:
        file.write("one more\nand another\n")
    message = refused(root)
    assert "200 lines" in message
    assert "202" in message
    assert "train.de" in message
    (root / "train.en").write_text("one\n")
    assert "200 lines" in (message := refused(root))
    assert "train.en 1:" in message


def test_empty_lines(root, caplog):
    pairs = PAIRS["train"][:]
    pairs[3], pairs[16], pairs[40] = ("", "one"), ("ein", " \t"), ("", "")
    write_pairs(root, "train", pairs)
    write_pairs(root, "val", [("", "dog."), ("Hund.", ""), *PAIRS["val"]])
    data = parallel_data(root)
    text = told(data, caplog)
    assert "197" in text
    assert "left out: 3 empty (lines 4, 17, 41)" in text
    assert "kept: 2 empty (lines 1, 2)" in text
    kept = [pair for number, pair in enumerate(pairs) if number not in (3, 16, 40)]
    assert read_pairs(data, "train") == with_reference(kept)
    assert read_pairs(data, "val")[:2] == [("", "dog.", "dog."), ("Hund.", "", "")]
    batch = data.files("val")[np.array([0, 1])]
    assert batch.source_lengths[0] == 1
    assert batch.source[0, 0] == Subwords.END


def test_a_line_of_100_000_tokens(root, caplog):
    pairs = [*PAIRS["train"], ("Hund " * 100_000, "dog"), ("Katze" * 100_000, "cat")]
    write_pairs(root, "train", pairs)
    data = parallel_data(root)
    assert "left out: 2 longer than 128 (lines 201, 202)" in told(data, caplog)
    assert read_pairs(data, "train") == with_reference(PAIRS["train"])
    assert max(length.max() for length in data.files("train").lengths) <= 129
    write_pairs(root, "val", [("Hund", "dog"), ("Hund", "dog " * 100_000)])
    message = refused(root)
    assert "val.en, line 2 has 100,000 subwords" in message
    assert "--data.max_length" in message
    write_pairs(root, "val", [("Hund " * 2_000, "dog " * 3_000)])
    assert "val.de, line 1 has 2,000 subwords" in refused(root)


def test_not_utf_8(root):
    (root / "train.de").write_bytes("Straße\n".encode() + "Straße\n".encode("latin-1") * 199)
    message = refused(root)
    assert "train.de, line 2 is not UTF-8: byte 0xdf at its position 5" in message
    assert "iconv" in message
    (root / "train.de").write_bytes("Straße\n".encode("utf-16-le"))  # without a byte-order mark
    assert "iconv -t utf-8 -f utf-16" in refused(root)


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"source": "dee"}, "Did you mean 'train.de'"),
        ({"source": "source"}, "It has train.de, train.en: --data.source and --data.target name"),
        ({"test_name": "tset"}, "Did you mean 'test."),
        ({"train_name": "trian"}, "Did you mean 'train."),
    ],
)
def test_a_missing_file(root, settings, fragment):
    assert fragment in refused(root, **settings)


def test_half_a_part_is_missing(root):
    (root / "val.en").unlink()
    assert "val.en' does not exist" in refused(root)
    with pytest.raises(DataError, match=r"Did you mean 'train.de'"):
        ParallelData(
            train_source=str(root / "trin.de"), train_target=str(root / "train.en")
        ).prepare_data()
    with pytest.raises(DataError, match="is a folder"):
        ParallelData(train_source=str(root), train_target=str(root / "train.en")).prepare_data()
    with pytest.raises(DataError, match="same file"):
        ParallelData(
            train_source=str(root / "train.en"), train_target=str(root / "train.en")
        ).prepare_data()
    with pytest.raises(DataError, match="does not exist"):
        ParallelData(str(root / "nowhere"), source="de", target="en").prepare_data()


def test_a_pipe_can_be_read_only_once(root):
    os.mkfifo(root / "pipe.tsv")
    for settings in (
        {"train": "pipe.tsv"},
        {"train_source": "train.de", "train_target": "pipe.tsv"},
    ):
        with pytest.raises(DataError, match=r"pipe.tsv' is a pipe .* only once"):
            ParallelData(
                **{name: str(root / file) for name, file in settings.items()}
            ).prepare_data()


def test_the_same_sentences_in_train_and_test(root, caplog):
    write_pairs(root, "test", PAIRS["train"][:50] + PAIRS["test"])
    text = told(parallel_data(root), caplog)
    part = PAIRS["train"][:50] + PAIRS["test"]
    sources = {source for source, _ in PAIRS["train"]}
    leaked = sum(source in sources for source, _ in part)
    shared = sum(pair in PAIRS["train"] for pair in part)
    assert (
        f"{leaked} of the 80 test sources are in the training part as well, {shared} of them with "
        "the same translation" in text
    )
    assert "val sources" not in text


def test_sources_of_the_test_that_are_translated_otherwise_in_training(root, caplog):
    leaked = [(f" {source.upper()}", "something else") for source, _ in PAIRS["train"][:3]]
    write_pairs(root, "test", leaked + PAIRS["test"])
    sources = {source for source, _ in PAIRS["train"]}
    others = sum(source in sources for source, _ in PAIRS["test"])
    shared = sum(pair in PAIRS["train"] for pair in PAIRS["test"])
    text = told(parallel_data(root), caplog)
    assert f"{3 + others} of the {3 + len(PAIRS['test'])} test sources are in the training" in text
    assert f"as well, {shared} of them with the same" in text


def test_exchanged_sides(root, caplog):
    write_pairs(root, "val", [(target, source) for source, target in PAIRS["val"]])
    text = told(parallel_data(root), caplog)
    assert "20 of 20 val sources that were looked at read like the training part's targets" in text
    assert "test sources" not in text


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (TrainerFn.FITTING, {"train", "val", "test"}),
        (TrainerFn.VALIDATING, {"val"}),
        (TrainerFn.TESTING, {"test"}),
    ],
)
def test_what_a_command_prepares(root, command, parts, caplog):
    write_pairs(root, "test", PAIRS["train"][:50])
    data = parallel_data(root, spec=parallel_data(root).spec)
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    data.trainer.state.fn = command
    text = told(data, caplog)
    assert {part for part in PAIRS if f"Pairs ({part})" in text} == parts
    assert ("50 of the 50 test sources" in text) == (command == TrainerFn.FITTING)


def test_source_and_target_are_the_same(root, caplog):
    write_pairs(
        root, "train", [(target, target) for _, target in PAIRS["train"][:20]] + PAIRS["train"][20:]
    )
    assert (
        "in 20 of 200 pairs source and target are the same text (lines 1, 2, 3 and 17 more)"
        in told(parallel_data(root), caplog)
    )


def test_nothing_is_told_of_good_data(root, caplog):
    text = told(parallel_data(root), caplog)
    assert text.count("\n") == 2
    assert "left out" not in text


@pytest.mark.parametrize("content", ["", "\n\n\n"])
def test_nothing_to_train_on(root, content):
    for language in ("de", "en"):
        (root / f"train.{language}").write_text(content)
    assert "no pair of sentences to train on" in refused(root)


def test_damaged_archives(root):
    (root / "train.de").unlink()
    (root / "train.de.gz").write_bytes(b"no archive")
    assert "damaged" in refused(root)


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("a.tsv", "de\ten\neins\tone\nzwei\n", "line 3: expected 2 columns, found 1"),
        ("a.tsv", "eins\n", "row 1 has 1 column"),
        ("a.csv", 'de,en\n"eins,one\n', "line 2: expected a row of CSV"),
        ("a.jsonl", '{"de": "eins", "en": "one"}\n{"de": \n', "line 2 is no JSON"),
        ("a.jsonl", "[" * 100_000, "line 1 is no JSON"),
        ("a.jsonl", '{"de": "eins", "enn": "one"}\n', "Did you mean 'enn'"),
        ("a.jsonl", '{"de": "eins", "en": 1}\n', "holds int"),
        ("a.jsonl", "[]\n", "holds list"),
        ("a.xls", "eins\n", "ends in none of .tsv, .csv, .txt"),
    ],
)
def test_bad_tables(tmp_path, name, content, fragment):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        ParallelData(train=str(tmp_path / name), source="de", target="en").prepare_data()
    assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"root": None}, "No sentences are given"),
        ({"dataset": "x"}, "root and dataset"),
        ({"train": "x.tsv"}, "root and files"),
        ({"target": "de"}, "two names"),
        ({"train_source": "x"}, "train_target"),
        ({"val_target": "x"}, "val_source"),
        ({"batch_size": None}, "Neither"),
        ({"batch_tokens": 100}, "both given"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"vocabulary_size": 3}, "vocabulary_size is 3"),
        ({"max_length": 0}, "max_length is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"kind": "letters"}, "bpe, unigram, word"),
    ],
)
def test_settings_are_checked_before_anything_is_written(tmp_path, settings, fragment):
    given = {
        "root": str(tmp_path),
        "source": "de",
        "target": "en",
        "cache_dir": str(tmp_path / "cache"),
    }
    with pytest.raises(UsageError, match=fragment):
        ParallelData(**(given | settings))
    assert not list(tmp_path.iterdir())
