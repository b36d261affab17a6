"""Small translation tasks, and sentences to train them on."""

from __future__ import annotations

from functools import partial

import torch
from unrolled.core import GRU, Bidirectional
from unrolled.data.batch import TranslationBatch
from unrolled.data.tokenizer import Subwords
from unrolled.tasks import Translation, TranslationModel

GERMAN = [
    "ein hund",
    "zwei hunde laufen",
    "ein mann sieht einen hund",
    "die katze",
    "zwei katzen sehen eine katze",
]
ENGLISH = ["a dog", "two dogs run", "a man sees a dog", "the cat", "two cats see a cat"]
PAIRS = list(zip(GERMAN, ENGLISH, strict=True))


def spec(joint: bool = True) -> dict:
    if joint:
        both = Subwords.train([*GERMAN, *ENGLISH], size=60).to_spec()
        return {"source": both, "target": both, "joint": True}
    sides = (Subwords.train(texts, size=50).to_spec() for texts in (GERMAN, ENGLISH))
    return {**dict(zip(("source", "target"), sides, strict=True)), "joint": False}


def make_task(**arguments) -> Translation:
    """Make a task whose model translates, if wildly."""
    torch.manual_seed(0)
    settings = {
        "encoder": partial(Bidirectional, core=partial(GRU, hidden_size=6)),
        "decoder": partial(GRU, hidden_size=8),
        "embedding_size": 5,
    }
    task = Translation(spec(arguments.pop("joint", True)), **{**settings, **arguments})
    task.double().eval()
    with torch.no_grad():
        for parameter in task.parameters():
            parameter *= 3  # so that what it translates differs from sentence to sentence
    return task


def make_model(**arguments) -> TranslationModel:
    return make_task(**arguments).model


def batch(model: TranslationModel, pairs: list[tuple[str, str]], more: int = 0) -> TranslationBatch:
    """A batch as the data modules make it, with more padding than it needs."""
    tensors = []
    for texts, words in (
        (next(zip(*pairs, strict=True)), model.source),
        (list(zip(*pairs, strict=True))[1], model.target),
    ):
        rows = [torch.tensor([*ids, Subwords.END]) for ids in words.encode_batch(list(texts))]
        padded = torch.zeros(len(rows), max(map(len, rows)) + more, dtype=torch.int64)
        for row, ids in enumerate(rows):
            padded[row, : len(ids)] = ids
        tensors += [padded, torch.tensor([len(ids) for ids in rows])]
    return TranslationBatch(
        *tensors, torch.arange(len(pairs)), tuple(target for _, target in pairs)
    )
