"""Files as other tools write them: read rightly, or answered in two lines that say what to do."""

from __future__ import annotations

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from unrolled.data import CaptionData, ParallelData, TextData
from unrolled.data.video.annotations.reading import read_annotations
from unrolled.errors import DataError

DANCE = {"segment": [0.0, 3.0], "label": "Dance"}
LABELS = {
    "Audacity": ("a.txt", "0.000000\t1.500000\tdrink\n1.5\t3.25\teat\n", [(0, 1.5, "drink")]),
    "Audacity, with frequencies": (
        "a.txt",
        "0.000000\t1.500000\tdrink\n\\\t100.0\t2000.0\n1.5\t3.25\teat\n",
        [(0, 1.5, "drink"), (1.5, 3.25, "eat")],
    ),
    "JIGSAWS": ("a.txt", "30 120 G1 \n121 300 G5 \n", [(30, 120, "G1"), (121, 300, "G5")]),
    "Breakfast": ("a.txt", "1-30 SIL\n31-150 take_cup\n", [(1, 30, "SIL"), (31, 150, "take_cup")]),
    "ActivityNet": (
        "a.json",
        json.dumps({"version": "1.3", "database": {"v": {"annotations": [DANCE]}}}),
        [(0, 3, "Dance")],
    ),
    "EPIC-Kitchens": (
        "a.csv",
        "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
        "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class\n"
        "P01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3\n",
        [(0.14, 3.37, "open")],
    ),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_read(tmp_path, name):
    file, text, wanted = LABELS[name]
    (tmp_path / file).write_text(text)
    (found,) = read_annotations(tmp_path / file)
    assert [segment[:3] for segment in found.segments][: len(wanted)] == wanted


NOT_LABELS = {
    "Praat": ("a.TextGrid", 'File type = "ooTextFile"\nObject class = "TextGrid"\n', "start=tmin"),
    "SubRip": ("a.txt", "1\n00:00:00,000 --> 00:00:01,500\ndrink\n", "subtitles"),
    "WebVTT": ("a.csv", "WEBVTT\n\n00:00.000 --> 00:01.500\ndrink\n", "subtitles"),
    "CVAT": ("a.csv", "<annotations><version>1.1</version></annotations>", "XML"),
    "Label Studio": ("a.json", '[{"id": 1, "annotations": [], "data": {}}]', "Label Studio"),
    "LabelMe": ("a.json", '{"shapes": [], "imagePath": "a.jpg"}', "LabelMe"),
    "THUMOS": ("a.txt", "video_validation_0000266  72.8 76.4\n", "THUMOS"),
    "Charades": (
        "a.csv",
        "id,subject,actions,length\n46GP8,HR43,c092 11.90 21.20;c147 0.00 12.60,24.83\n",
        "Charades",
    ),
    "ActivityNet, damaged": (
        "a.json",
        json.dumps({"database": {"v": {"annotations": [{"segment": [3, 1], "label": "x"}]}}}),
        "no time lies",
    ),
}


def refused(call, said):
    with pytest.raises(DataError, match=said) as caught:
        call()
    assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize("name", NOT_LABELS)
def test_labels_that_are_not_read(tmp_path, name):
    file, text, said = NOT_LABELS[name]
    (tmp_path / file).write_text(text)
    refused(lambda: read_annotations(tmp_path / file), said)


PAIRS = {
    "Anki": ("a.txt", "#separator:tab\n#html:true\nder Hund\tdog\n", {}, [("der Hund", "dog")]),
    "Anki, with tags": (
        "a.txt",
        "#separator:tab\n#html:false\n#tags column:3\nHund\tdog\tA1\n",
        {"columns": "source=1,target=2"},
        [("Hund", "dog")],
    ),
    # "aa" and "run" are codes of languages as well
    "WikiPron": ("a.tsv", "aa\tɑ ː\nabc\ta b s\n", {}, [("aa", "ɑ ː"), ("abc", "a b s")]),
    "a list that begins with short words": (
        "a.tsv",
        "a\tə\n" + "abandon\tə b æ n d ə n\n" * 5,
        {},
        [("a", "ə"), ("abandon", "ə b æ n d ə n")],
    ),
    "SIGMORPHON": (
        "a.tsv",
        "run\trunning\tV;PTCP\nwalk\twalked\tV;PST\n",
        {"columns": "source=1,target=2"},
        [("run", "running")],
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_read(tmp_path, name):
    file, text, settings, wanted = PAIRS[name]
    (tmp_path / file).write_text(text, encoding="utf-8")
    pairs = ParallelData(train=str(tmp_path / file), **settings).pairs("train")
    assert list(pairs.read())[: len(wanted)] == wanted


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("cmudict.dict", "abase AH0 B EY1 S\n", "dictionary"),
        ("a.conllu", "# text = Hund\n1\tHund\tHund\n", "treebank"),
        ("a.srt", "1\n00:00:00,000 --> 00:00:01,500\nHallo\n", "subtitles"),
        ("a.po", 'msgid "dog"\nmsgstr "Hund"\n', "gettext"),
        ("a.xlf", "<xliff/>", "XLIFF"),
        ("a.apkg", "PK", "Notes in Plain Text"),
        ("a.tsv", "run\trunning\tV;PTCP\nwalk\twalked\tV;PST\n", "columns 1, 2, 3. Say which"),
        ("a.tsv", "deutsch\tEnglish\nHund\tdog\n", "expected the names of the columns"),
    ],
)
def test_pairs_that_are_not_read(tmp_path, file, text, said):
    (tmp_path / file).write_text(text)
    refused(lambda: ParallelData(train=str(tmp_path / file)).pairs("train"), said)


def coco(name, caption, **more):
    images = [{"id": 1, "file_name": name, **more}]
    return json.dumps({"images": images, "annotations": [{"image_id": 1, "caption": caption}]})


def textcaps(image, caption):
    row = {"image_id": image, "caption_str": caption, "image_path": f"train/{image}.jpg"}
    return {**row, "reference_strs": [caption, "more"], "set_name": "train"}


TEXTCAPS = json.dumps({"data": [textcaps("a", "a sign"), textcaps("b", "stop")]})
NARRATIVES = [{"dataset_id": "x", "image_id": name, "caption": f"{name} dog"} for name in "ab"]
CAPTIONS = {
    "VizWiz": (
        {
            "annotations/train.json": coco("a.jpg", "one"),
            "annotations/val.json": coco("b.jpg", "b"),
        },
        "",
        {"train": [("one",)], "val": [("b",)], "test": []},
    ),
    "nocaps": ({"nocaps_val_captions.json": coco("a.jpg", "one", coco_url="x")}, "", [("one",)]),
    "TextCaps": ({"TextCaps_0.1.json": TEXTCAPS}, "TextCaps_0.1.json", [("a sign",), ("stop",)]),
    "Localized Narratives": (
        {"x_captions.jsonl": "".join(json.dumps(row) + "\n" for row in NARRATIVES)},
        "",
        [("a dog",), ("b dog",)],
    ),
    "a column a caption": (
        {"captions.csv": "image,caption_1,caption_2,caption_3\na.jpg,one,two,\nb.jpg,4,5,6\n"},
        "",
        [("4", "5", "6"), ("one", "two")],
    ),
    "a key a caption": (
        {"a.jsonl": '{"image": "a.jpg", "caption_0": "one", "caption_1": "two"}\n'},
        "",
        [("one", "two")],
    ),
}


def folder(root, files):
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (8, 8)).save(root / name)
    for name, content in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_are_read(tmp_path, name):
    files, file, wanted = CAPTIONS[name]
    folder(tmp_path, files)
    data = CaptionData(str(tmp_path / file), cache_dir=str(tmp_path / "cache"))
    found = {part: data.references(part) for part in ("train", "val", "test")}
    if isinstance(wanted, dict):
        assert found == wanted
    else:
        assert sorted(text for texts in found.values() for text in texts) == wanted


