from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from unrolled.core import LSTM
from unrolled.data import TextData
from unrolled.tasks import CharLM
from unrolled.tasks.schedules import WarmupCosine


def optimizer(lr: float = 2.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def test_follows_its_formula():
    sgd = optimizer()
    schedule = WarmupCosine(sgd, total_steps=50, warmup=0.2, final=0.1)
    for step in range(60):
        fall = 0.1 + 0.9 * (1 + math.cos(math.pi * min(1, step / 50))) / 2
        assert sgd.param_groups[0]["lr"] == pytest.approx(
            2.0 * min(1, (step + 1) / 10) * fall, rel=1e-12
        )
        sgd.step()
        schedule.step()


def test_takes_the_length_of_the_run_unless_it_was_given():
    follows, given = WarmupCosine(optimizer()), WarmupCosine(optimizer(), total_steps=7)
    follows.set_run_length(100)
    given.set_run_length(100)
    assert (follows.total_steps, given.total_steps) == (100, 7)
    assert follows.get_last_lr() != [0.0]


@pytest.mark.parametrize(("limits", "steps"), [({"max_steps": 3}, 3), ({"max_epochs": 2}, None)])
def test_the_task_tells_it(text_file, trainer, limits, steps):
    data = TextData(str(text_file), batch_size=4, chunk_length=8)
    model = CharLM(data.spec, partial(LSTM, hidden_size=8), lr_scheduler=WarmupCosine)
    run = trainer(limit_val_batches=0, accumulate_grad_batches=2, **limits)
    run.fit(model, data)
    expected = steps or 2 * math.ceil(len(data.loader("train")) / 2)
    assert run.lr_scheduler_configs[0].scheduler.total_steps == expected
    assert run.global_step == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"total_steps": -1}, "total_steps=-1"),
        ({"warmup": 1.0}, "warmup=1.0"),
        ({"final": 2.0}, "final=2.0"),
    ],
)
def test_settings_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"{message}: must be"):
        WarmupCosine(optimizer(), **arguments)
