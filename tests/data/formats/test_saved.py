"""What the `datasets` library reads, damaged and planted: nothing else is read, nothing run."""

from __future__ import annotations

import json
import shutil

import pytest
from unrolled.data import CaptionData, ParallelData
from unrolled.data.formats.hub import batches, load_dataset
from unrolled.data.formats.objects import objects
from unrolled.errors import DataError, SetupError

datasets = pytest.importorskip("datasets")
TEXTS = [f"the sentence of number {number}" for number in range(40)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


def saved(folder):
    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(folder)
    return next(folder.glob("*.arrow"))


def texts(name, **settings):
    rows = load_dataset(str(name), None, "train", label="it", **settings)
    return [text for batch in batches(rows, "it", size=8) for text in batch["text"]]


def refused(name, said, **settings):
    with pytest.raises(DataError, match=said) as caught:
        texts(name, **settings)
    assert str(caught.value).count("\n") <= 1


OFFSETS = 0x7FFFFFF0.to_bytes(4, "little"), (-(2**31)).to_bytes(4, "little", signed=True)


@pytest.mark.parametrize("offset", OFFSETS, ids=["far", "negative"])
@pytest.mark.parametrize("streaming", [False, True])
def test_texts_that_lie_outside_of_their_file_end_in_a_line(tmp_path, offset, streaming):
    arrow = saved(tmp_path / "saved")
    content = arrow.read_bytes()
    length = len(TEXTS[0])
    begin = content.index(b"".join((length * n).to_bytes(4, "little") for n in range(4)))
    damaged = content[: begin + 32] + offset + content[begin + 36 :]
    arrow.write_bytes(damaged)
    refused(
        tmp_path / "saved",
        "it (is damaged|can't be loaded): .*(offset|Offset)",
        streaming=streaming,
    )
    shutil.copy(arrow, tmp_path / "one.arrow")
    refused(tmp_path / "one.arrow", "(offset|Offset)", streaming=streaming)


PICTURE = datasets.Features(
    {name: datasets.Value("string") for name in ("source", "target", "text")}
    | {"image": datasets.Image(), "more": [datasets.Image()]}
)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
MEDIA = [{"bytes": POSTSCRIPT, "path": None}, {"bytes": None, "path": "http://127.0.0.1:9/a.png"}]


@pytest.fixture(params=MEDIA, ids=["program", "address"])
def media(request, tmp_path, monkeypatch):
    """Return a Parquet file whose pictures, opened by the library, start something."""
    import PIL.Image

    def opened(*_, **__):
        raise AssertionError("the library opens pictures")

    monkeypatch.setattr(PIL.Image, "open", opened)
    row = {"source": "ein Hund", "target": "a dog", "text": "a", "image": request.param}
    rows = [row | {"more": [request.param]}] * 3
    table = datasets.table.InMemoryTable.from_pylist(rows, schema=PICTURE.arrow_schema)
    path = tmp_path / "media.parquet"
    import pyarrow.parquet

    pyarrow.parquet.write_table(table.table, path)
    return path


def test_no_picture_is_decoded_by_the_library(media):
    assert texts(media) == texts(media, streaming=True) == ["a"] * 3
    (_, first), *_ = objects(media, "it")
    assert first["image"].keys() == {"bytes", "path"} == first["more"][0].keys()
    data = ParallelData(train=str(media), kind="word")
    data.prepare_data()
    data.setup("fit")


def test_other_pictures_of_a_row_are_not_decoded(tmp_path, monkeypatch):
    from PIL import Image

    draw = [Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(8)]
    rows = {"image": draw, "caption": ["a dog"] * 8}
    made = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    bad = [{"bytes": POSTSCRIPT, "path": None}] * 8
    table = made.add_column("second", bad).cast_column("second", datasets.Image())
    table.save_to_disk(tmp_path / "saved")
    data = CaptionData(dataset=str(tmp_path / "saved"), min_count=1, image_size=16)
    data.prepare_data()
    data.setup("fit")
    assert next(iter(data.train_dataloader())).image.shape[1:] == (3, 16, 16)


def test_a_column_without_images_is_named(tmp_path):
    rows = {"image": [1.5, 2.5], "caption": ["a dog", "a cat"]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"'image' holds no images: .*--data\.image_column"):
        CaptionData(dataset=str(tmp_path / "saved"), min_count=1).prepare_data()


ELSEWHERE = ["../other/x.jsonl", "/tmp/x.jsonl", "http://127.0.0.1:9/x.jsonl", "~/x.jsonl"]


@pytest.mark.parametrize("name", [*ELSEWHERE, "zip://x.jsonl::a.zip", "C:\\x.jsonl", "..\\x.jsonl"])
@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
def test_a_card_that_names_files_elsewhere_is_refused(tmp_path, name, card):
    (tmp_path / "other").mkdir()
    (tmp_path / "set").mkdir()
    for folder in ("other", "set"):
        (tmp_path / folder / "x.jsonl").write_text('{"text": "a secret"}\n')
    paths = [{"split": "train", "path": ["x.jsonl", name]}]
    said = json.dumps({"configs": [{"config_name": "default", "data_files": paths}]})
    (tmp_path / "set" / card).write_text(f"---\n{said}\n---\n" if card == "README.md" else said)
    refused("set", "which lies elsewhere")
    refused("set", "which lies elsewhere", streaming=True)


@pytest.mark.parametrize("name", ["../good/{}", "{}/good/{}"])
def test_a_saved_folder_that_names_files_elsewhere_is_refused(tmp_path, name):
    arrow = saved(tmp_path / "good")
    saved(tmp_path / "set")
    state = json.loads((tmp_path / "set" / "state.json").read_text())
    elsewhere = name.format(arrow.name) if name.startswith("..") else str(arrow)
    state["_data_files"] = [{"filename": elsewhere}]
    (tmp_path / "set" / "state.json").write_text(json.dumps(state))
    refused("set", "state.json names .* which lies elsewhere")
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "dataset_dict.json").write_text('{"splits": ["../good"]}')
    refused("both", "dataset_dict.json names '../good', which lies elsewhere")


