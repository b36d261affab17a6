"""A batch that leaves nothing to one process: every parameter of every task has a gradient.

And layers that are changed from outside: a pruned output layer learns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.utils import prune
from unrolled.core import GRU, LSTM, Bidirectional, ImageEncoder, SmallCNN
from unrolled.data import ScenesData
from unrolled.data.batch import CaptionBatch, TextBatch, TranslationBatch, VideoBatch
from unrolled.data.tokenizer import Subwords
from unrolled.data.vocabulary import CharacterVocabulary
from unrolled.tasks import Captioning, CharLM, Translation, VideoLabelling
from unrolled.tasks.base import Task

SMALL = partial(GRU, hidden_size=6)
NONE = torch.zeros(0, dtype=torch.int64)


def char_lm(folder: Path) -> tuple[Task, list[Any], Any]:
    text = "abcabcab"
    task = CharLM(
        {"vocabulary": CharacterVocabulary(text).to_spec()},
        partial(LSTM, hidden_size=6),
        embedding_size=6,
        activation_regularization=0.5,
        temporal_activation_regularization=0.5,
    )

    def batch(rows: int, steps: int, length: int) -> TextBatch:
        ids = torch.zeros(rows, steps, dtype=torch.int64)
        return TextBatch(ids, ids, ids.bool(), torch.full((rows,), length))

    return task, [batch(0, 4, 4), batch(2, 0, 0), batch(2, 4, 0), batch(0, 0, 0)], batch(2, 4, 4)


def translation(folder: Path) -> tuple[Task, list[Any], Any]:
    words = Subwords.train(["ein hund", "a dog"], size=30).to_spec()
    task = Translation(
        {"source": words, "target": words, "joint": True},
        partial(Bidirectional, core=SMALL),
        SMALL,
        embedding_size=5,
    )

    def batch(rows: int, steps: int) -> TranslationBatch:
        ids = torch.full((rows, steps), Subwords.END)
        lengths = torch.full((rows,), steps)
        return TranslationBatch(ids, lengths, ids, lengths, torch.arange(rows), ("a",) * rows)

    return task, [batch(0, 3), batch(0, 0)], batch(2, 3)


def captioning(folder: Path) -> tuple[Task, list[Any], Any]:
    data = ScenesData(4, 0, test_size=0, batch_size=4, cache_dir=str(folder))
    encoder = partial(ImageEncoder, backbone=partial(SmallCNN, channels=[4, 6]))
    task = Captioning(data.spec, encoder, SMALL, embedding_size=5, doubly_stochastic=0.5)
    some = next(iter(data.loader("train")))
    none = CaptionBatch(some.image[:0], some.caption[:0], NONE, NONE, NONE, [])
    return task, [none], some


def video(folder: Path) -> tuple[Task, list[Any], Any]:
    spec = {
        "classes": ["rest", "cut"],
        "background": ["rest"],
        "feature_size": 5,
        "image_size": 0,
        "stride": 1,
    }
    task = VideoLabelling(spec, SMALL, smoothing=0.5, projection_size=3)

    def batch(rows: int, length: int) -> VideoBatch:
        yes = torch.ones(rows, dtype=torch.bool)
        target = torch.zeros(rows, max(length, 1), dtype=torch.int64)
        lengths = torch.full((rows,), length)
        return VideoBatch(torch.randn(rows * length, 5), target, lengths, yes, yes, ("a",) * rows)

    return task, [batch(2, 0), batch(1, 0)], batch(2, 4)


TASKS: dict[str, Callable[[Path], tuple[Task, list[Any], Any]]] = {
    "char_lm": char_lm,
    "translation": translation,
    "captioning": captioning,
    "video": video,
}


@pytest.mark.parametrize("name", TASKS)
def test_a_training_step_of_nothing_reaches_every_parameter(name, tmp_path, monkeypatch):
    torch.manual_seed(0)
    task, nothing, _ = TASKS[name](tmp_path)
    monkeypatch.setattr(task, "log", lambda *args, **kwargs: None)
    for number, batch in enumerate(nothing):
        task.zero_grad()
        loss = task.training_step(batch, number)
        assert loss == 0
        loss.backward()
        for key, parameter in task.named_parameters():
            assert parameter.grad is not None, key
            assert not parameter.grad.any(), key


@pytest.mark.parametrize("name", TASKS)
def test_a_pruned_output_layer_learns(name, tmp_path, monkeypatch):
    torch.manual_seed(0)
    task, _, batch = TASKS[name](tmp_path)
    monkeypatch.setattr(task, "log", lambda *args, **kwargs: None)
    head = task.model.decoder.head if hasattr(task.model, "decoder") else task.model.head
    prune.l1_unstructured(head, "weight", 0.5)
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
    before = head.weight_orig.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        task.training_step(batch, 0).backward()
        optimizer.step()
    kept = head.weight_mask.bool()
    assert not torch.equal(head.weight_orig[kept], before[kept])
    assert torch.equal(head.weight_orig[~kept], before[~kept])
