from __future__ import annotations

from functools import partial

import pytest
import torch
from unrolled.core import LSTM
from unrolled.data import TextData
from unrolled.errors import UsageError
from unrolled.tasks import CharLM
from unrolled.tasks.char_lm.dynamic_evaluation import DynamicEvaluation


def task_and_data(text_file, **arguments) -> tuple[CharLM, TextData]:
    torch.manual_seed(0)
    settings = {"batch_size": 1, "chunk_length": 10, "val_fraction": 0.5}
    data = TextData(str(text_file), **{**settings, **arguments})
    return CharLM(data.spec, partial(LSTM, hidden_size=16)), data


def test_learns_from_the_text_and_puts_the_weights_back(text_file, trainer):
    model, data = task_and_data(text_file)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    still = trainer().validate(model, data, verbose=False)[0]["val/loss"]
    moving = trainer(callbacks=[DynamicEvaluation(1.0)]).validate(model, data, verbose=False)[0][
        "val/loss"
    ]
    assert moving < still - 0.1
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_every_chunk_is_scored_before_it_is_learnt(text_file, trainer):
    model, data = task_and_data(text_file)
    first = trainer(limit_val_batches=1).validate(model, data, verbose=False)[0]["val/loss"]
    run = trainer(limit_val_batches=1, callbacks=[DynamicEvaluation(10.0)])
    assert run.validate(model, data, verbose=False)[0]["val/loss"] == first


def test_equals_the_loop_written_out(text_file, trainer):
    model, data = task_and_data(text_file)
    scored = trainer(callbacks=[DynamicEvaluation(0.5, decay=0.1, clip=1e9)], precision="64-true")
    found = scored.validate(model, data, verbose=False)[0]["val/loss"]
    model.double()
    trained = [parameter.detach().clone() for parameter in model.parameters()]
    state, nats, characters = None, 0.0, 0
    for batch in data.loader("val"):
        _, total, after = model.loss(batch, state)
        gradients = torch.autograd.grad(total / batch.lengths.sum(), list(model.parameters()))
        nats, characters = nats + total.item(), characters + int(batch.lengths.sum())
        state = type(after)(*(leaf.detach() for leaf in after))
        with torch.no_grad():
            for parameter, gradient, start in zip(
                model.parameters(), gradients, trained, strict=True
            ):
                parameter -= 0.5 * gradient
                parameter += 0.1 * (start - parameter)
    assert found == pytest.approx(nats / characters, rel=1e-6)


def test_refuses_what_would_look_ahead(text_file, trainer):
    model, data = task_and_data(text_file, batch_size=2)
    with pytest.raises(UsageError, match=r"a batch has 2: give --data\.batch_size 1"):
        trainer(callbacks=[DynamicEvaluation()]).validate(model, data, verbose=False)
    with pytest.raises(UsageError, match="belongs to validate and test"):
        trainer(callbacks=[DynamicEvaluation()], max_steps=1).fit(model, data)