def test_what_is_wrong_is_said(tmp_path):
    datasets.Dataset.from_dict({"text": []}).save_to_disk(tmp_path / "none")
    refused("none", "it has no rows")
    (tmp_path / "header.csv").write_text("text\n")
    refused("header.csv", "it has no rows")
    (tmp_path / "empty.txt").write_text("")
    refused("empty.txt", "it is empty")
    (tmp_path / "cut.jsonl").write_text('{"text": "a"}\n{"text": "b')
    refused("cut.jsonl", "Missing a closing quotation mark")
    (tmp_path / "latin.csv").write_bytes(b"text\ncaf\xe9\n")
    refused("latin.csv", "can't decode byte 0xe9")
    saved(tmp_path / "state")
    (tmp_path / "state" / "state.json").write_text("[]")
    refused("state", "it is damaged, or of another version")


@pytest.mark.parametrize("name", ["./nowhere", "b.jsonl", "far/away/x"])
def test_a_path_that_is_not_there_is_asked_for_nowhere_else(tmp_path, monkeypatch, name):
    (tmp_path / "a.jsonl").write_text("")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked the hub"))
    refused(name, "does not exist")


def test_what_was_kept_of_a_folder_that_is_gone_is_told(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.jsonl").write_text('{"text": "old"}\n')
    assert texts("mine") == ["old"]
    shutil.rmtree(tmp_path / "mine")
    with pytest.warns(UserWarning, match="it: .*cached"):
        assert texts("mine") == ["old"]
    refused("never", "there is no file or folder of that name")


def test_a_cache_of_the_library_that_can_not_be_written_is_the_machines_fault(
    tmp_path, monkeypatch
):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file")
    with pytest.raises(SetupError, match=r"file: File exists\.\n.*HF_DATASETS_CACHE"):
        texts("a.jsonl")
