"""Core x task: every core in all four tasks, on the data that every machine has.

The four default configurations, each with one core exchanged and its hidden size kept: the language
model's core, encoder and decoder of translation, the decoder of captions, the layers of the video
labeller. Every cell trains for the same CPU seconds on one thread, with the same seed, schedule
and batches, and is validated with its averaged weights: bits per character, the loss of a subword
and of a caption's word in nats (less is better), and the accuracy of frames in percent. A line a
core, printed when it is done; seconds are few, so a cell says how fast a core learns here and not
what it can learn.

    python benchmarks/results.py --seconds 20
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from char_lm_cores import train_for
from lightning.pytorch import LightningDataModule, seed_everything
from measure import head, introduce, line, one_thread, parser, single_layers
from unrolled.core import Bidirectional, FrameEncoder, ImageEncoder, SmallCNN, Stacked
from unrolled.core.recurrent import RecurrentCore
from unrolled.data import CLDRData, ClipsData, ScenesData, TextData
from unrolled.tasks import Captioning, CharLM, Translation, VideoLabelling
from unrolled.tasks.base import Task
from unrolled.tasks.schedules import WarmupCosine

Core = type[RecurrentCore]


class Setting(NamedTuple):
    """A task of the table.

    Attributes:
        data: Makes its data.
        task: Makes the task of a spec, a core and what all tasks are given.
        metric: What is reported of validation.
        shown: Writes it.
        lr: Of AdamW.
    """

    data: Callable[[], LightningDataModule]
    task: Callable[..., Task]
    metric: str
    shown: Callable[[float], str]
    lr: float = 0.003


def char_lm(spec: dict, core: Core, **common) -> Task:
    """Return the language model of `char_lm/default`."""
    made = partial(core, hidden_size=256)
    return CharLM(spec, made, embedding_size=64, output_dropout=0.1, **common)


def translation(spec: dict, core: Core, **common) -> Task:
    """Return the translator of `translation/default`."""
    encoder = partial(Bidirectional, core=partial(core, hidden_size=128))
    return Translation(spec, encoder, partial(core, hidden_size=256), **common)


def captioning(spec: dict, core: Core, **common) -> Task:
    """Return the captioner of `captioning/default`."""
    backbone = partial(SmallCNN, channels=(16, 32, 64, 96), blocks=(0, 0, 0, 3))
    return Captioning(
        spec,
        partial(ImageEncoder, backbone=backbone),
        partial(core, hidden_size=128),
        embedding_size=64,
        input_feeding=False,
        length_penalty=0.0,
        **common,
    )


def video(spec: dict, core: Core, **common) -> Task:
    """Return the labeller of `video/default`."""
    layers = partial(Stacked, num_layers=3, residual=True, norm=True)
    encoder = partial(FrameEncoder, backbone=partial(SmallCNN, channels=(8, 16, 32)), places=3)
    return VideoLabelling(
        spec,
        partial(layers, core=partial(core, hidden_size=128)),
        encoder=encoder,
        projection_size=64,
        output_dropout=0.2,
        **common,
    )


def nats(value: float) -> str:
    """Write a loss."""
    return f"{value:.3f}"


def percent(value: float) -> str:
    """Write a metric that is in percent already."""
    return f"{value:.1f}"


SETTINGS = {
    "char_lm": Setting(
        lambda: TextData(batch_size=32, chunk_length=64),
        char_lm,
        "val/bits_per_character",
        lambda bits: f"{bits:.2f}",
        0.005,
    ),
    "translation": Setting(lambda: CLDRData(batch_size=64), translation, "val/loss", nats),
    "captioning": Setting(
        lambda: ScenesData(40_000, batch_size=64, captions_per_image=2),
        captioning,
        "val/loss",
        nats,
    ),
    "video": Setting(lambda: ClipsData(batch_size=1), video, "val/accuracy", percent),
}


def score(name: str, core: Core, seconds: float, seed: int, batches: int) -> float:
    """Train a cell of the table and return its metric.

    Args:
        name: The task.
        core: The core.
        seconds: CPU seconds of training.
        seed: Of weights and order.
        batches: Batches of validation at most.
    """
    setting = SETTINGS[name]
    seed_everything(seed, verbose=False)
    data = setting.data()
    task = setting.task(
        data.spec,
        core,
        optimizer=partial(torch.optim.AdamW, lr=setting.lr),
        lr_scheduler=WarmupCosine,
    )
    scores, _ = train_for(seconds, task, data, 0.99, limit_val_batches=batches)
    return scores[setting.metric]


def main() -> None:
    """Print the table."""
    cores = single_layers()
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=20, help="CPU seconds of each cell")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--batches", type=int, default=10, help="batches of validation at most")
    options.add_argument("--cores", nargs="+", choices=sorted(cores), default=sorted(cores))
    options.add_argument("--tasks", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    arguments = options.parse_args()
    one_thread()
    torch.set_flush_denormal(True)
    introduce(f"{arguments.seconds:g} CPU seconds a cell, one thread, seed {arguments.seed}")
    metrics = (SETTINGS[name].metric[4:].replace("_", " ") for name in arguments.tasks)
    head(
        "core",
        *(f"{name}, {metric}" for name, metric in zip(arguments.tasks, metrics, strict=True)),
    )
    for core in arguments.cores:
        found = [
            SETTINGS[name].shown(
                score(name, cores[core], arguments.seconds, arguments.seed, arguments.batches)
            )
            for name in arguments.tasks
        ]
        line(core, *found)


if __name__ == "__main__":
    main()
