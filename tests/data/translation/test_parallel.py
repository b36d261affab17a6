"""Parallel text: every form it comes in, and what is made of it."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from corpora import PAIRS, parallel_data, read_pairs, with_reference, write_pairs
from unrolled.data import ParallelData, Subwords
from unrolled.errors import DataError, UsageError


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("budget", [{"batch_size": 8}, {"batch_size": None, "batch_tokens": 100}])
def test_a_folder(root, joint, kind, budget):
    data = parallel_data(root, joint_vocabulary=joint, kind=kind, **budget)
    for part, pairs in PAIRS.items():
        assert read_pairs(data, part) == with_reference(pairs)
    spec = data.spec
    assert json.loads(json.dumps(spec)) == spec
    assert (spec["joint"], spec["source"] == spec["target"]) == (joint, joint)
    batch = next(iter(data.train_dataloader()))
    assert [batch.source.dtype, batch.target.dtype, batch.number.dtype] == [torch.int64] * 3


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_compressed_files_and_other_names(root, suffix):
    (root / "other").mkdir()
    for part, name in (("train", "train"), ("val", "dev"), ("test", "test_2016")):
        write_pairs(root / "other", name, PAIRS[part], suffix)
    data = ParallelData(
        str(root / "other"), source="de", target="en", test_name="test_2016", vocabulary_size=150
    )
    assert [read_pairs(data, part) for part in PAIRS] == [
        with_reference(pairs) for pairs in PAIRS.values()
    ]
    assert parallel_data(root / "other").loader("test") is None


def test_files_by_name(root):
    named = {
        f"{part}_{side}": str(root / f"{part}.{language}")
        for part in PAIRS
        for side, language in (("source", "de"), ("target", "en"))
    }
    data = ParallelData(**named, vocabulary_size=150)
    assert [read_pairs(data, part) for part in PAIRS] == [
        with_reference(pairs) for pairs in PAIRS.values()
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
    paths = {part: table(tmp_path / part, pairs, form) for part, pairs in PAIRS.items()}
    data = ParallelData(**paths, source="de", target="en", vocabulary_size=150)
    assert [read_pairs(data, part) for part in PAIRS] == [
        with_reference(pairs) for pairs in PAIRS.values()
    ]


def test_data_sets(tmp_path):
    import datasets

    for name, rows in (
        (
            "feature",
            {
                part: {"translation": [{"de": s, "en": t} for s, t in p]}
                for part, p in PAIRS.items()
            },
        ),
        (
            "columns",
            {part: {"de": [s for s, _ in p], "en": [t for _, t in p]} for part, p in PAIRS.items()},
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
        assert [read_pairs(data, part) for part in PAIRS] == [
            with_reference(pairs) for pairs in PAIRS.values()
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
    first = parallel_data(root)
    first.prepare_data()
    monkeypatch.setattr(Subwords, "train", None)
    monkeypatch.setattr(Subwords, "encode_batch", None)
    again = parallel_data(root)
    assert again.spec == first.spec
    assert read_pairs(again, "train") == with_reference(PAIRS["train"])
    copy = pickle.loads(pickle.dumps(again.files("train")))
    assert copy[np.array([3, 1])].reference == (PAIRS["train"][3][1], PAIRS["train"][1][1])


def test_what_changes_is_made_anew(root):
    before = parallel_data(root).spec
    assert parallel_data(root, vocabulary_size=60).spec != before
    write_pairs(root, "train", PAIRS["test"])
    assert parallel_data(root).spec != before
    assert len(parallel_data(root).files("train")) == len(PAIRS["test"])


def test_workers_read_the_same(root):
    batches, others = (list(parallel_data(root, num_workers=n).train_dataloader()) for n in (0, 1))
    assert [batch.reference for batch in batches] == [batch.reference for batch in others]
    assert all(
        torch.equal(one.source, two.source) for one, two in zip(batches, others, strict=True)
    )


def test_a_share_of_nothing(root):
    empty = parallel_data(root).files("train")[np.array([], dtype=np.int64)]
    assert (
        empty.source.shape[0]
        == empty.target.shape[0]
        == len(empty.reference)
        == len(empty.source_lengths)
        == 0
    )


def test_lengths_stay_on_the_cpu(root):
    data = parallel_data(root)
    batch = next(iter(data.train_dataloader()))
    moved = batch.to("meta")
    assert moved.source.is_meta
    assert moved.target.is_meta
    assert not moved.source_lengths.is_meta
    assert not moved.number.is_meta


def test_a_checkpoints_vocabulary_is_used(root):
    spec = parallel_data(root).spec
    write_pairs(root, "test", [("Hund läuft.", "dog runs.")])
    for part in ("train", "val"):
        for language in ("de", "en"):
            (root / f"{part}.{language}").unlink()
    alone = ParallelData(
        test_source=str(root / "test.de"), test_target=str(root / "test.en"), spec=spec
    )
    assert alone.spec == spec
    assert read_pairs(alone, "test") == [("Hund läuft.", "dog runs.", "dog runs.")]
    with pytest.raises(UsageError, match="was not made for ParallelData"):
        parallel_data(root, spec={"vocabulary": {}}).spec  # noqa: B018


def test_lower_case_leaves_the_references_alone(root):
    write_pairs(root, "val", [("Hund Katze", "Dog Cat")])
    assert read_pairs(parallel_data(root, lowercase=True), "val") == [
        ("hund katze", "dog cat", "Dog Cat")
    ]


def test_windows_line_ends_and_a_byte_order_mark(root):
    (root / "val.de").write_bytes(b"\xef\xbb\xbfHund\r\nKatze")
    (root / "val.en").write_bytes(b"dog\ncat\n")
    assert read_pairs(parallel_data(root), "val") == [
        ("Hund", "dog", "dog"),
        ("Katze", "cat", "cat"),
    ]


@pytest.mark.slow  # 29,000 pairs
def test_multi30k(shared_data, tmp_path):
    multi30k = shared_data("multi30k")
    data = parallel_data(
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
