"""A small language model that every test of a picture may read."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from unrolled.core import LSTM, Stacked
from unrolled.tasks import CharModel


@pytest.fixture(scope="session")
def characters() -> CharModel:
    torch.manual_seed(0)
    spec = {"vocabulary": {"kind": "characters", "symbols": 'abc "()\n.éם'}}
    core = partial(Stacked, core=partial(LSTM, hidden_size=6), num_layers=2)
    return CharModel(spec, core, embedding_size=5).double().eval()


@pytest.fixture(scope="session")
def of_bytes() -> CharModel:
    torch.manual_seed(0)
    spec = {"vocabulary": {"kind": "bytes", "symbols": ""}}
    return CharModel(spec, partial(LSTM, hidden_size=6), embedding_size=5).double().eval()
