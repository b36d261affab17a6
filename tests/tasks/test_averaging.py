from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from unrolled.core import LSTM
from unrolled.data import TextData
from unrolled.tasks import CharLM
from unrolled.tasks.averaging import EMA


class Record(Callback):
    """Keeps a copy of the weights after every step."""

    def __init__(self) -> None:
        self.weights: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.weights.append(pl_module.model.head.weight.detach().clone())


@pytest.mark.parametrize("decay", [0.9, 0.5])
def test_is_the_moving_average_with_a_warm_up(text_file, trainer, decay):
    torch.manual_seed(0)
    data = TextData(str(text_file), batch_size=4, chunk_length=8)
    model = CharLM(data.spec, partial(LSTM, hidden_size=8))
    record = Record()
    trainer(max_steps=12, limit_val_batches=0, callbacks=[record, EMA(decay)]).fit(model, data)
    average = record.weights[0]
    for step, weight in enumerate(record.weights[1:], start=1):
        keep = min(decay, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * weight
    torch.testing.assert_close(model.model.head.weight.detach(), average)


def test_a_decay_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"decay=1\.0: must be"):
        EMA(1.0)
