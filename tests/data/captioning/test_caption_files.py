"""Caption files as people have them, and images that lie, or are called, a little otherwise."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest
from corpora import IMAGES, captions_of, draw_images
from unrolled.data import CaptionData
from unrolled.data.captioning.files import read_captions
from unrolled.errors import DataError

CAPTIONS = {name: captions_of(number) for number, name in enumerate(IMAGES)}
ROWS = [(name, text) for name, texts in CAPTIONS.items() for text in texts]
OBJECTS = [{"image": name, "captions": texts} for name, texts in CAPTIONS.items()]


def lines(rows, separator) -> str:
    return "".join(separator.join(row) + "\n" for row in rows)


FORMS = {
    # Kaggle's Flickr30k
    "results.csv": lines(
        [("image_name", " comment_number", " comment"), *((n, " 0", f" {c}") for n, c in ROWS)],
        "|",
    ),
    "captions.txt": lines([("image", "caption"), *ROWS], "\t"),
    "captions.csv": "\ufeff"
    + lines([("ID", "Image Name", "Caption", ""), *(("7", *row, "") for row in ROWS)], ";").replace(
        "\n", "\r\n"
    ),
    "captions.tsv": lines(ROWS, "\t"),
    "metadata.csv": lines([("file_name", "text"), *((n, f'"{c}"') for n, c in ROWS)], ","),
    # the captions of an image as a list in one column
    "results.tsv": lines(
        [("raw", "filename"), *((json.dumps(texts), name) for name, texts in CAPTIONS.items())],
        "\t",
    ),
    "captions.json": json.dumps(CAPTIONS),
    "annotations.json": json.dumps(OBJECTS),
    "metadata.json": json.dumps({"info": {}, "annotations": OBJECTS}),
    "dataset.json": json.dumps(
        {
            "images": [
                {
                    "filename": name,
                    "split": "train",
                    "sentences": [{"tokens": text.split()} for text in texts],
                }
                for name, texts in CAPTIONS.items()
            ]
        }
    ),
    "rows.ndjson": "".join(json.dumps(row) + "\n" for row in OBJECTS),
}


def found(root, **settings) -> dict[str, list[str]]:
    entries = read_captions(root, "auto", **settings).entries
    return {entry.image: list(entry.captions) for entry in entries}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_the_same(tmp_path, name):
    (tmp_path / name).write_text(FORMS[name], encoding="utf-8", newline="")
    assert found(tmp_path) == CAPTIONS
    assert found(tmp_path / name) == CAPTIONS


@pytest.mark.parametrize("name", ["results.csv", "captions.json", "rows.ndjson"])
def test_compressed_forms(tmp_path, name):
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(FORMS[name].encode()))
    assert found(tmp_path) == CAPTIONS


def test_parts_by_files_folders_and_keys(tmp_path):
    for part in ("train", "val", "test"):
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / f"{part}.csv").write_text(f"image,caption\n{part}.jpg,A dog\n")
        (tmp_path / "folders" / part).mkdir(parents=True)
        (tmp_path / "folders" / part / "metadata.csv").write_text("file_name,text\n1.jpg,A dog\n")
    (tmp_path / "keys").mkdir()
    parts = {part: {f"{part}.jpg": ["A dog"]} for part in ("train", "val", "test")}
    (tmp_path / "keys" / "captions.json").write_text(json.dumps(parts))
    for folder in ("files", "folders", "keys"):
        entries = read_captions(tmp_path / folder, "auto").entries
        assert sorted(entry.part for entry in entries) == ["test", "train", "val"]
    assert {entry.image for entry in read_captions(tmp_path / "folders", "auto").entries} == {
        "train/1.jpg",
        "val/1.jpg",
        "test/1.jpg",
    }


def test_what_was_understood_is_said(tmp_path):
    (tmp_path / "results.csv").write_text(FORMS["results.csv"])
    (told,) = read_captions(tmp_path, "auto").told
    assert "bars between columns, a header" in told
    assert "image is column 1 'image_name', caption is column 3 'comment'" in told
    assert "left alone: comment_number" in told


def test_a_header_that_does_not_fit_is_no_data_and_can_be_explained(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text(lines([("datei", "satz", "foto"), *(("x", f'"{c}"', n) for n, c in ROWS)], ","))
    with pytest.raises(DataError, match=r"found 'datei,satz,foto' .*\n.*--data.columns image=1"):
        found(tmp_path)
    assert found(tmp_path, columns="image=foto,caption=2") == CAPTIONS
    with pytest.raises(DataError, match=r"no column 'fotos' for the image.* Did you mean 'foto'"):
        found(tmp_path, columns="image=fotos,caption=2")
    path.write_text("caption,image\nA dog, a cat,0.jpg\n")
    with pytest.raises(DataError, match="line 2: expected 2 columns, found 3"):
        found(tmp_path)
    path.write_text("image,caption,text\n0.jpg,a,b\n")
    assert found(tmp_path) == {"0.jpg": ["a"]}
    path.write_text("image,image,caption\n0.jpg,1.jpg,b\n")
    with pytest.raises(DataError, match="2 columns that may be the image: image, image"):
        found(tmp_path)


def test_a_folder_of_the_datasets_library(tmp_path):
    (tmp_path / "metadata.csv").write_text(FORMS["metadata.csv"])
    rows = ({"file_name": name, "text": text} for name, text in ROWS)
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert found(tmp_path) == CAPTIONS
    assert "metadata.csv' is left alone" in read_captions(tmp_path, "auto").told[0]


def test_a_list_of_images_without_captions(tmp_path):
    images = [{"id": n, "file_name": name} for n, name in enumerate(IMAGES)]
    (tmp_path / "image_info_test2017.json").write_text(json.dumps({"images": images}))
    assert found(tmp_path) == {name: [] for name in IMAGES}


def write(root, names) -> None:
    rows = [("image", "caption"), *((name, captions_of(n)[0]) for n, name in enumerate(names))]
    (root / "captions.csv").write_text(lines(rows, ","))


@pytest.mark.parametrize("form", ["absolute", "elsewhere", "stem", "blank", "capitals", "windows"])
def test_images_by_names_of_every_kind(tmp_path, data, form):
    folder = tmp_path / "images"
    draw_images(folder)
    names = {
        "absolute": [str(folder / name) for name in IMAGES],
        "elsewhere": [f"/home/somebody/coco/{name}" for name in IMAGES],  # of another machine
        "stem": [name.removesuffix(".jpg") for name in IMAGES],
        "blank": [f"my dog {name}" for name in IMAGES],
        "capitals": [name.upper() for name in IMAGES],
        "windows": [f"images\\{name}" for name in IMAGES],
    }[form]
    if form == "blank":
        for name, new in zip(IMAGES, names, strict=True):
            (folder / name).rename(folder / new)
    write(tmp_path, names)
    assert len(data(val_fraction=0, test_fraction=0).references("train")) == 10


def test_images_one_folder_deeper(tmp_path, data):
    draw_images(tmp_path / "images" / "train")
    write(tmp_path, IMAGES)
    module: CaptionData = data(val_fraction=0, test_fraction=0)
    assert len(module.references("train")) == 10
    # which of two is meant is not guessed
    shutil.copytree(tmp_path / "images" / "train", tmp_path / "images" / "val")
    with pytest.raises(DataError, match=r"'0.jpg': may be '.*train/0.jpg' or '.*val/0.jpg'"):
        data().references("train")


@pytest.mark.parametrize(
    ("text", "units", "kind", "known"),
    [
        ("一只棕色的狗在草地上跑。", None, "bpe", 12),
        ("สุนัขวิ่งในสวน", None, "bpe", 11),
        ("A brown dog runs.", None, "word", 4),
        ("कुत्ता दौड़ रहा है।", None, "word", 4),
        ("A dog", "characters", "bpe", 5),  # the space is one
        ("A dog a dog", "subwords", "bpe", None),
        ("一只 狗", "words", "word", 2),
    ],
)
def test_the_units_fit_the_script(tmp_path, caplog, text, units, kind, known):
    draw_images(tmp_path / "images")
    rows = [{"image": name, "caption": text} for name in IMAGES]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    module = CaptionData(
        str(tmp_path), units=units, min_count=2, image_size=8, cache_dir=str(tmp_path / "cache")
    )
    with caplog.at_level("INFO"):
        vocabulary = module.vocabulary
    assert vocabulary.kind == kind
    assert ("character by character" in caplog.text) == (units is None and kind == "bpe")
    if known is not None:
        assert vocabulary.size == 4 + known
    learnt = module.learnt(text).lower()
    assert vocabulary.decode(vocabulary.encode_batch([learnt])[0]) == learnt
