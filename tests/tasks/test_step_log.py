"""`log_step` logs what Lightning's `log` does."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader
from unrolled.tasks.step_log import log_step

STEPS = 7


class Both(LightningModule):
    """Logs each figure in both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[tuple[dict, dict]] = []

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        self.log("by_log", loss.detach(), prog_bar=True)
        log_step(self, "by_step", loss.detach())
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx) -> None:
        metrics = self.trainer.callback_metrics, self.trainer.progress_bar_metrics
        self.seen.append(tuple({name: float(value) for name, value in m.items()} for m in metrics))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_the_same_figures_reach_callbacks_the_progress_bar_and_the_log(tmp_path):
    task = Both()
    trainer = Trainer(
        max_steps=STEPS,
        log_every_n_steps=2,
        logger=CSVLogger(str(tmp_path), name="", version=""),
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    data = DataLoader(torch.arange(4.0).view(4, 1), batch_size=2)  # epochs of two steps
    trainer.fit(task, data)
    assert len(task.seen) == STEPS
    for metrics in task.seen:
        for figures in metrics:
            assert figures["by_log"] == figures["by_step"]
    assert len({figures["by_step"] for figures, _ in task.seen}) == STEPS
    head, *rows = (tmp_path / "metrics.csv").read_text().split()
    columns = [head.split(",").index(name) for name in ("by_log", "by_step")]
    assert len(rows) == STEPS // 2
    for row in rows:
        one, other = (row.split(",")[column] for column in columns)
        assert one == other != ""
