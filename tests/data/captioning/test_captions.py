"""Captions of photographs: every layout, all that is wrong with one, the caches, exact resume."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from unrolled.data import CaptionData, ScenesData
from unrolled.data.captioning.captions import carved
from unrolled.data.captioning.files import Entry, read_captions
from unrolled.data.captioning.sampler import Images, ImageSampler
from unrolled.errors import DataError, UsageError

NAMES = [f"{number}.jpg" for number in range(10)]


def draw(folder: Path, names: list[str] = NAMES) -> Path:
    """Make images of one grey each, which tells them apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (40, 30), (number * 20,) * 3).save(folder / name)
    return folder


def captions(number: int) -> list[str]:
    return [f"A dog, number {number}.", f"This dog is {number}"]


def write_flickr8k(root: Path) -> None:
    draw(root / "Flicker8k_Dataset")
    lines = [
        f"{name}#{k}\t{text}" for n, name in enumerate(NAMES) for k, text in enumerate(captions(n))
    ]
    (root / "Flickr8k.token.txt").write_text(
        "\n".join([*lines, "unlisted.jpg.1#0\tNo part has it ."]) + "\n"
    )
    (root / "Flickr8k.lemma.token.txt").write_text("0.jpg#0\tDog .\n")
    for part, names in (("train", NAMES[:7]), ("dev", NAMES[7:8]), ("test", NAMES[8:])):
        (root / f"Flickr_8k.{part}Images.txt").write_text("".join(f"{name}\n" for name in names))


def write_csv(root: Path) -> None:
    draw(root / "images")
    lines = [f'{name},"{text}"' for n, name in enumerate(NAMES) for text in captions(n)]
    (root / "captions.csv").write_text("\n".join(["image,caption", *lines]))


def write_karpathy(root: Path) -> None:
    draw(root / "val2014")
    splits = ["train"] * 5 + ["restval"] * 2 + ["val", "test", "test"]
    images = [
        {
            "filename": name,
            "filepath": "val2014",
            "split": split,
            "sentences": [{"raw": t} for t in captions(n)],
        }
        for n, (name, split) in enumerate(zip(NAMES, splits, strict=True))
    ]
    (root / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))


def coco(numbers: range, texts: bool = True) -> str:
    annotations = [
        {"image_id": n, "id": 9 * n, "caption": text} for n in numbers for text in captions(n)
    ]
    images = [{"id": n, "file_name": NAMES[n], "height": 30, "width": 40} for n in numbers]
    return json.dumps(
        {"images": images, "annotations": annotations if texts else [], "type": "captions"}
    )


def write_coco(root: Path) -> None:
    draw(root / "train2017", NAMES[:7])
    draw(root / "val2017", NAMES)
    (root / "annotations").mkdir()
    (root / "annotations" / "captions_train2017.json").write_text(coco(range(7)))
    (root / "annotations" / "captions_val2017.json").write_text(coco(range(7, 10)))


def write_coco_one(root: Path) -> None:
    draw(root / "images")
    (root / "captions.json").write_text(coco(range(10)))


def write_jsonl(root: Path) -> None:
    draw(root)
    rows = [
        json.dumps({"file_name": name, "captions": captions(n)}) for n, name in enumerate(NAMES)
    ]
    (root / "metadata.jsonl").write_text("\n".join(rows) + "\n\n")


