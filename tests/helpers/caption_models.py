"""Small captioning tasks, and what they are trained on."""

from __future__ import annotations

from functools import partial

import torch
from unrolled.core import LSTM, ImageEncoder, SmallCNN
from unrolled.data import ScenesData
from unrolled.data.batch import CaptionBatch
from unrolled.tasks import Captioning, CaptioningModel

SMALL = partial(ImageEncoder, backbone=partial(SmallCNN, channels=[4, 6, 8, 8]))
CORE = partial(LSTM, hidden_size=10)


def make_data(cache_dir: str) -> ScenesData:
    return ScenesData(12, 5, test_size=6, batch_size=4, cache_dir=cache_dir)


def make_task(data: ScenesData, encoder=SMALL, decoder=CORE, **settings) -> Captioning:
    torch.manual_seed(0)
    return Captioning(data.spec, encoder, decoder, embedding_size=6, **settings)


def make_model(data: ScenesData, **settings) -> CaptioningModel:
    return make_task(data, **settings).model


def first_batch(data: ScenesData, part: str = "train") -> CaptionBatch:
    return next(iter(data.loader(part)))
