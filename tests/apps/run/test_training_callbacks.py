from __future__ import annotations

import os
import random
import resource
import signal
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from unrolled.apps.run.training_callbacks import (
    AtomicCheckpointIO,
    FiniteLoss,
    LineProgress,
    Preempted,
    Preemption,
    random_state,
    set_random_state,
)
from unrolled.core import LSTM
from unrolled.data import TextData
from unrolled.errors import SetupError, UnrolledError
from unrolled.tasks import CharLM


def task_and_data(text_file, **arguments) -> tuple[CharLM, TextData]:
    torch.manual_seed(0)
    data = TextData(str(text_file), batch_size=4, chunk_length=8)
    return CharLM(data.spec, partial(LSTM, hidden_size=8), **arguments), data


class TestAtomicCheckpointIO:
    def test_replaces_the_file_and_leaves_nothing_else(self, tmp_path):
        path = tmp_path / "new" / "last.ckpt"
        io = AtomicCheckpointIO()
        io.save_checkpoint({"step": 1}, path)
        io.save_checkpoint({"step": 2}, path)
        assert io.load_checkpoint(path) == {"step": 2}
        assert list(path.parent.iterdir()) == [path]

    def test_the_file_is_readable_by_whom_the_umask_allows(self, tmp_path):
        before = os.umask(0o027)
        try:
            AtomicCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")
        finally:
            os.umask(before)
        assert (tmp_path / "last.ckpt").stat().st_mode & 0o777 == 0o640

    def test_a_failed_write_keeps_the_checkpoint_before(self, tmp_path):
        path = tmp_path / "last.ckpt"
        io = AtomicCheckpointIO()
        io.save_checkpoint({"step": 1}, path)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # the kernel refuses every byte after this
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            with pytest.raises(
                SetupError, match=r"last\.ckpt: no space left .* the one before is untouched"
            ) as error:
                io.save_checkpoint({"step": 2, "weights": torch.zeros(100_000)}, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert error.value.exit_code == 4
        assert io.load_checkpoint(path) == {"step": 1}
        assert list(tmp_path.iterdir()) == [path]


def test_random_numbers_go_on_where_they_were(tmp_path):
    def draw():
        return [
            random.random(),
            np.random.rand(),
            torch.rand(()).item(),
            random.gauss(0, 1),
            np.random.randn(),
        ]

    draw()
    torch.save(random_state(), tmp_path / "state")
    expected = [draw(), draw()]
    set_random_state(torch.load(tmp_path / "state", weights_only=True))
    assert [draw(), draw()] == expected


class Spoil(Callback):
    """Makes the head's weights infinite before a step's forward pass."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.weights: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            with torch.no_grad():
                pl_module.head.bias[0] = torch.nan
            self.weights = [parameter.detach().clone() for parameter in pl_module.core.parameters()]


def test_a_loss_that_is_not_finite_stops_the_run_before_the_step(text_file, tmp_path, trainer):
    model, data = task_and_data(text_file)
    spoil = Spoil(step=7)
    saved = ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=1, save_top_k=-1)
    run = trainer(
        max_epochs=1,
        limit_val_batches=0,
        callbacks=[spoil, FiniteLoss(), saved],
        enable_checkpointing=True,
    )
    with pytest.raises(
        UnrolledError, match=r"the loss is not finite at step 7 \(epoch 0, batch 7\)"
    ):
        run.fit(model, data)
    for parameter, before in zip(model.core.parameters(), spoil.weights, strict=True):
        assert torch.equal(parameter, before)
    last = max((tmp_path / "ckpt").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["global_step"] == 7  # seven good steps: 0 to 6
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())


class Kill(Callback):
    """Sends SIGTERM to this process in the middle of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_backward(self, trainer, pl_module, loss):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_finishes_the_step_saves_and_stops(text_file, tmp_path, trainer):
    model, data = task_and_data(text_file)
    before = signal.getsignal(signal.SIGTERM)
    saved = ModelCheckpoint(tmp_path / "ckpt")
    run = trainer(
        max_epochs=1,
        limit_val_batches=0,
        callbacks=[Kill(step=5), Preemption(), saved],
        enable_checkpointing=True,
    )
    with pytest.raises(
        Preempted, match=r"saved .*last\.ckpt at step 6; go on with --resume"
    ) as error:
        run.fit(model, data)
    assert error.value.exit_code == 143
    assert torch.load(tmp_path / "ckpt" / "last.ckpt", weights_only=True)["global_step"] == 6
    assert signal.getsignal(signal.SIGTERM) is before


def test_progress_is_lines_of_text(text_file, trainer, capsys):
    model, data = task_and_data(text_file)
    trainer(max_epochs=1, callbacks=[LineProgress(seconds=0)], enable_progress_bar=True).fit(
        model, data
    )
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    batches = len(data.loader("train"))
    for number, line in zip(count(1), lines[:batches], strict=False):
        assert line.startswith(f"epoch 0  batch {number}/{batches}")
        assert "train/loss" in line
    assert "val/bits_per_character" in lines[batches]
