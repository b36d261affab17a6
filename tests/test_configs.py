"""Every configuration that ships: it trains, it is scored, and it says how it is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from corpora import (
    CAPTION_LAYOUTS,
    add_video,
    learnable_videos,
    save_captions,
    write_ms_tcn,
    write_pairs,
)
from unrolled.cli import main

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
VARIANTS = sorted(
    str(path.relative_to(CONFIGS).with_suffix(""))
    for path in CONFIGS.glob("*/*.yaml")
    if path.parent.name != "trainer"
)
# What makes a run small; the rest is as shipped.
SMALL = {
    "captioning": ["--data.batch_size", "2"],
    "char_lm": [
        *("--data.batch_size", "4", "--data.chunk_length", "8", "--model.core.hidden_size", "8"),
    ],
    "translation": [
        *("--data.vocabulary_size", "200", "--data.max_length", "50"),
        *("--model.embedding_size", "8"),
    ],
    "video": ["--data.batch_size", "2", "--data.num_workers", "0"],
}


def data_of(variant: str, folder: Path) -> list[str]:
    """The flags that name the data a variant needs; none for built-in data."""
    if variant == "char_lm/hello":
        return ["--data.text", "to be or not to be, that is the question\n" * 40]
    if variant.startswith("char_lm/") and variant != "char_lm/default":
        text = folder / "text.txt"
        text.write_text("To be, or not to be: that is the question.\n" * 40)
        return ["--data.path", str(text)]
    if (
        variant.startswith("video/")
        and "SegmentationData" in (CONFIGS / f"{variant}.yaml").read_text()
    ):
        return ["--data.root", str(labelled_features(folder / "videos"))]
    if variant == "video/pose":
        return ["--data.root", str(labelled_poses(folder / "poses"))]
    if variant == "video/default":
        return [
            *("--data.image_size", "16", "--data.train_clips", "6", "--data.val_clips", "2"),
            *("--data.test_clips", "2"),
        ]
    if variant.startswith("video/"):
        return ["--data.image_size", "16", "--data.root", str(labelled_videos(folder / "videos"))]
    if variant == "translation/default":
        return ["--data.num_sentences", "200", "--data.num_val", "20", "--data.num_test", "20"]
    if variant.startswith("translation/"):
        return parallel_text(folder, whole=variant == "translation/multi30k")
    if variant.startswith("captioning/"):
        config = yaml.safe_load((CONFIGS / f"{variant}.yaml").read_text())["data"]
        if config["class_path"].endswith(".ScenesData"):
            return ["--data.train_size", "40", "--data.val_size", "8", "--data.test_size", "8"]
        if config["class_path"].endswith(".CaptionFeatures"):
            return captioned_features(folder / "images")
        return captioned_images(folder / "images", config["init_args"].get("layout"))
    return []


def labelled_videos(root: Path) -> Path:
    """Write ten videos with labels beside them."""
    for number in range(10):
        add_video(root / f"{number}.mp4", seed=number)
    return root


def labelled_poses(root: Path) -> Path:
    """Write ten tables of poses as DeepLabCut does, with labels beside them."""
    root.mkdir()
    parts = ("nose", "tail")
    header = [
        ["scorer", *["net"] * 6],
        ["bodyparts", *[part for part in parts for _ in range(3)]],
        ["coords", *["x", "y", "likelihood"] * 2],
    ]
    for number in range(10):
        rows = [[t, 10 + t, 5, 1, 20 + t, 5 + number, 1] for t in range(12)]
        lines = (",".join(map(str, row)) + "\n" for row in [*header, *rows])
        (root / f"{number}DLC_net.csv").write_text("".join(lines))
        (root / f"{number}.csv").write_text("start,end,label\n0,5,walk\n5,12,rest\n")
    return root


def parallel_text(folder: Path, *, whole: bool) -> list[str]:
    """Write ten pairs a part, and return the flags that name the folder or its files."""
    flags = ["--data.batch_tokens", "20"]
    for part, name in (("train", "train"), ("val", "val"), ("test", "test_2016_flickr")):
        words = [(f"eins zwei drei {part} {n}", f"one two three {part} {n}") for n in range(10)]
        write_pairs(folder, name, words)
        for side, language in (("source", "de"), ("target", "en")):
            file = str(folder / f"{name}.{language}")
            flags += [] if whole else [f"--data.{part}_{side}", file]
    return [*flags, "--data.root", str(folder)] if whole else flags


def small_model_of(variant: str) -> list[str]:
    """The flags that make a variant's model small, where its data don't."""
    if "TorchvisionBackbone" in (CONFIGS / f"{variant}.yaml").read_text():
        return [
            *("--model.encoder.backbone.name", "mobilenet_v3_small"),
            *("--model.encoder.backbone.weights", "none"),
        ]
    return []


def captioned_images(root: Path, layout: str | None) -> list[str]:
    """Write ten images with captions in a layout (none: a data set); return the flags for them."""
    root.mkdir()
    flags = ["--data.image_size", "64", "--data.min_count", "1", "--data.num_workers", "0"]
    if layout is None:
        return ["--data.dataset", str(save_captions(root)), *flags]
    CAPTION_LAYOUTS[layout](root)
    return ["--data.root", str(root), *flags]


def captioned_features(root: Path) -> list[str]:
    """Write ten images' features with captions; return the flags for them."""
    (root / "features").mkdir(parents=True)
    for number in range(10):
        regions = np.full((1 + number % 3, 4), number, np.float32)
        np.save(root / "features" / f"{number}.npy", regions)
    lines = [f"{number}.jpg,a thing {number}\n" for number in range(10)]
    (root / "captions.csv").write_text("image,caption\n" + "".join(lines))
    return ["--data.root", str(root), "--data.min_count", "1"]


