"""What a run tells while it goes on."""

from __future__ import annotations

from itertools import count

import pytest
from lightning.pytorch import Trainer
from unrolled.apps.run.progress import Bar, LineProgress


@pytest.mark.parametrize("max_epochs", [-1, 5])
def test_the_bar_leaves_room(monkeypatch, max_epochs):
    metrics = {"train/loss": 1.0, "val/loss": 2.0, "val/bits_per_character": 3.0, "v_num": 0}
    monkeypatch.setattr(
        "lightning.pytorch.callbacks.RichProgressBar.get_metrics", lambda *_: metrics
    )
    bar = Bar()
    assert list(bar.get_metrics(None, None)) == ["train", "val", "val/bpc"]
    bar._trainer = Trainer(
        max_epochs=max_epochs, accelerator="cpu", logger=False, enable_progress_bar=False
    )
    assert bar._get_train_description(3).strip() == ("Epoch 3" if max_epochs < 0 else "Epoch 3/4")


def test_progress_is_lines_of_text(task_and_data, trainer, capsys):
    model, data = task_and_data
    trainer(max_epochs=1, callbacks=[LineProgress(seconds=0)], enable_progress_bar=True).fit(
        model, data
    )
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    batches = len(data.loader("train"))
    for number, line in zip(count(1), lines[:batches], strict=False):
        assert line.startswith(f"epoch 0  batch {number}/{batches}")
        assert "train/loss" in line
    assert "val/bits_per_character" in lines[batches]