def shard():
    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w") as archive:
        archive.addfile(tarfile.TarInfo("0.txt"), io.BytesIO(b""))
    return file.getvalue()


def parquet():
    rows = {"url": ["http://x/a.jpg"], "caption": ["a dog"], "key": ["0"]}
    pq.write_table(pa.table(rows), file := io.BytesIO())
    return file.getvalue()


URLS = "a bus station\thttp://lh6.example/x.jpg\na bank\thttp://ab.example/y.jpg\n"


@pytest.mark.parametrize(
    ("files", "file", "said"),
    [
        ({"Train_GCC-training.tsv": URLS}, "Train_GCC-training.tsv", "nothing is downloaded"),
        ({"00000.tar": shard()}, "", "Unpack them with tar"),
        ({"00000.tar": shard()}, "00000.tar", "Unpack them with tar"),
        ({"a.txt": "a dog"}, "", "texts beside images, as 'a.txt'"),
        ({"00000.parquet": parquet()}, "", "row 0: expected"),
    ],
    ids=["Conceptual Captions", "WebDataset", "a shard", "img2dataset", "img2dataset's table"],
)
def test_captions_that_are_not_read(tmp_path, files, file, said):
    folder(tmp_path, files)
    data = CaptionData(str(tmp_path / file), cache_dir=str(tmp_path / "cache"))
    refused(lambda: data.references("train"), said)


def test_texts_of_common_voice(tmp_path):
    rows = 'client_id\tpath\tsentence\nx\ta.mp3\tHe said "hello\ny\tb.mp3\tGood day\n'
    (tmp_path / "validated.tsv").write_text(rows)
    settings = {"dataset": str(tmp_path / "validated.tsv"), "cache_dir": str(tmp_path / "cache")}
    data = TextData(**settings, column="sentence")
    assert data.corpus.survey()["documents"] == 2
    assert data.corpus.survey()["symbols"] == len('He said "helloGood day')
    refused(lambda: TextData(**settings).spec, "choose with --data.column")
