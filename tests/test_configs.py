"""Every configuration that ships: it trains, it is scored, and it says how it is called."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image
from unrolled.cli import main
from unrolled.data.video.clips.module import write_video

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
    if variant.startswith("char_lm/") and variant != "char_lm/default":
        text = folder / "text.txt"
        text.write_text("To be, or not to be: that is the question.\n" * 40)
        return ["--data.path", str(text)]
    if (
        variant.startswith("video/")
        and "SegmentationData" in (CONFIGS / f"{variant}.yaml").read_text()
    ):
        return ["--data.root", str(labelled_features(folder / "videos"))]
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
        return captioned_images(folder / "images", config["init_args"].get("layout"))
    return []


def labelled_videos(root: Path) -> Path:
    """Write ten videos with labels beside them."""
    root.mkdir()
    for number in range(10):
        pictures = np.full((12, 32, 32, 3), 20 * number, np.uint8)
        pictures[6:] += 50
        write_video(root / f"{number}.mp4", pictures)
        (root / f"{number}.csv").write_text("start,end,label\n0,6,dark\n6,12,light\n")
    return root


def parallel_text(folder: Path, *, whole: bool) -> list[str]:
    """Write ten sentences and translations a part; return the flags that name folder or files."""
    flags = ["--data.batch_tokens", "20"]
    for part, name in (("train", "train"), ("val", "val"), ("test", "test_2016_flickr")):
        for side, language, words in (
            ("source", "de", "eins zwei drei"),
            ("target", "en", "one two three"),
        ):
            path = folder / f"{name}.{language}"
            path.write_text("".join(f"{part} {words} {number}\n" for number in range(10)))
            flags += [] if whole else [f"--data.{part}_{side}", str(path)]
    return [*flags, "--data.root", str(folder)] if whole else flags


def small_model_of(variant: str) -> list[str]:
    """The flags that make a variant's model small, where its data don't."""
    if "TorchvisionBackbone" in (CONFIGS / f"{variant}.yaml").read_text():
        return [
            *("--model.encoder.backbone.name", "resnet18"),
            *("--model.encoder.backbone.weights", "none"),
        ]
    return []


def captioned_images(root: Path, layout: str | None) -> list[str]:
    """Write ten captioned images in a layout (none: a data set); return flags that name them."""
    root.mkdir()
    names = [f"{number}.png" for number in range(10)]
    texts = [f"A {'dark' if number < 5 else 'light'} image." for number in range(10)]
    for number, name in enumerate(names):
        Image.new("RGB", (40, 32), (number * 25,) * 3).save(root / name)
    parts = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    rows = list(zip(names, texts, parts, strict=True))
    flags = ["--data.image_size", "64", "--data.min_count", "1", "--data.num_workers", "0"]
    if layout is None:
        images = datasets.Dataset.from_dict(
            {"image": [str(root / name) for name in names], "caption": texts}
        )
        images.cast_column("image", datasets.Image()).save_to_disk(str(root / "saved"))
        return ["--data.dataset", str(root / "saved"), *flags]
    if layout == "flickr8k":
        (root / "Flickr8k.token.txt").write_text(
            "".join(f"{name}#0\t{text}\n" for name, text, _ in rows)
        )
        for part, listed in (("train", "train"), ("val", "dev"), ("test", "test")):
            ours = "".join(f"{name}\n" for name, _, where in rows if where == part)
            (root / f"Flickr_8k.{listed}Images.txt").write_text(ours)
    elif layout == "csv":
        (root / "captions.csv").write_text(
            "image,caption\n" + "".join(f"{name},{text}\n" for name, text, _ in rows)
        )
    elif layout == "jsonl":
        (root / "all.jsonl").write_text(
            "".join(json.dumps({"image": n, "caption": t}) + "\n" for n, t, _ in rows)
        )
    elif layout == "karpathy":
        images = [
            {"filename": name, "split": part, "sentences": [{"raw": text}]}
            for name, text, part in rows
        ]
        (root / "dataset_coco.json").write_text(json.dumps({"images": images}))
    else:
        for part, numbers in (("train", range(6)), ("val", range(6, 10))):
            images = [{"id": number, "file_name": names[number]} for number in numbers]
            captions = [{"image_id": number, "caption": texts[number]} for number in numbers]
            content = {"images": images, "annotations": captions}
            (root / f"captions_{part}2017.json").write_text(json.dumps(content))
    return ["--data.root", str(root), *flags]


def labelled_features(root: Path) -> Path:
    """Write ten short videos in the layout of MS-TCN."""
    for name in ("features", "groundTruth", "splits"):
        (root / name).mkdir(parents=True)
    (root / "mapping.txt").write_text("0 rest\n1 cut\n2 mix\n")
    for number in range(10):
        labels = (["rest"] * 5 + ["cut"] * (3 + number) + ["mix"] * 6) * 2
        np.save(
            root / "features" / f"v{number}.npy",
            np.random.default_rng(number).normal(size=(4, len(labels))),
        )
        (root / "groundTruth" / f"v{number}.txt").write_text("\n".join(labels))
        with (root / "splits" / f"{'test' if number > 7 else 'train'}.split1.bundle").open(
            "a"
        ) as file:
            file.write(f"v{number}.txt\n")
    return root


@pytest.mark.parametrize("variant", VARIANTS)
def test_trains_and_is_scored(variant, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    task = variant.partition("/")[0]
    data = data_of(variant, tmp_path)
    few = ["--trainer.accelerator", "cpu", "--trainer.limit_val_batches", "2"]
    steps = ["--trainer.max_steps", "3", "--trainer.val_check_interval", "3", "--name", "tried"]
    assert main(["fit", variant, *data, *SMALL[task], *small_model_of(variant), *few, *steps]) == 0
    checkpoint = str(tmp_path / "runs" / task / "tried" / "checkpoints" / "last.ckpt")
    sizes = SMALL[task][:4]  # the model's are in the checkpoint
    assert main(["validate", variant, *data, *sizes, *few, "--ckpt_path", checkpoint]) == 0
    assert "val/loss" in capsys.readouterr().out
    test = ["--data.test_fraction", "0.2"] if task == "char_lm" else []
    assert (
        main(
            [
                "test",
                variant,
                *data,
                *sizes,
                *test,
                "--trainer.limit_test_batches",
                "2",
                "--ckpt_path",
                checkpoint,
            ]
        )
        == 0
    )
    assert "test/loss" in capsys.readouterr().out


@pytest.mark.parametrize("variant", VARIANTS)
def test_says_what_it_is(variant):
    text = (CONFIGS / f"{variant}.yaml").read_text()
    assert text.startswith("# ")
    config = yaml.safe_load(text)
    assert config["data"]["class_path"].startswith("unrolled.data.")
    assert config["model"]["class_path"].startswith("unrolled.tasks.")
