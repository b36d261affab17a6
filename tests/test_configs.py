"""Every configuration that ships: it trains, it is scored, and it says how it is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from unrolled.cli import main

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
VARIANTS = sorted(
    str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.glob("*/*.yaml") if path.parent.name != "trainer"
)
# What makes a run small; the rest is as shipped.
SMALL = {
    "char_lm": ["--data.batch_size", "4", "--data.chunk_length", "8", "--model.core.hidden_size", "8"],
    "video": ["--data.batch_size", "2", "--data.num_workers", "0"],
}


def data_of(variant: str, folder: Path) -> list[str]:
    """The flags that name the data a variant needs; none for built-in data."""
    if variant.startswith("char_lm/") and variant != "char_lm/default":
        text = folder / "text.txt"
        text.write_text("To be, or not to be: that is the question.\n" * 40)
        return ["--data.path", str(text)]
    if variant.startswith("video/") and "SegmentationData" in (CONFIGS / f"{variant}.yaml").read_text():
        return ["--data.root", str(labelled_features(folder / "videos"))]
    return []


def labelled_features(root: Path) -> Path:
    """Write ten short videos in the layout of MS-TCN."""
    for name in ("features", "groundTruth", "splits"):
        (root / name).mkdir(parents=True)
    (root / "mapping.txt").write_text("0 rest\n1 cut\n2 mix\n")
    for number in range(10):
        labels = (["rest"] * 5 + ["cut"] * (3 + number) + ["mix"] * 6) * 2
        np.save(root / "features" / f"v{number}.npy", np.random.default_rng(number).normal(size=(4, len(labels))))
        (root / "groundTruth" / f"v{number}.txt").write_text("\n".join(labels))
        with (root / "splits" / f"{'test' if number > 7 else 'train'}.split1.bundle").open("a") as file:
            file.write(f"v{number}.txt\n")
    return root


@pytest.mark.parametrize("variant", VARIANTS)
def test_trains_and_is_scored(variant, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    task = variant.partition("/")[0]
    data = data_of(variant, tmp_path)
    few = ["--trainer.accelerator", "cpu", "--trainer.limit_val_batches", "2"]
    steps = ["--trainer.max_steps", "3", "--trainer.val_check_interval", "3", "--name", "tried"]
    assert main(["fit", variant, *data, *SMALL[task], *few, *steps]) == 0
    checkpoint = str(tmp_path / "runs" / task / "tried" / "checkpoints" / "last.ckpt")
    sizes = SMALL[task][:4]  # the model's are in the checkpoint
    assert main(["validate", variant, *data, *sizes, *few, "--ckpt_path", checkpoint]) == 0
    assert "val/loss" in capsys.readouterr().out
    test = ["--data.test_fraction", "0.2"] if task == "char_lm" else []
    assert (
        main(["test", variant, *data, *sizes, *test, "--trainer.limit_test_batches", "2", "--ckpt_path", checkpoint])
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
