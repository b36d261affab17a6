"""A language model and its data for tests of callbacks."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from unrolled.core import LSTM
from unrolled.data import TextData
from unrolled.tasks import CharLM


@pytest.fixture
def task_and_data(text_file) -> tuple[CharLM, TextData]:
    torch.manual_seed(0)
    data = TextData(str(text_file), batch_size=4, chunk_length=8)
    return CharLM(data.spec, partial(LSTM, hidden_size=8)), data
