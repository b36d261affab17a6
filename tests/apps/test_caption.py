"""`unrolled caption`: from photographs to captions and pictures of the attention."""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from unrolled.apps.caption import _targets
from unrolled.cli import main
from unrolled.core import LSTM, ImageEncoder, SmallCNN
from unrolled.data import ScenesData
from unrolled.tasks import Captioning

SMALL = partial(ImageEncoder, backbone=partial(SmallCNN, channels=[4, 6, 8, 8]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint and some scenes as PNG."""
    folder = tmp_path_factory.mktemp("caption")
    data = ScenesData(4, 1, test_size=3, cache_dir=str(folder / "cache"))
    torch.manual_seed(0)
    model = Captioning(
        data.spec, SMALL, partial(LSTM, hidden_size=10), embedding_size=6, max_length=8
    )
    with torch.no_grad():
        for parameter in model.parameters():  # sharp enough for captions to differ
            parameter *= 3
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(folder / "model.ckpt")
    pictures = data.pictures("test")
    for number in range(3):
        place = folder / "scenes" / ("deep" if number == 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures.read(number).permute(1, 2, 0).numpy()).save(
            place / f"{number}.png"
        )
    return folder


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """A copy of the folder, as the working directory."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_and_a_file_are_captioned_line_by_line(here, capsys):
    assert main(["caption", "model.ckpt", "scenes", "scenes/1.png", "--beam_size", "2"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == [
        "scenes/0.png",
        "scenes/1.png",
        "scenes/deep/2.png",
        "scenes/1.png",
    ]
    assert lines[1] == lines[3]
    assert all(len(line) == 2 for line in lines)
    assert main(["caption", "model.ckpt", "scenes", "--batch_size", "1", "--beam_size", "2"]) == 0
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()] == lines[:3]


def test_scores_and_several_captions(here, capsys):
    command = [
        *("caption", "model.ckpt", "scenes/0.png", "--beam_size", "3", "--nbest", "2"),
        *("--scores", "true"),
    ]
    assert main(command) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [len(line) for line in lines] == [3, 3]
    assert float(lines[0][1]) >= float(lines[1][1])


def test_a_bad_image_is_named_and_the_rest_captioned(here, capsys):
    (here / "scenes/bad.png").write_bytes((here / "scenes/0.png").read_bytes()[:90])
    (here / "scenes/empty.jpg").touch()
    assert main(["caption", "model.ckpt", "scenes", "gone.jpg", "--batch_size", "2"]) == 3
    found = capsys.readouterr()
    assert len(found.out.splitlines()) == 3
    assert "'scenes/bad.png' is damaged" in found.err
    assert "'scenes/empty.jpg' is empty" in found.err
    assert "'gone.jpg' does not exist" in found.err
    assert "3 of 6 image(s) could not be captioned; the others are captioned." in found.err


@pytest.mark.parametrize(
    ("words", "code", "answer"),
    [
        (["model.ckpt"], 2, "Missing: files."),
        (["no.ckpt", "scenes"], 3, "There is no checkpoint 'no.ckpt'."),
        (["model.ckpt", "nothing"], 3, "'nothing' is a folder without images"),
        (["model.ckpt", "scenes", "--batch_size", "0"], 2, "--batch_size 0: must be at least 1."),
        (
            ["model.ckpt", "scenes", "--nbest", "3", "--beam_size", "2"],
            2,
            "num_hypotheses=3: must be",
        ),
        (["model.ckpt", "scenes", "--attention", "scenes/0.png"], 2, "can't be made a folder"),
        (["model.ckpt", "scenes", "--beam", "2"], 2, "There is no flag '--beam'."),
    ],
)
def test_mistakes(here, capsys, words, code, answer):
    (here / "nothing").mkdir()
    assert main(["caption", *words]) == code
    assert answer in capsys.readouterr().err


def test_pictures_of_the_attention_overwrite_no_image_and_no_other(here, capsys):
    before = (here / "scenes/0.png").read_bytes()
    assert main(["caption", "model.ckpt", "scenes/0.png", "--attention", "scenes"]) == 2
    assert (
        "would overwrite 'scenes/0.png', an image to caption: name another folder."
        in capsys.readouterr().err
    )
    assert (here / "scenes/0.png").read_bytes() == before
    for name in ("0.png", "0_2.png"):
        shutil.copy(here / "scenes/1.png", here / "scenes/deep" / name)
    targets = _targets(
        [Path("scenes/0.png"), Path("scenes/deep/0.png"), Path("scenes/deep/0_2.png")], "out"
    )
    assert len(set(targets.values())) == 3


def test_from_photographs_to_pictures_of_the_attention(shared_data, tmp_path, monkeypatch, capsys):
    photographs = shared_data("coco_cc")
    monkeypatch.chdir(tmp_path)
    fit = [
        *("fit", "captioning/coco", "--name", "tried", "--data.root", str(photographs)),
        *("--data.image_size", "64", "--data.batch_size", "16", "--data.num_workers", "0"),
        *("--data.min_count", "1"),
        *("--data.val_fraction", "0.1", "--data.test_fraction", "0", "--trainer.max_steps", "2"),
        *("--trainer.accelerator", "cpu", "--model.encoder.backbone", "SmallCNN"),
        *("--model.encoder.backbone.channels", "[4,6,8]", "--model.decoder.hidden_size", "8"),
        *("--model.embedding_size", "8", "--model.max_length", "7"),
    ]
    assert main(fit) == 0
    capsys.readouterr()
    photo = min((photographs / "images").glob("*.jpg"))
    assert (
        main(
            [
                "caption",
                "runs/captioning/tried",
                str(photo),
                "--attention",
                "out",
                "--beam_size",
                "2",
            ]
        )
        == 0
    )
    path, caption = capsys.readouterr().out.rstrip("\n").split("\t")
    assert Path(path) == photo
    with Image.open(Path("out") / f"{photo.stem}.png") as sheet:
        assert sheet.format == "PNG"
        columns, rows = min(4, len(caption.split()) + 1), -(-(len(caption.split()) + 1) // 4)
        assert sheet.width == 1000
        assert sheet.height > rows * 900 / columns
        assert np.asarray(sheet.convert("RGB")).std() > 10


def test_images_come_through_pipes_and_standard_input_too(here, capsys, monkeypatch):
    assert main(["caption", "model.ckpt", "scenes/0.png"]) == 0
    expected = capsys.readouterr().out.partition("\t")[2]
    content = Path("scenes/0.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["caption", "model.ckpt", "-", "--attention", "drawn"]) == 0
    assert capsys.readouterr().out == f"-\t{expected}"
    assert Path("drawn/-.png").is_file()
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(content), daemon=True)
    writer.start()
    assert main(["caption", "model.ckpt", "pipe"]) == 0
    assert capsys.readouterr().out == f"pipe\t{expected}"
    assert main(["caption", "model.ckpt", "https://a.b/c.jpg"]) == 2
    assert "'https://a.b/c.jpg' is an address" in capsys.readouterr().err


def test_images_are_known_by_what_they_are_and_others_are_named(here, capsys):
    (here / "scenes" / "0.png").rename(here / "scenes" / "photo one")
    (here / "scenes" / "1.png").rename(here / "scenes" / "1.PNG")
    (here / "scenes" / "notes.txt").write_text("words")
    (here / "scenes" / ".hidden.png").write_bytes(b"nothing")
    assert main(["caption", "model.ckpt", "scenes"]) == 0
    out, err = capsys.readouterr()
    names = [line.partition("\t")[0] for line in out.splitlines()]
    assert names == ["scenes/1.PNG", "scenes/deep/2.png", "scenes/photo one"]
    assert "1 file of 'scenes' left out, no images: notes.txt." in err
