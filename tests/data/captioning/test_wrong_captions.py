"""Everything that is wrong with captions and images is named, or left out where asked for."""

from __future__ import annotations

import csv
import json
import shutil
import warnings

import pytest
from corpora import (
    IMAGES,
    captions_of,
    coco,
    damage_image,
    draw_images,
    numbers_in,
    write_csv,
    write_karpathy,
)
from unrolled.data import CaptionData
from unrolled.data.captioning.entries import Entry
from unrolled.data.captioning.files import read_captions
from unrolled.errors import DataError, UsageError

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
    assert left == {text for number in (0, 1, 2, 4, 7, 8, 9) for text in captions_of(number)}


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
    (tmp_path / "far").mkdir()
    shutil.move(tmp_path / "images", tmp_path / "far" / "elsewhere")
    with pytest.raises(
        DataError, match=r"None of the 10 images that 'captions.csv' names, as '0.jpg', is in"
    ):
        data().references("train")
    with pytest.raises(DataError, match="'absent' is no folder"):
        data(image_dir="absent").references("train")
    assert data(image_dir=str(tmp_path / "far" / "elsewhere")).references("train")


def test_a_changed_image_is_looked_at_again(tmp_path, data):
    write_csv(tmp_path)
    assert data().references("train")
    (tmp_path / "images" / "2.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2.jpg' is no image of a kind"):
        data().references("train")
    draw_images(tmp_path / "images")
    assert data().references("train")


def test_an_image_without_captions_is_named_and_left_out(tmp_path, data):
    draw_images(tmp_path)
    rows = [
        {"image": name, "caption": captions_of(n) if n != 4 else [" "]}
        for n, name in enumerate(IMAGES)
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    module = data()
    with pytest.warns(
        UserWarning, match=r"1 image\(s\) in 'all.jsonl' have no caption and are left out:\n  4.jpg"
    ):
        sizes = [len(module.references(part)) for part in ("train", "val", "test")]
    assert sum(sizes) == 9
    assert all(4 not in numbers_in(batch) for batch in module.train_dataloader())


def test_images_that_no_caption_names_are_counted_and_named(tmp_path, data, caplog):
    write_csv(tmp_path)
    for name in ("other.JPG", "another.png", ".hidden.jpg", "notes.txt"):
        (tmp_path / "images" / name).write_bytes(b"")
    with caplog.at_level("INFO"):
        assert data().references("train")
    assert (
        "2 image(s) beside those that 'captions.csv' names are left alone: another.png, other.JPG"
        in caplog.text
    )


def test_nothing_with_a_caption_is_an_error(tmp_path, data):
    draw_images(tmp_path)
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
        ("captions.txt", b"image,caption\n0.jpg,caf\xe9\n", r"captions.txt', line 2 is not UTF-8"),
        (
            "notes.txt",
            "nothing",
            r"whose name is known\. If .notes.txt. is one, .* Expected is\n  flickr8k: .*\n  csv: ",
        ),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path, data, name, content, message):
    draw_images(tmp_path)
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
        DataError,
        match=r"but captions.csv of the layout csv, .*: --data.layout csv or karpathy\)."
        r" Expected is\n  jsonl: ",
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
    name, folders, entries, _ = read_captions(tmp_path, "auto")
    assert folders == [tmp_path]
    assert name == "'train.jsonl', 'val.jsonl'"
    assert [entry.part for entry in entries] == ["train", "val"]


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
    with pytest.raises(UsageError, match=r"cache_views is 4: .*Give both, or leave"):
        data(cache_features=True, cache_views=4)
    with pytest.raises(UsageError, match="cache_views is 4: views are kept with cache_features"):
        data(cache_views=4, random_flip=True)
    with pytest.raises(UsageError, match="cache_views is 0; it has to be at least 1"):
        data(cache_views=0)
    with pytest.raises(UsageError, match="image_size is 0; it has to be at least 1"):
        data(image_size=0)


@pytest.mark.parametrize("cache_images", [False, True])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_or_left_out(tmp_path, data, cache_images, workers):
    write_csv(tmp_path)
    damage_image(tmp_path / "images" / "3.jpg")
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
            captions_of(number) for number in numbers_in(batch)
        ]
        assert len(batch.caption) == 2 * len(batch.number)
