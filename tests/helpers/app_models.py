"""A folder with a small model of each task, and inputs for them, good and bad."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from caption_models import make_data, make_task
from lightning.pytorch import Trainer
from PIL import Image
from unrolled.core import GRU
from unrolled.data.tokenizer import Subwords
from unrolled.tasks import CharLM, Translation, VideoLabelling

SPEC = {"background": [], "feature_size": 3, "image_size": 0, "stride": 1}
PICTURES = ["a.png", "b.png", "c.png"]
SOURCES = ["ein hund", "zwei hunde laufen", "ein mann sieht einen hund"]
TARGETS = ["a dog", "two dogs run", "a man sees a dog"]


def save(task, path: Path) -> None:
    with torch.no_grad():
        for parameter in task.parameters():  # sharp enough to say several things
            parameter *= 3
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)


def write_models(folder: Path) -> None:
    """Write `lm.ckpt`, `translation.ckpt`, `caption.ckpt`, `video.ckpt`, and what they read."""
    torch.manual_seed(0)
    vocabulary = {"kind": "characters", "symbols": "abc \t\n"}
    save(CharLM({"vocabulary": vocabulary}, partial(GRU, hidden_size=6)), folder / "lm.ckpt")
    save(make_task(make_data(str(folder))), folder / "caption.ckpt")
    video = VideoLabelling({**SPEC, "classes": ["x", "y\t", "z"]}, partial(GRU, hidden_size=6))
    save(video, folder / "video.ckpt")
    draw = np.random.default_rng(0)
    for name in PICTURES:
        Image.fromarray(draw.integers(0, 255, (30, 40, 3), np.uint8)).save(folder / name)
        np.save(folder / name.replace("png", "npy"), 3 * draw.normal(size=(3, 20)))
    (folder / "bad.png").write_bytes((folder / "a.png").read_bytes()[:90])
    (folder / "bad.npy").write_bytes((folder / "a.npy").read_bytes()[:90])
    (folder / "nothing").mkdir()
    torch.manual_seed(0)
    words = Subwords.train([*SOURCES, *TARGETS], size=60).to_spec()
    spec = {"source": words, "target": words, "joint": True}
    cores = partial(GRU, hidden_size=6), partial(GRU, hidden_size=8)
    save(Translation(spec, *cores, embedding_size=5), folder / "translation.ckpt")