LAYOUTS = {
    "flickr8k": (write_flickr8k, [7, 1, 2]),
    "csv": (write_csv, [8, 1, 1]),
    "karpathy": (write_karpathy, [7, 1, 2]),
    "coco": (write_coco, [7, 2, 1]),
    "coco_one": (write_coco_one, [8, 1, 1]),
    "jsonl": (write_jsonl, [8, 1, 1]),
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Makes data modules of a small folder, with a cache of their own."""
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))

    def make(root: Path = tmp_path, **settings) -> CaptionData:
        small = {
            "image_size": 8,
            "min_count": 1,
            "batch_size": 4,
            "val_fraction": 0.1,
            "test_fraction": 0.1,
        }
        return CaptionData(None if "dataset" in settings else str(root), **{**small, **settings})

    return make


def numbers_in(batch) -> list[int]:
    """Which of the drawn images a batch holds, by their grey."""
    return [round(float(picture.float().mean()) / 20) for picture in batch.image]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_every_layout(tmp_path, data, layout):
    write, sizes = LAYOUTS[layout]
    write(tmp_path)
    module = data()
    assert [len(module.references(part)) for part in ("train", "val", "test")] == sizes
    seen = []
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        for batch in loader:
            seen += numbers_in(batch)
            for number, references in zip(numbers_in(batch), batch.references, strict=True):
                assert list(references) == captions(number)
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize("layout", ["flickr8k", "csv", "coco_one"])
def test_looks_for_images_beside_the_caption_file_too(tmp_path, data, layout):
    (tmp_path / "inner").mkdir()
    LAYOUTS[layout][0](tmp_path / "inner")
    assert len(data().references("test")) == LAYOUTS[layout][1][2]
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
    import datasets

    draw(tmp_path / "images")
    columns = {"image": [str(tmp_path / "images" / name) for name in NAMES]}
    if column == "caption":
        columns["caption"] = [captions(n) for n in range(10)]
    else:
        columns |= {
            "first": [captions(n)[0] for n in range(10)],
            "second": [captions(n)[1] for n in range(10)],
        }
    rows = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    if split:
        parts = {"train": range(7), "validation": range(7, 8), "test": range(8, 10)}
        rows = datasets.DatasetDict({part: rows.select(numbers) for part, numbers in parts.items()})
    rows.save_to_disk(str(tmp_path / "saved"))
    module = data(dataset=str(tmp_path / "saved"), caption_column=column)
    assert [len(module.references(p)) for p in ("train", "val", "test")] == (
        [7, 1, 2] if split else [8, 1, 1]
    )
    seen = []
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        for batch in loader:
            seen += numbers_in(batch)
            assert [list(texts) for texts in batch.references] == [
                captions(n) for n in numbers_in(batch)
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
    moved = module.transfer_batch_to_device(batch, torch.device("meta"), 0)
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
    draw(tmp_path)
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


# What is wrong with files


def test_missing_images_are_all_listed_once(tmp_path, data):
    write_csv(tmp_path)
    (tmp_path / "images" / "3.jpg").unlink()
    (tmp_path / "images" / "5.jpg").unlink()
    (tmp_path / "images" / "6.jpg").write_bytes(b"")
    with pytest.raises(DataError) as error:
        data().references("train")
    message = str(error.value)
    assert message.startswith(
        "3 of the 10 images that 'captions.csv' names can't be used; mend them, or leave them"
    )
    assert "--data.missing skip" in message
    assert message.count("'3.jpg': is missing") == message.count("'5.jpg': is missing") == 1
    assert message.count("6.jpg' is empty") == 1
    module = data(missing="skip")
    with pytest.warns(
        UserWarning,
        match="3 of the 10 images that 'captions.csv' names can't be used and are left out",
    ):
        left = {
            text
            for part in ("train", "val", "test")
            for texts in module.references(part)
            for text in texts
        }
    assert left == {text for number in (0, 1, 2, 4, 7, 8, 9) for text in captions(number)}


def test_a_link_to_nowhere_is_a_missing_image(tmp_path, data):
    write_csv(tmp_path)
    link = tmp_path / "images" / "4.jpg"
    link.unlink()
    link.symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(
        DataError, match=r"1 of the 10 images .*\n  '4.jpg': '.*4.jpg' does not exist"
    ):
        data().references("train")
    with pytest.warns(UserWarning, match=r"are left out:\n  '4.jpg': "):
        left = data(missing="skip", val_fraction=0, test_fraction=0).references("train")
    assert len(left) == 9


def test_an_image_dir_that_is_wrong_is_one_message(tmp_path, data):
    write_csv(tmp_path)
    shutil.move(tmp_path / "images", tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=r"None of the 10 images that 'captions.csv' names, as '0.jpg', is in"
    ):
        data().references("train")
    with pytest.raises(DataError, match="'absent' is no folder"):
        data(image_dir="absent").references("train")
    assert data(image_dir=str(tmp_path / "elsewhere")).references("train")


def test_a_changed_image_is_looked_at_again(tmp_path, data):
    write_csv(tmp_path)
    assert data().references("train")
    (tmp_path / "images" / "2.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2.jpg' is no image of a kind"):
        data().references("train")
    draw(tmp_path / "images")
    assert data().references("train")


def test_an_image_without_captions_is_named_and_left_out(tmp_path, data):
    draw(tmp_path)
    rows = [
        {"image": name, "caption": captions(n) if n != 4 else [" "]} for n, name in enumerate(NAMES)
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    module = data()
    with pytest.warns(
        UserWarning, match=r"1 image\(s\) in 'all.jsonl' have no caption and are left out: 4.jpg"
    ):
        sizes = [len(module.references(part)) for part in ("train", "val", "test")]
    assert sum(sizes) == 9
    assert all(4 not in numbers_in(batch) for batch in module.train_dataloader())


def test_nothing_with_a_caption_is_an_error(tmp_path, data):
    draw(tmp_path)
    (tmp_path / "captions.json").write_text(coco(range(10), texts=False))
    with (
        pytest.warns(UserWarning, match="have no caption"),
        pytest.raises(DataError, match="no image with a caption"),
    ):
        data().references("train")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "captions.json",
            '{"a": 1, "b": 2}',
            r"JSON of an unknown layout: it has the keys a, b.\nKnown are COCO's",
        ),
        ("captions.json", "[1]", r"JSON of an unknown layout: it has a list"),
        ("captions.json", '{"images": [', r"captions.json' is no JSON: "),
        (
            "captions.json",
            '{"images": [{"id": 1}], "annotations": []}',
            r"images\[0\]: expected id and file_name",
        ),
        (
            "captions.json",
            '{"images": [], "annotations": [{"image_id": 7, "caption": "a"}]}',
            r"captions of 1 image\(s\) that it does not list, as 7",
        ),
        (
            "captions.json",
            '{"images": [{"id": 1, "file_name": 2}], "annotations": []}',
            r"images\[0\]: expected a text as file_name",
        ),
        (
            "dataset.json",
            '{"images": [{"filename": "a", "split": "train", "sentences": [{"raw": null}]}]}',
            r"images\[0\]: expected texts as filename and raw",
        ),
        (
            "dataset.json",
            '{"images": [{"sentences": []}]}',
            r"images\[0\]: expected filename, split and sentences",
        ),
        (
            "dataset.json",
            '{"images": [{"filename": "a", "split": "trian", "sentences": []}]}',
            r"images\[0\]: expected a split among train, .*, not 'trian'",
        ),
        (
            "captions.csv",
            "a,b\n1,2\n",
            r"line 1: expected the names of the columns, 'image,caption', found 'a,b'",
        ),
        (
            "captions.csv",
            "image,caption\n0.jpg,A dog\n1.jpg\n",
            r"line 3: expected 2 columns, found 1",
        ),
        (
            "captions.csv",
            "image,caption,split\n0.jpg,A dog,tset\n",
            r"line 2: expected a split .* not 'tset'",
        ),
        (
            "some.jsonl",
            '{"image": "0.jpg"}\n',
            r"some.jsonl', line 1: expected .*found '{\"image\": \"0.jpg\"}'",
        ),
        ("some.jsonl", '{"image": "0.jpg", "caption": 3}\n', r"some.jsonl', line 1: expected"),
        ("some.jsonl", "\nno json\n", r"some.jsonl', line 2 is no JSON"),
        (
            "Flickr8k.token.txt",
            "0.jpg#0 A dog\n",
            r"line 1: expected 'image.jpg#0<tab>caption', found '0.jpg#0 A dog'",
        ),
        ("captions.txt", b"image,caption\n0.jpg,caf\xe9\n", r"captions.txt' is not UTF-8"),
        (
            "notes.txt",
            "nothing",
            r"no caption file whose name is known. Expected is\n  flickr8k: .*\n  csv: ",
        ),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path, data, name, content, message):
    draw(tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        data().references("train")


def test_several_layouts_have_to_be_chosen_from(tmp_path, data):
    write_csv(tmp_path)
    write_karpathy(tmp_path)
    with pytest.raises(
        DataError,
        match=r"several layouts: captions.csv of the layout csv, .* karpathy. Choose with",
    ):
        data().references("train")
    assert len(data(layout="csv").references("train")) == 8
    assert len(data(layout="karpathy").references("train")) == 7
    with pytest.raises(
        DataError, match=r"known \(but captions.csv of the layout csv, .*\). Expected is\n  jsonl: "
    ):
        data(layout="jsonl").references("train")
    shutil.copy(tmp_path / "dataset_coco.json", tmp_path / "dataset_flickr8k.json")
    with pytest.raises(
        DataError, match=r"several caption files: dataset_coco.json .*, dataset_flickr8k.json"
    ):
        data(layout="karpathy").references("train")


def test_a_wrong_root_is_answered_with_a_near_one(tmp_path, data):
    (tmp_path / "flickr8k").mkdir()
    with pytest.raises(DataError, match=r"flikr8k' does not exist. Did you mean 'flickr8k'"):
        data(tmp_path / "flikr8k").references("train")


def test_commas_in_unquoted_captions_belong_to_them(tmp_path):
    (tmp_path / "captions.txt").write_text("image,caption\n0.jpg,A dog, and a cat .\n")
    entries = read_captions(tmp_path, "auto").entries
    assert entries == [Entry("0.jpg", ("A dog, and a cat .",), None)]


def test_a_quoted_caption_may_have_several_lines(tmp_path):
    (tmp_path / "captions.csv").write_text('image,caption\n0.jpg,"A dog\nand a cat"\n1.jpg,A cow\n')
    entries = read_captions(tmp_path, "auto").entries
    assert [entry.captions for entry in entries] == [("A dog\nand a cat",), ("A cow",)]


def test_a_quote_that_is_not_closed_is_named(tmp_path):
    csv.field_size_limit(1 << 30)  # as another reader leaves it
    rows = "".join(f"{number}.jpg,A dog of many words\n" for number in range(10_000))
    (tmp_path / "captions.csv").write_text(f'image,caption\n0.jpg,"A dog\n{rows}')
    with pytest.raises(
        DataError,
        match=r"captions.csv', line \d+: expected a row of CSV .* quote before it not closed",
    ):
        read_captions(tmp_path, "auto")


def test_an_image_is_in_one_part_only(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"image": "0.jpg", "caption": "a", "split": "train"}\n'
        '{"image": "0.jpg", "caption": "b", "split": "test"}\n'
    )
    with pytest.raises(DataError, match=r"Image '0.jpg' is in two parts, train and test"):
        read_captions(tmp_path, "auto")


def test_files_named_after_parts_are_those_parts(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"image": "0.jpg", "caption": "a"}\n')
    (tmp_path / "val.jsonl").write_text('{"image": "1.jpg", "caption": "b"}\n')
    name, folders, entries = read_captions(tmp_path, "auto")
    assert folders == [tmp_path]
    assert name == "'train.jsonl', 'val.jsonl'"
    assert [entry.part for entry in entries] == ["train", "val"]


def test_carving_depends_on_nothing_but_the_names():
    entries = [Entry(f"{number}.jpg", ("a",), None) for number in range(100)]
    parts = carved(entries, 0.1, 0.2)
    assert [parts.count(part) for part in ("train", "val", "test")] == [70, 10, 20]
    backwards = carved(entries[::-1], 0.1, 0.2)
    assert backwards[::-1] == parts
    assert carved(entries[:5], 0.01, 0).count("val") == 1
    assert carved(entries, 0, 1) == ["test"] * 100
    assert carved([Entry("a", ("a",), "val")], 0, 1) == ["val"]


def test_settings_that_make_no_sense_are_refused(data):
    with pytest.raises(UsageError, match=r"give either --data\.root or --data\.dataset"):
        CaptionData()
    with pytest.raises(UsageError, match=r"give either --data\.root or --data\.dataset"):
        CaptionData("folder", dataset="name")
    with pytest.raises(UsageError, match=r"val_fraction 0\.6 and test_fraction 0\.6"):
        data(val_fraction=0.6, test_fraction=0.6)
    with pytest.raises(UsageError, match="min_crop is 0"):
        data(min_crop=0)
    with pytest.raises(
        UsageError, match="cache_features keeps the features of the pictures as they are"
    ):
        data(cache_features=True, random_flip=True)
    with pytest.raises(UsageError, match="image_size is 0; it has to be at least 1"):
        data(image_size=0)


# Damage that only decoding finds


def damage(path: Path) -> None:
    """Spoil the pixels, so that a quick look sees nothing."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "PNG")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(200) + content[len(content) // 2 + 200 :])


@pytest.mark.parametrize("cache_images", [False, True])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_or_left_out(tmp_path, data, cache_images, workers):
    write_csv(tmp_path)
    damage(tmp_path / "images" / "3.jpg")
    everything = {
        "val_fraction": 0,
        "test_fraction": 0,
        "cache_images": cache_images,
        "num_workers": workers,
    }
    # one line, from a worker too
    with pytest.raises(DataError, match=r"^'[^\n]*3.jpg' is damaged: [^\n]*$"):
        list(data(**everything).train_dataloader())
    module = data(**everything, missing="skip")
    if workers and not cache_images:  # the worker warns, out of sight
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batches = list(module.train_dataloader())
    else:
        with pytest.warns(UserWarning, match=r"Left out: .*3.jpg' is damaged"):
            batches = list(module.train_dataloader())
    seen = [number for batch in batches for number in numbers_in(batch)]
    assert sorted(seen) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    for batch in batches:
        assert [list(texts) for texts in batch.references] == [
            captions(number) for number in numbers_in(batch)
        ]
        assert len(batch.caption) == 2 * len(batch.number)


# Order, draws and resume


def everything(batch) -> list:
    return [
        batch.image.tolist(),
        batch.caption.tolist(),
        batch.image_of.tolist(),
        batch.number.tolist(),
    ]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache_images", [False, True])
def test_resumes_exactly_with_everything_drawn(tmp_path, data, workers, cache_images):
    write_csv(tmp_path)
    drawn = {
        "captions_per_image": 1,
        "random_flip": True,
        "min_crop": 0.5,
        "batch_size": 3,
        "seed": 5,
    }
    settings = {**drawn, "num_workers": workers, "cache_images": cache_images}
    loader = data(**settings).train_dataloader()
    states, whole = [], []
    for _ in range(2):
        for batch in loader:
            whole.append(everything(batch))
            states.append(loader.state_dict())
    assert whole[:3] != whole[3:]
    assert all(len(batch[1]) == len(batch[3]) for batch in whole)
    for done in (1, 3, 4):
        again = data(**settings).train_dataloader()
        again.load_state_dict(states[done - 1])
        rest = [everything(batch) for _ in range(2 - done // 3) for batch in again]
        assert whole[done:] == rest


def test_evaluation_draws_nothing(tmp_path, data):
    write_csv(tmp_path)
    settings = {"captions_per_image": 1, "random_flip": True, "min_crop": 0.5, "val_fraction": 0.5}
    loader = data(**settings).val_dataloader()
    once, again = ([everything(batch) for batch in loader] for _ in range(2))
    assert once == again
    assert sum(len(batch[1]) for batch in once) == 2 * 5


@pytest.mark.parametrize(("length", "processes"), [(1, 2), (17, 2), (24, 3), (25, 3)])
def test_processes_share_what_one_would_see(length, processes):
    one = ImageSampler(length, batch_size=4 * processes, shuffle=True, seed=3)
    several = [
        ImageSampler(length, batch_size=4, shuffle=True, seed=3, rank=rank, world_size=processes)
        for rank in range(processes)
    ]
    for epoch in range(2):
        together = list(zip(*(sampler.batches(epoch) for sampler in several), strict=True))
        assert len(together) == one.num_batches() == several[0].num_batches()
        for batch, shares in zip(one.batches(epoch), together, strict=True):
            assert batch.numbers == tuple(number for share in shares for number in share.numbers)
            assert (
                max(len(share.numbers) for share in shares)
                - min(len(share.numbers) for share in shares)
                <= 1
            )
        assert sorted(number for batch in one.batches(epoch) for number in batch.numbers) == list(
            range(length)
        )
    assert [b.numbers for b in one.batches(0)] != [b.numbers for b in one.batches(1)] or length == 1


def test_a_process_without_images_has_an_empty_batch(tmp_path, data):
    write_csv(tmp_path)
    batch = data().val_dataloader().dataset[Images((), 0)]
    assert batch.image.shape == (0, 3, 8, 8)
    assert batch.caption.shape == (0, 1)
    assert batch.lengths.shape == batch.number.shape == batch.image_of.shape == (0,)


# Caches


class Module(LightningModule):
    """A frozen "backbone" that keeps one number a picture."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.weight = weight
        self.calls = 0
        self.seen: list[torch.Tensor] = []
        self.numbers: list[int] = []

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.weight * pictures.float().mean((1, 2, 3)).reshape(-1, 1, 1).expand(-1, 2, 3)

    def setup(self, stage: str) -> None:
        self.trainer.datamodule.use_features(self.encode, lambda: f"weight {self.weight}")

    def training_step(self, batch) -> torch.Tensor:
        self.seen.append(batch.image)
        self.numbers += batch.number.tolist()
        return self.layer(torch.ones(1, 1)).sum()

    def validation_step(self, batch) -> None:
        """Not run, but asked for."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module: Module, data: CaptionData | ScenesData) -> Module:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, datamodule=data)
    return module


def test_features_are_made_once_and_again_for_other_weights(tmp_path, data):
    write_csv(tmp_path)
    alone = {"val_fraction": 0, "test_fraction": 0, "cache_features": True}
    first = fit(Module(), data(**alone))
    assert first.calls == 1
    features = torch.cat(first.seen)
    assert features.shape == (10, 2, 3)
    assert features.dtype == torch.float16
    assert [round(float(row.mean()) / 20) for row in features] == first.numbers
    again = fit(Module(), data(**alone, batch_size=10, seed=1))
    assert again.calls == 0
    assert sorted(again.numbers) == list(range(10))
    other = fit(Module(0.5), data(**alone))
    assert other.calls == 1
    assert torch.allclose(torch.cat(other.seen), features / 2, atol=0.1)
    draw(tmp_path / "images", [*NAMES[:-1], "new.jpg"])  # images have changed
    assert fit(Module(), data(**alone)).calls == 1
    assert fit(Module(), data(**alone, image_size=16)).calls == 1


def test_features_of_a_damaged_image_are_left_out(tmp_path, data):
    write_csv(tmp_path)
    damage(tmp_path / "images" / "3.jpg")
    alone = {"val_fraction": 0, "test_fraction": 0, "cache_features": True}
    with pytest.raises(DataError, match=r"3.jpg' is damaged"):
        fit(Module(), data(**alone))
    with pytest.warns(UserWarning, match="Left out"):
        module = fit(Module(), data(**alone, missing="skip"))
    assert len(torch.cat(module.seen)) == len(module.numbers) == 9
    # what was kept lacks it, and must not hide it
    with pytest.raises(DataError, match=r"3.jpg' is damaged"):
        fit(Module(), data(**alone))


def test_scenes_have_features_too(tmp_path):
    settings = {"test_size": 0, "cache_features": True, "cache_dir": str(tmp_path)}
    module = fit(Module(), ScenesData(100, 0, **settings))
    assert module.calls == 2
    assert torch.cat(module.seen).shape == (100, 2, 3)


def test_features_need_a_frozen_backbone(tmp_path, data):
    write_csv(tmp_path)
    with pytest.raises(
        UsageError, match=r"this model has none, .*leave unfreeze_epoch out, or set"
    ):
        data(cache_features=True).train_dataloader()


def test_kept_pictures_are_the_same_and_travel(tmp_path, data, monkeypatch):
    write_csv(tmp_path)
    fresh = [everything(batch) for batch in data().train_dataloader()]
    kept = [everything(batch) for batch in data(cache_images=True).train_dataloader()]
    assert fresh == kept
    monkeypatch.setattr(
        "unrolled.data.captioning.pictures.open_image", lambda *_: pytest.fail("was decoded again")
    )
    module = data(cache_images=True)
    assert [everything(batch) for batch in module.train_dataloader()] == kept
    travelled = pickle.loads(pickle.dumps(module.pictures("train")))
    assert torch.equal(travelled.read(0), module.pictures("train").read(0))
    assert len(pickle.dumps(module.pictures("train"))) < 3000


def test_real_photographs(shared_data, tmp_path):
    module = CaptionData(
        str(shared_data("coco_cc")), image_size=32, min_count=1, cache_dir=str(tmp_path)
    )
    assert [len(module.references(part)) for part in ("train", "val", "test")] == [70, 3, 3]
    seen = [number for batch in module.train_dataloader() for number in batch.number.tolist()]
    assert sorted(seen) == list(range(70))
