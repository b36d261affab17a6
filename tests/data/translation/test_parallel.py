"""Parallel text: every form it comes in, what is made of it, and all that can be wrong with it."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from unrolled.data import ParallelData, Subwords
from unrolled.errors import DataError, UsageError

GERMAN = ["ein", "zwei", "Hund", "Katze", "läuft", "schläft", "und", "oder", "nicht", "Straße"]
ENGLISH = ["one", "two", "dog", "cat", "runs", "sleeps", "and", "or", "not", "street"]


def pairs_of(count: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    chosen = [rng.integers(0, len(GERMAN), rng.integers(6, 14)) for _ in range(count)]
    return [
        (" ".join(GERMAN[i] for i in row) + ".", " ".join(ENGLISH[i] for i in row) + ".")
        for row in chosen
    ]


PARTS = {"train": pairs_of(200), "val": pairs_of(20, 1), "test": pairs_of(30, 2)}


def write(folder, part: str, pairs, suffix: str = "") -> None:
    opener = {"": open, ".gz": gzip.open, ".xz": lzma.open}[suffix]
    for side, language in enumerate(("de", "en")):
        with opener(folder / f"{part}.{language}{suffix}", "wt", encoding="utf-8") as file:
            file.writelines(f"{pair[side]}\n" for pair in pairs)


@pytest.fixture
def root(tmp_path):
    for part, pairs in PARTS.items():
        write(tmp_path, part, pairs)
    return tmp_path


def data_of(folder, **settings) -> ParallelData:
    given = {
        "root": str(folder),
        "source": "de",
        "target": "en",
        "vocabulary_size": 150,
        "batch_size": 8,
    }
    given["cache_dir"] = str(folder / "cache")
    return ParallelData(**(given | settings))


def read(data: ParallelData, part: str) -> list[tuple[str, str, str]]:
    """Return source, target and reference of every pair of a part, by its number."""
    source, target = data.vocabularies
    found = {}
    for batch in data.loader(part):
        for row, (number, reference) in enumerate(
            zip(batch.number.tolist(), batch.reference, strict=True)
        ):
            ids = [
                batch.source[row, : batch.source_lengths[row]],
                batch.target[row, : batch.target_lengths[row]],
            ]
            assert [int(side[-1]) for side in ids] == [Subwords.END] * 2
            assert not batch.source[row, batch.source_lengths[row] :].any()
            assert not batch.target[row, batch.target_lengths[row] :].any()
            found[number] = (
                source.decode(ids[0].tolist()),
                target.decode(ids[1].tolist()),
                reference,
            )
    return [found[number] for number in range(len(found))]


def with_reference(pairs) -> list[tuple[str, str, str]]:
    return [(source, target, target) for source, target in pairs]


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("budget", [{"batch_size": 8}, {"batch_size": None, "batch_tokens": 100}])
def test_a_folder(root, joint, kind, budget):
    data = data_of(root, joint_vocabulary=joint, kind=kind, **budget)
    for part, pairs in PARTS.items():
        assert read(data, part) == with_reference(pairs)
    spec = data.spec
    assert json.loads(json.dumps(spec)) == spec
    assert (spec["joint"], spec["source"] == spec["target"]) == (joint, joint)
    batch = next(iter(data.train_dataloader()))
    assert [batch.source.dtype, batch.target.dtype, batch.number.dtype] == [torch.int64] * 3


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_compressed_files_and_other_names(root, suffix):
    (root / "other").mkdir()
    for part, name in (("train", "train"), ("val", "dev"), ("test", "test_2016")):
        write(root / "other", name, PARTS[part], suffix)
    data = ParallelData(
        str(root / "other"), source="de", target="en", test_name="test_2016", vocabulary_size=150
    )
    assert [read(data, part) for part in PARTS] == [
        with_reference(pairs) for pairs in PARTS.values()
    ]
    assert data_of(root / "other").loader("test") is None


def test_files_by_name(root):
    named = {
        f"{part}_{side}": str(root / f"{part}.{language}")
        for part in PARTS
        for side, language in (("source", "de"), ("target", "en"))
    }
    data = ParallelData(**named, vocabulary_size=150)
    assert [read(data, part) for part in PARTS] == [
        with_reference(pairs) for pairs in PARTS.values()
    ]


def table(path, pairs, form: str) -> str:
    if form == "jsonl":
        rows = [
            json.dumps({"id": n, "de": s, "en": t}, ensure_ascii=False)
            for n, (s, t) in enumerate(pairs)
        ]
    elif form == "translation.jsonl":
        rows = [json.dumps({"translation": {"de": s, "en": t}}) for s, t in pairs]
    elif form == "header.tsv":
        rows = ["id\ten\tde", *(f"{n}\t{t}\t{s}" for n, (s, t) in enumerate(pairs))]
    elif form == "tsv":
        rows = [f"{s}\t{t}\tby somebody" for s, t in pairs]
    elif form == "csv":
        rows = ["en,de", *(f'"{t}",{s}' for s, t in pairs)]
    path = path.with_suffix(f".{form}")
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("form", ["jsonl", "translation.jsonl", "header.tsv", "tsv", "csv"])
def test_tables(tmp_path, form):
    paths = {part: table(tmp_path / part, pairs, form) for part, pairs in PARTS.items()}
    data = ParallelData(**paths, source="de", target="en", vocabulary_size=150)
    assert [read(data, part) for part in PARTS] == [
        with_reference(pairs) for pairs in PARTS.values()
    ]


def test_data_sets(tmp_path):
    import datasets

    for name, rows in (
        (
            "feature",
            {
                part: {"translation": [{"de": s, "en": t} for s, t in p]}
                for part, p in PARTS.items()
            },
        ),
        (
            "columns",
            {part: {"de": [s for s, _ in p], "en": [t for _, t in p]} for part, p in PARTS.items()},
        ),
    ):
        rows = {
            {"val": "validation"}.get(part, part): datasets.Dataset.from_dict(r)
            for part, r in rows.items()
        }
        datasets.DatasetDict(rows).save_to_disk(str(tmp_path / name))
        data = ParallelData(
            dataset=str(tmp_path / name), source="de", target="en", vocabulary_size=150
        )
        assert [read(data, part) for part in PARTS] == [
            with_reference(pairs) for pairs in PARTS.values()
        ]
    datasets.DatasetDict({"train": rows["train"]}).save_to_disk(str(tmp_path / "train_only"))
    data = ParallelData(
        dataset=str(tmp_path / "train_only"), source="de", target="en", vocabulary_size=150
    )
    assert data.val_dataloader() == []
    for settings, fragment in (
        ({"test_name": "tset"}, "--data.test_name"),
        ({"target": "eng"}, "Did you mean 'en'"),
    ):
        given = {"source": "de", "target": "en"} | settings
        with pytest.raises(DataError, match=fragment):
            ParallelData(dataset=str(tmp_path / "columns"), **given).prepare_data()


def test_a_data_set_whose_name_speaks_of_splits_hides_no_mistake(tmp_path):
    import datasets

    parts = {
        "train": {"de": ["eins"], "en": ["one"]},
        "validation": {"de": ["eins"], "text": ["one"]},
    }
    parts = {part: datasets.Dataset.from_dict(rows) for part, rows in parts.items()}
    for part, rows in parts.items():
        rows.save_to_disk(str(tmp_path / "split" / part))
    (tmp_path / "split" / "dataset_dict.json").write_text(json.dumps({"splits": list(parts)}))
    with pytest.raises(DataError, match="has no 'en'"):
        ParallelData(dataset=str(tmp_path / "split"), source="de", target="en").prepare_data()


def test_the_second_time_everything_is_there(root, monkeypatch):
    first = data_of(root)
    first.prepare_data()
    monkeypatch.setattr(Subwords, "train", None)
    monkeypatch.setattr(Subwords, "encode_batch", None)
    again = data_of(root)
    assert again.spec == first.spec
    assert read(again, "train") == with_reference(PARTS["train"])
    copy = pickle.loads(pickle.dumps(again.files("train")))
    assert copy[np.array([3, 1])].reference == (PARTS["train"][3][1], PARTS["train"][1][1])


def test_what_changes_is_made_anew(root):
    before = data_of(root).spec
    assert data_of(root, vocabulary_size=60).spec != before
    write(root, "train", PARTS["test"])
    assert data_of(root).spec != before
    assert len(data_of(root).files("train")) == len(PARTS["test"])


def test_workers_read_the_same(root):
    batches, others = (list(data_of(root, num_workers=n).train_dataloader()) for n in (0, 1))
    assert [batch.reference for batch in batches] == [batch.reference for batch in others]
    assert all(
        torch.equal(one.source, two.source) for one, two in zip(batches, others, strict=True)
    )


def test_a_share_of_nothing(root):
    empty = data_of(root).files("train")[np.array([], dtype=np.int64)]
    assert (
        empty.source.shape[0]
        == empty.target.shape[0]
        == len(empty.reference)
        == len(empty.source_lengths)
        == 0
    )


def test_lengths_stay_on_the_cpu(root):
    data = data_of(root)
    batch = next(iter(data.train_dataloader()))
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved.source.is_meta
    assert moved.target.is_meta
    assert not moved.source_lengths.is_meta
    assert not moved.number.is_meta


def test_a_checkpoints_vocabulary_is_used(root):
    spec = data_of(root).spec
    write(root, "test", [("Hund läuft.", "dog runs.")])
    for part in ("train", "val"):
        for language in ("de", "en"):
            (root / f"{part}.{language}").unlink()
    alone = ParallelData(
        test_source=str(root / "test.de"), test_target=str(root / "test.en"), spec=spec
    )
    assert alone.spec == spec
    assert read(alone, "test") == [("Hund läuft.", "dog runs.", "dog runs.")]
    with pytest.raises(DataError, match="not one of translation"):
        data_of(root, spec={"vocabulary": {}}).spec  # noqa: B018


def test_lower_case_leaves_the_references_alone(root):
    write(root, "val", [("Hund Katze", "Dog Cat")])
    assert read(data_of(root, lowercase=True), "val") == [("hund katze", "dog cat", "Dog Cat")]


def test_windows_line_ends_and_a_byte_order_mark(root):
    (root / "val.de").write_bytes(b"\xef\xbb\xbfHund\r\nKatze")
    (root / "val.en").write_bytes(b"dog\ncat\n")
    assert read(data_of(root), "val") == [("Hund", "dog", "dog"), ("Katze", "cat", "cat")]


# What may be wrong.


def refused(data_or_root, **settings) -> str:
    with pytest.raises((DataError, UsageError)) as caught:
        data_of(data_or_root, **settings).prepare_data()
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
    pairs = PARTS["train"][:]
    pairs[3], pairs[16], pairs[40] = ("", "one"), ("ein", " \t"), ("", "")
    write(root, "train", pairs)
    write(root, "val", [("", "dog."), ("Hund.", ""), *PARTS["val"]])
    data = data_of(root)
    text = told(data, caplog)
    assert "197" in text
    assert "left out: 3 empty (lines 4, 17, 41)" in text
    assert "kept: 2 empty (lines 1, 2)" in text
    kept = [pair for number, pair in enumerate(pairs) if number not in (3, 16, 40)]
    assert read(data, "train") == with_reference(kept)
    assert read(data, "val")[:2] == [("", "dog.", "dog."), ("Hund.", "", "")]
    batch = data.files("val")[np.array([0, 1])]
    assert batch.source_lengths[0] == 1
    assert batch.source[0, 0] == Subwords.END


def test_a_line_of_100_000_tokens(root, caplog):
    pairs = [*PARTS["train"], ("Hund " * 100_000, "dog"), ("Katze" * 100_000, "cat")]
    write(root, "train", pairs)
    data = data_of(root)
    assert "left out: 2 longer than 128 (lines 201, 202)" in told(data, caplog)
    assert read(data, "train") == with_reference(PARTS["train"])
    assert max(length.max() for length in data.files("train").lengths) <= 129
    write(root, "val", [("Hund", "dog"), ("Hund", "dog " * 100_000)])
    message = refused(root)
    assert "val.en, line 2 has 100,000 subwords" in message
    assert "--data.max_length" in message
    write(root, "val", [("Hund " * 2_000, "dog " * 3_000)])
    assert "val.de, line 1 has 2,000 subwords" in refused(root)


def test_not_utf_8(root):
    (root / "train.de").write_bytes("Straße\n".encode() + "Straße\n".encode("latin-1") * 199)
    message = refused(root)
    assert "train.de, line 2 is not UTF-8: byte 0xdf at its position 5" in message
    assert "iconv" in message
    (root / "train.de").write_bytes("Straße\n".encode("utf-16"))
    assert "UTF-16" in refused(root)


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"source": "dee"}, "Did you mean 'train.de'"),
        ({"source": "source"}, "It has train.de, train.en: name the languages by --data.source"),
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
    write(root, "test", PARTS["train"][:50] + PARTS["test"])
    text = told(data_of(root), caplog)
    shared = len([pair for pair in PARTS["train"][:50] + PARTS["test"] if pair in PARTS["train"]])
    assert f"{shared} of the 80 test pairs are in the training part as well" in text
    assert "val pairs" not in text


def test_exchanged_sides(root, caplog):
    write(root, "val", [(target, source) for source, target in PARTS["val"]])
    text = told(data_of(root), caplog)
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
    write(root, "test", PARTS["train"][:50])
    data = data_of(root, spec=data_of(root).spec)
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    data.trainer.state.fn = command
    text = told(data, caplog)
    assert {part for part in PARTS if f"Pairs ({part})" in text} == parts
    assert ("50 of the 50 test pairs" in text) == (command == TrainerFn.FITTING)


def test_source_and_target_are_the_same(root, caplog):
    write(
        root, "train", [(target, target) for _, target in PARTS["train"][:20]] + PARTS["train"][20:]
    )
    assert (
        "in 20 of 200 pairs source and target are the same text (lines 1, 2, 3 and 17 more)"
        in told(data_of(root), caplog)
    )


def test_nothing_is_told_of_good_data(root, caplog):
    text = told(data_of(root), caplog)
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
        ("a.tsv", "eins\tone\nzwei\n", "row 2 has 1 column"),
        ("a.tsv", "eins\n", "row 1 has 1 column"),
        ("a.csv", 'de,en\n"eins,one\n', "line 2: expected a row of CSV"),
        ("a.jsonl", '{"de": "eins", "en": "one"}\n{"de": \n', "line 2 is no JSON"),
        ("a.jsonl", "[" * 100_000, "line 1 is no JSON"),
        ("a.jsonl", '{"de": "eins", "enn": "one"}\n', "Did you mean 'enn'"),
        ("a.jsonl", '{"de": "eins", "en": 1}\n', "holds int"),
        ("a.jsonl", "[]\n", "holds list"),
        ("a.txt", "eins\n", ".tsv, .csv, .jsonl"),
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


def test_multi30k(shared_data, tmp_path):
    multi30k = shared_data("multi30k")
    data = data_of(
        tmp_path,
        root=str(multi30k),
        test_name="test_2016_flickr",
        vocabulary_size=4000,
        batch_size=None,
        batch_tokens=1200,
    )
    data.prepare_data()
    assert [len(data.files(part)) for part in ("train", "val", "test")] == [29000, 1014, 1000]
    real = padded = pairs = 0
    batches = 0
    for batch in data.train_dataloader():
        real += int(batch.source_lengths.sum() + batch.target_lengths.sum())
        padded += batch.source.numel() + batch.target.numel()
        pairs += len(batch.reference)
        batches += 1
    assert pairs == 29000
    assert 55 < pairs / batches < 64
    assert 1 - real / padded < 0.05
    shutil.rmtree(tmp_path / "cache")
