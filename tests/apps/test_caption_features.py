"""`unrolled caption`: features instead of pictures, and lists of images."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from unrolled.cli import main
from unrolled.core import LSTM, RegionEncoder
from unrolled.data import CaptionFeatures, ScenesData
from unrolled.tasks import Captioning

SIZE = 4
RNG = np.random.default_rng(0)
ROWS = {f"im{n}": RNG.normal(size=(1 + n, SIZE)).astype(np.float32) for n in range(3)}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A model of features, features in three forms, a model of pictures, and a picture."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "features").mkdir()
    for name, rows in ROWS.items():
        np.save(tmp_path / "features" / f"{name}.npy", rows)
    np.savez(tmp_path / "all.npz", **ROWS)
    lines = "".join(f"{name}.jpg,a red box and {name}\n" for name in ROWS)
    (tmp_path / "captions.csv").write_text(f"image,caption\n{lines}")
    none = {"val_fraction": 0, "test_fraction": 0, "min_count": 1, "cache_dir": "cache"}
    data = CaptionFeatures(str(tmp_path), features="features", **none)
    save(data.spec, partial(RegionEncoder, output_size=8), "model.ckpt")
    pictures = ScenesData(4, 1, test_size=1, cache_dir="cache")
    save(pictures.spec, None, "pictures.ckpt")
    for name in (*ROWS, "other"):
        Image.new("RGB", (9, 9), "red").save(f"{name}.png")
    return tmp_path


def save(spec, encoder, name):
    torch.manual_seed(0)
    core = partial(LSTM, hidden_size=10)
    task = Captioning(spec, encoder, core, embedding_size=6, max_length=5)
    with torch.no_grad():
        for parameter in task.parameters():  # sharp enough for captions to differ
            parameter *= 3
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.strategy.connect(task)
    trainer.save_checkpoint(name)


def captions(capsys, *command: str) -> list[list[str]]:
    assert main(["caption", *command]) == 0
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


def test_files_a_folder_and_an_archive_are_captioned_alike(here, capsys):
    files = [f"features/{name}.npy" for name in ROWS]
    one_by_one = captions(capsys, "model.ckpt", *files, "--batch_size", "1", "--scores", "true")
    assert [row[0] for row in one_by_one] == files
    # padding does not count
    assert captions(capsys, "model.ckpt", "features", "--scores", "true") == one_by_one
    whole = captions(capsys, "model.ckpt", "all.npz", "--scores", "true")
    assert whole == [[name, *row[1:]] for name, row in zip(ROWS, one_by_one, strict=True)]


def test_a_database_and_one_array_of_all_images_are_captioned(here, capsys):
    lmdb = pytest.importorskip("lmdb")
    one_by_one = captions(capsys, "model.ckpt", "features", "--scores", "true")
    wanted = [[name, *row[1:]] for name, row in zip(ROWS, one_by_one, strict=True)]
    with lmdb.open("all.lmdb", map_size=1 << 24) as file, file.begin(write=True) as into:
        for name in ROWS:
            into.put(name.encode(), (here / f"features/{name}.npy").read_bytes())
    for path in ("all.lmdb", "all.lmdb/data.mdb"):
        assert captions(capsys, "model.ckpt", path, "--scores", "true") == wanted
    np.save("stack.npy", np.stack([rows[:1] for rows in ROWS.values()]))
    (here / "stack_ids.txt").write_text("\n".join(ROWS))
    found = captions(capsys, "model.ckpt", "stack.npy", "--scores", "true")
    assert [row[0] for row in found] == list(ROWS)
    assert found[0] == wanted[0]  # im0 has one row


@pytest.mark.parametrize(
    ("model", "file", "why"),
    [
        ("model.ckpt", "other.png", "which this model takes instead of pictures"),
        ("pictures.ckpt", "features/im0.npy", "holds features, and this model takes pictures"),
    ],
)
def test_the_other_kind_of_input_is_refused_in_a_line(model, file, why, here, capsys):
    assert main(["caption", model, file]) == 3
    assert why in capsys.readouterr().err


def test_features_of_another_size_are_refused(here, capsys):
    np.save("wide.npy", np.zeros((2, SIZE + 1), np.float32))
    assert main(["caption", "model.ckpt", "wide.npy"]) == 3
    assert "has 5 features a region" in capsys.readouterr().err


def test_attention_needs_pictures(here, capsys):
    assert main(["caption", "model.ckpt", "features", "--attention", "out"]) == 2
    assert "--attention draws on pictures" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["features", "pictures"])
def test_a_list_without_annotations_becomes_cocos_results(kind, here, capsys):
    names = [f"{name}.{'jpg' if kind == 'features' else 'png'}" for name in (*ROWS, "gone")]
    images = [{"id": 70 - n, "file_name": name} for n, name in enumerate(names)]
    (here / "image_info_test2014.json").write_text(json.dumps({"images": images}))
    model, place = ("model.ckpt", "features") if kind == "features" else ("pictures.ckpt", ".")
    command = ["caption", model, "image_info_test2014.json", "--images", place, "--format", "coco"]
    assert main([*command, "--min_length", "2", "--out", "results.json"]) == 3
    said = capsys.readouterr().err
    assert "gone" in said
    assert "1 of 4 image(s) could not be captioned; the others are captioned" in said
    results = json.loads((here / "results.json").read_text())
    assert {one["image_id"] for one in results} == {70, 69, 68}
    assert all(one.keys() == {"image_id", "caption"} and one["caption"] for one in results)


def test_names_as_ids_stay_in_cocos_results(here, capsys):
    """pycocotools looks for each `image_id` among the annotations' as it stands there."""
    images = [{"id": f"img-{name}", "file_name": f"{name}.jpg"} for name in ROWS]
    (here / "val.json").write_text(json.dumps({"images": images, "annotations": []}))
    command = ["caption", "model.ckpt", "val.json", "--images", "all.npz", "--format", "coco"]
    assert main([*command, "--out", "results.json"]) == 0
    assert "3 of 3 images have names as ids, as 'img-im0', which stay" in capsys.readouterr().err
    results = json.loads((here / "results.json").read_text())
    assert [one["image_id"] for one in results] == [image["id"] for image in images]


@pytest.mark.parametrize(
    "command",
    [["plot", "attention", "model.ckpt", "other.png"], ["export", "model.ckpt", "--out", "onnx"]],
)
def test_what_needs_pictures_says_so(command, here, capsys):
    assert main(command) == 2
    assert "features" in capsys.readouterr().err


def test_cocos_results_need_numbers(here, capsys):
    assert main(["caption", "model.ckpt", "features", "--format", "coco"]) == 2
    assert "needs the images' numbers" in capsys.readouterr().err


def test_images_without_a_list_are_refused(here, capsys):
    assert main(["caption", "model.ckpt", "features", "--images", "features"]) == 2
    assert "give one" in capsys.readouterr().err
