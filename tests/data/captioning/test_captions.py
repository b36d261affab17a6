"""Captions of photographs: every layout, and what is made of it."""

from __future__ import annotations

import shutil

import pytest
from corpora import (
    CAPTION_LAYOUTS,
    captions_of,
    draw_images,
    numbers_in,
    save_captions,
    write_coco,
    write_csv,
)
from unrolled.data import CaptionData
from unrolled.data.captioning.captions import parts_of
from unrolled.data.captioning.entries import Entry
from unrolled.data.splits import shares
from unrolled.errors import DataError

SIZES = {
    "flickr8k": [7, 1, 2],
    "csv": [8, 1, 1],
    "karpathy": [7, 1, 2],
    "coco": [7, 2, 1],
    "coco_one": [8, 1, 1],
    "jsonl": [8, 1, 1],
}


@pytest.mark.parametrize("layout", CAPTION_LAYOUTS)
def test_reads_every_layout(tmp_path, data, layout):
    CAPTION_LAYOUTS[layout](tmp_path)
    module = data()
    assert [len(module.references(part)) for part in ("train", "val", "test")] == SIZES[layout]
    seen = []
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        for batch in loader:
            seen += numbers_in(batch)
            for number, references in zip(numbers_in(batch), batch.references, strict=True):
                assert list(references) == captions_of(number)
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize("layout", ["flickr8k", "csv", "coco_one"])
def test_looks_for_images_beside_the_caption_file_too(tmp_path, data, layout):
    (tmp_path / "inner").mkdir()
    CAPTION_LAYOUTS[layout](tmp_path / "inner")
    assert len(data().references("test")) == SIZES[layout][2]
    if layout == "flickr8k":  # as its two archives are unpacked
        shutil.move(tmp_path / "inner" / "Flicker8k_Dataset", tmp_path / "Flicker8k_Dataset")
        assert len(data().references("test")) == 2


def test_a_caption_file_can_be_named(tmp_path, data):
    write_coco(tmp_path)
    for name in ("captions_train2017.json", "captions_val2017.json"):
        assert len(data(tmp_path / "annotations" / name).references("train")) > 0
    shutil.move(tmp_path / "val2017", tmp_path / "pictures")
    module = data(
        tmp_path / "annotations" / "captions_val2017.json", image_dir=str(tmp_path / "pictures")
    )
    assert len(next(iter(module.train_dataloader())).number) == 1


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("column", ["caption", "first,second"])
def test_reads_a_data_set(tmp_path, data, split, column):
    columns = None
    if column != "caption":
        texts = zip(*map(captions_of, range(10)), strict=True)
        columns = dict(zip(column.split(","), map(list, texts), strict=True))
    parts = {"train": range(7), "validation": range(7, 8), "test": range(8, 10)}
    save_captions(tmp_path, columns, parts if split else None)
    module = data(dataset=str(tmp_path / "saved"), caption_column=column)
    assert [len(module.references(p)) for p in ("train", "val", "test")] == (
        [7, 1, 2] if split else [8, 1, 1]
    )
    seen = []
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        for batch in loader:
            seen += numbers_in(batch)
            assert [list(texts) for texts in batch.references] == [
                captions_of(n) for n in numbers_in(batch)
            ]
    assert sorted(seen) == list(range(10))
    with pytest.raises(
        DataError, match=r"no column 'imaeg', only .*--data.image_column. Did you mean 'image'"
    ):
        data(dataset=str(tmp_path / "saved"), image_column="imaeg").references("train")
    with pytest.raises(DataError, match=r"data set '.*absent' can't be loaded"):
        data(dataset=str(tmp_path / "absent")).references("train")


def test_makes_batches_of_what_is_learnt(tmp_path, data):
    write_csv(tmp_path)
    module = data(batch_size=8)
    (batch,) = module.train_dataloader()
    assert batch.image.shape == (8, 3, 8, 8)
    assert batch.image_of.tolist() == [image for image in range(8) for _ in range(2)]
    learnt = [module.vocabulary.decode(ids.tolist()) for ids in batch.caption]
    numbers = [int(texts[0].split()[-1][:-1]) for texts in batch.references]
    assert learnt == [
        text for number in numbers for text in (f"a dog number {number}", f"this dog is {number}")
    ]
    assert batch.lengths.tolist() == [5] * 16  # the end symbol included
    moved = batch.to("meta")
    assert (moved.image.device.type, moved.caption.device.type, moved.image_of.device.type) == (
        "meta",
    ) * 3
    assert (moved.lengths.device.type, moved.number.device.type) == ("cpu", "cpu")


@pytest.mark.parametrize(
    ("written", "learnt"),
    [
        ("A dog's bowl -- isn't it?", "A dog's bowl isn't it"),
        ('"Hot-dogs" and/or T-shirts, 50% off!', "Hot-dogs and/or T-shirts 50% off"),
        ("The cows' café (empty)...", "The cows café empty"),
    ],
)
def test_learns_captions_as_they_are_scored(data, written, learnt):
    assert data().learnt(written) == learnt


def test_rare_words_are_unknown(tmp_path, data):
    write_csv(tmp_path)
    module = data(min_count=8)
    assert module.vocabulary.size == 4 + 5  # a dog number this is
    batch = next(iter(module.train_dataloader()))
    assert batch.caption[0].tolist()[-2:] == [module.vocabulary.UNKNOWN, module.vocabulary.END]


def test_the_checkpoints_words_and_size_are_used(tmp_path, data):
    write_csv(tmp_path)
    spec = data().spec
    module = data(spec=spec, image_size=224, min_count=5)
    assert module.spec == spec
    assert next(iter(module.train_dataloader())).image.shape[-1] == 8


def test_says_why_a_part_is_empty(tmp_path, data):
    draw_images(tmp_path)
    (tmp_path / "train.jsonl").write_text('{"image": "0.jpg", "caption": "a"}\n')
    assert data().val_dataloader() == []
    assert data().remedy("val") == "The captions say which images each part has, and val has none."
    assert data(val_fraction=0).remedy("val") == "Set --data.val_fraction above 0."
    (tmp_path / "train.jsonl").rename(tmp_path / "test.jsonl")
    spec = {"vocabulary": {}, "image_size": 8}
    with pytest.raises(
        DataError, match=r"There is nothing to train on: the part is empty\. Make val_fraction"
    ):
        data(spec=spec).train_dataloader()


def test_carving_depends_on_nothing_but_the_names():
    entries = [Entry(f"{number}.jpg", ("a",), None) for number in range(100)]
    parts = parts_of(entries, shares(0.1, 0.2))
    assert [parts.count(part) for part in ("train", "val", "test")] == [70, 10, 20]
    backwards = parts_of(entries[::-1], shares(0.1, 0.2))
    assert backwards[::-1] == parts
    assert parts_of(entries[:5], shares(0.01, 0)).count("val") == 1
    assert parts_of(entries, shares(0, 1)) == ["test"] * 100
    assert parts_of([Entry("a", ("a",), "val")], shares(0, 1)) == ["val"]


def test_real_photographs(shared_data, tmp_path):
    module = CaptionData(
        str(shared_data("coco_cc")), image_size=32, min_count=1, cache_dir=str(tmp_path)
    )
    assert [len(module.references(part)) for part in ("train", "val", "test")] == [70, 3, 3]
    seen = [number for batch in module.train_dataloader() for number in batch.number.tolist()]
    assert sorted(seen) == list(range(70))
