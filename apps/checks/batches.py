"""What all tasks have: batches, how many and how large, and how long it takes to read them."""

from __future__ import annotations

import itertools
import time
from typing import Any

from torch import Tensor

from ...data.base import DataModule
from ...data.captioning.base import CaptioningData
from ...data.splits import PARTS
from .reading import Read
from .report import Report

_BATCHES = 20
_SECONDS = 5.0


def look(read: Read, report: Report) -> None:
    """Say how many batches an epoch has, what one takes, and how long reading alone takes.

    Args:
        read: The data and the trainer's settings.
        report: Where to say it.
    """
    data = read.data
    data.num_workers = 0  # what one process does
    if isinstance(data, CaptioningData):
        data.cache_features = False  # they are a model's
    counts = {}
    for part in PARTS:
        loader = data.loader(part)
        if loader is not None:
            counts[part] = len(loader)
    report.tell("batches", ", ".join(f"{part} {count:,}" for part, count in counts.items()))
    if counts.get("train"):
        _tell_cost(data, counts["train"], read.trainer, report)


def _tell_cost(data: DataModule, count: int, trainer: dict[str, Any], report: Report) -> None:
    begin, sizes = time.perf_counter(), []
    with report.hearing():
        for batch in itertools.islice(data.train_dataloader(), _BATCHES):
            sizes.append(sum(value.nbytes for value in batch if isinstance(value, Tensor)))
            if time.perf_counter() - begin > _SECONDS:
                break
    if not sizes:
        return
    seconds = (time.perf_counter() - begin) / len(sizes)
    report.tell(
        "a batch",
        f"up to {max(sizes) / 1000:,.0f} kB, without what the model makes of it (of "
        f"{len(sizes)} batches)",
    )
    limits = [
        text
        for key, unit, factor in (("max_epochs", "epochs", count), ("max_steps", "steps", 0))
        if isinstance(most := trainer.get(key), int) and most > 0
        for text in [f"{most:,} {unit}" + (f" are {most * factor:,} batches" if factor else "")]
    ]
    first = ", whichever is first" if len(limits) > 1 else ""
    asked = f"; {' or '.join(limits)}{first}" if limits else ""
    report.tell(
        "time",
        f"{_for_people(seconds * count)} to read an epoch in one process, {1000 * seconds:,.1f} ms "
        f"a batch; the model's time comes on top, which `fit` tells after its first steps{asked}",
    )


def _for_people(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:,.1f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"
