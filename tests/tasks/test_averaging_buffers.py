"""Averages of models that hold counters, masks, running statistics and other precisions."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader
from unrolled.core import GRU
from unrolled.data.batch import VideoBatch
from unrolled.tasks import VideoLabelling
from unrolled.tasks.averaging import EMA

SPEC = {
    "classes": ["rest", "cut", "mix"],
    "background": [],
    "feature_size": 0,
    "image_size": 4,
    "stride": 1,
}
EXACT = {"normal.num_batches_tracked", "seen", "steps"}


class Encoder(nn.Module):
    """An encoder with a buffer of every kind, which all change, and a weight that doesn't learn."""

    output_size = 3

    def __init__(self) -> None:
        super().__init__()
        self.normal = nn.BatchNorm1d(3)
        self.fixed = nn.Parameter(torch.rand(3), requires_grad=False)
        self.register_buffer("seen", torch.zeros(5, dtype=torch.bool))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int32))
        self.register_buffer("wave", torch.zeros(2, dtype=torch.complex64))
        self.register_buffer("halves", torch.zeros(2, dtype=torch.float16))
        self.register_buffer("doubles", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("gone", torch.zeros(2), persistent=False)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.steps += 1
            self.seen[int(self.steps) % 5] ^= True
            for buffer in (self.wave, self.halves, self.doubles, self.gone):
                buffer += (
                    torch.tensor([1.5 - 2j, 3]).to(buffer.dtype) if buffer.is_complex() else 1.5
                )
        means = frames.to(self.fixed.dtype).mean((2, 3)) / 255
        return self.normal(means) * self.fixed


class Record(Callback):
    """Keeps a copy of everything after every step."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.states.append(everything(pl_module))


def everything(model) -> dict[str, torch.Tensor]:
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


def model() -> VideoLabelling:
    torch.manual_seed(0)
    return VideoLabelling(SPEC, partial(GRU, hidden_size=4), encoder=Encoder)


def batches(count: int = 6) -> DataLoader:
    generator = torch.Generator().manual_seed(1)
    first = torch.tensor([True, True])
    made = [
        VideoBatch(
            input=torch.randint(256, (7, 3, 4, 4), generator=generator, dtype=torch.uint8),
            target=torch.randint(3, (2, 4), generator=generator),
            lengths=torch.tensor([4, 3]),
            first=first,
            last=first,
            name=("a", "b"),
        )
        for _ in range(count)
    ]
    return DataLoader(made, batch_size=None)


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_counters_are_copied_and_the_rest_is_averaged(trainer, precision):
    made, record = model(), Record()
    trainer(
        max_steps=6, limit_val_batches=0, precision=precision, callbacks=[record, EMA(0.5)]
    ).fit(made, batches())
    expected = dict(record.states[0])
    for step, state in enumerate(record.states[1:], start=1):
        keep = min(0.5, (1 + step) / (10 + step))
        for name, value in state.items():
            averaged = value.is_floating_point() or value.is_complex()
            expected[name] = keep * expected[name] + (1 - keep) * value if averaged else value
    found = everything(made)
    last = record.states[-1]
    assert {name for name in last if name.removeprefix("model.encoder.") in EXACT} == {
        f"model.encoder.{name}" for name in EXACT
    }
    for name, value in found.items():
        assert value.dtype == last[name].dtype
        if name.removeprefix("model.encoder.") in EXACT:
            assert torch.equal(value, last[name]), name
        else:
            loose = {"rtol": 1e-2, "atol": 1e-2} if value.dtype == torch.float16 else {}
            torch.testing.assert_close(value, expected[name], **loose)
    assert (
        int(found["model.encoder.steps"])
        == int(found["model.encoder.normal.num_batches_tracked"])
        == 6
    )
    moving = {
        "model.encoder.normal.running_mean",
        "model.encoder.wave",
        "model.encoder.doubles",
        "model.encoder.gone",
        "model.head.weight",
    }
    assert not [name for name in moving if torch.equal(found[name], last[name])]


def test_a_resumed_average_is_that_of_the_whole_run(trainer, tmp_path):
    class Save(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")

    def run(epochs: int, resumed: str | None = None) -> dict[str, torch.Tensor]:
        made = model()
        fitted = trainer(max_epochs=epochs, limit_val_batches=0, callbacks=[EMA(0.9), Save()])
        fitted.fit(made, batches(), ckpt_path=resumed, weights_only=True)
        return everything(made)

    whole = run(2)
    resumed = run(2, str(tmp_path / "6.ckpt"))
    assert not [
        name
        for name, value in whole.items()
        if name != "model.encoder.gone" and not value.equal(resumed[name])
    ]
    assert int(resumed["model.encoder.steps"]) == 12


@pytest.mark.skipif(
    torch.__version__.startswith("2.3."), reason="torch 2.3 averages tensors of one type only"
)
def test_a_validation_does_not_round_the_average_to_the_models_precision(trainer):
    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.before = {
                name: value.clone() for name, value in average._average_model.named_parameters()
            }
            self.model = everything(pl_module)

        def on_validation_batch_end(self, trainer, pl_module, *rest):
            if not trainer.sanity_checking:
                for name, value in pl_module.named_parameters():
                    assert torch.equal(value, self.before[f"module.{name}"].to(value.dtype)), name

        def on_validation_end(self, trainer, pl_module):
            if not trainer.sanity_checking:
                for name, value in average._average_model.named_parameters():
                    assert torch.equal(value, self.before[name]), name
                assert all(
                    torch.equal(value, self.model[name])
                    for name, value in pl_module.named_parameters()
                )
                self.finer = any(
                    bool((value != value.bfloat16()).any()) for value in self.before.values()
                )

    average = EMA(0.9)
    torch.manual_seed(0)
    watch = Watch()
    made = VideoLabelling({**SPEC, "feature_size": 3}, partial(GRU, hidden_size=4))
    features = [
        batch._replace(input=batch.input.float().mean((2, 3)).bfloat16() / 255)
        for batch in batches()
    ]
    loader = DataLoader(features, batch_size=None)
    trainer(
        max_steps=5, precision="bf16-true", callbacks=[average, watch], val_check_interval=1
    ).fit(made, loader, loader)
    assert watch.finer