def labelled_features(root: Path) -> Path:
    """Write ten short videos in the layout of MS-TCN."""
    videos = learnable_videos(10, segments=6, longest=8, features=4, noise=1.0)
    return write_ms_tcn(root, videos, test=["v8", "v9"])


@pytest.mark.parametrize(
    ("variant", "tested"),
    [
        # the test part of each task in the ordinary run, that of each variant in the slow one
        pytest.param(variant, tested, marks=pytest.mark.slow if late else [])
        for variant in VARIANTS
        for tested, late in ((variant.endswith("/default"), False), (True, True))
        if not late or not variant.endswith("/default")
    ],
)
def test_trains_and_is_scored(variant, tested, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    task = variant.partition("/")[0]
    data = data_of(variant, tmp_path)
    few = ["--trainer.accelerator", "cpu", "--trainer.limit_val_batches", "2"]
    steps = ["--trainer.max_steps", "3", "--trainer.val_check_interval", "3", "--name", "tried"]
    assert main(["fit", variant, *data, *SMALL[task], *small_model_of(variant), *few, *steps]) == 0
    run = tmp_path / "runs" / task / "tried"
    assert "val/loss" in (run / "metrics.csv").read_text()
    if not tested:
        return
    given = [*data, *SMALL[task][:4]]  # the model's sizes are in the checkpoint
    given += ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), *few[:2]]
    if variant == f"{task}/default":
        assert main(["validate", variant, *given, *few[2:]]) == 0
        assert "val/loss" in capsys.readouterr().out
    given += ["--data.test_fraction", "0.2"] if task == "char_lm" else []
    assert main(["test", variant, *given, "--trainer.limit_test_batches", "2"]) == 0
    assert "test/loss" in capsys.readouterr().out


@pytest.mark.parametrize("variant", VARIANTS)
def test_says_what_it_is(variant):
    text = (CONFIGS / f"{variant}.yaml").read_text()
    assert text.startswith("# ")
    config = yaml.safe_load(text)
    assert config["data"]["class_path"].startswith("unrolled.data.")
    assert config["model"]["class_path"].startswith("unrolled.tasks.")
