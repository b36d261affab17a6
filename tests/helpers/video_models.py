"""Small tasks that label videos, and what they are trained on."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path

import torch
from corpora import learnable_videos, write_ms_tcn
from lightning.pytorch import Trainer
from unrolled.core import (
    GRU,
    LSTM,
    Bidirectional,
    RecurrentCore,
    Stacked,
    WeightDrop,
    Zoneout,
    discover_cores,
)
from unrolled.data.batch import VideoBatch
from unrolled.tasks import VideoLabelling, VideoModel

CLASSES = ["rest", "cut", "mix", "pour"]
SPEC = {"classes": CLASSES, "background": ["rest"], "feature_size": 5, "image_size": 0, "stride": 1}
PICTURES = {**SPEC, "feature_size": 0, "image_size": 8}
SMALL = partial(GRU, hidden_size=7)
BOTH_WAYS = partial(Bidirectional, core=SMALL)


def factory(name: str) -> partial[RecurrentCore]:
    compositions = {
        "Stacked": partial(
            Stacked, core=partial(LSTM, hidden_size=8), num_layers=2, residual=True, norm=True
        ),
        "WeightDrop": partial(WeightDrop, core=SMALL),
        "Zoneout": partial(Zoneout, core=SMALL),
    }
    return compositions.get(name) or partial(discover_cores()[name], hidden_size=8)


def plain_cores() -> list[str]:
    return [
        name
        for name, cls in discover_cores().items()
        if "core" not in inspect.signature(cls).parameters
    ]


CAUSAL = [*plain_cores(), "Stacked", "WeightDrop", "Zoneout"]


def make_task(core=SMALL, spec=SPEC, **settings) -> VideoLabelling:
    torch.manual_seed(0)
    return VideoLabelling(spec, core, **settings).eval()


def make_model(core=SMALL, spec=SPEC, **settings) -> VideoModel:
    torch.manual_seed(0)
    return VideoModel(spec, core, **settings).eval()


def batch_of(*lengths: int, first: bool = True, last: bool = True, seed: int = 0) -> VideoBatch:
    generator = torch.Generator().manual_seed(seed)
    target = torch.full((len(lengths), max(lengths)), -100)
    for row, length in enumerate(lengths):
        target[row, :length] = torch.randint(len(CLASSES), (length,), generator=generator)
    return VideoBatch(
        input=torch.randn(sum(lengths), 5, generator=generator),
        target=target,
        lengths=torch.tensor(lengths),
        first=torch.full((len(lengths),), first),
        last=torch.full((len(lengths),), last),
        name=tuple(f"video{row}" for row in range(len(lengths))),
    )


class Means(torch.nn.Module):
    """An encoder that notes how many pictures it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.output_size = 3
        self.seen = 0

    def forward(self, frames):
        assert frames.dtype == torch.uint8
        self.seen += len(frames)
        return frames.float().mean((2, 3)) / 255


def write_videos(folder: Path) -> None:
    """Write seven learnable videos in the layout of MS-TCN."""
    drawn = learnable_videos(7, segments=6, longest=5, features=5, noise=0.3, classes=CLASSES)
    write_ms_tcn(folder, drawn, test=["v5", "v6"], classes=CLASSES)


def save_model(path: Path, spec: dict, core=SMALL, **settings) -> None:
    """Save an untrained task as a checkpoint; its weights are large, so that labels differ."""
    task = make_task(core, spec, **settings)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter *= 3
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
