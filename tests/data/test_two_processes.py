"""Two processes under Lightning's ddp share one stream of batches, also after a resume."""

from __future__ import annotations

import json

import pytest
import torch
from unrolled.data import TextData

SCRIPT = """
import json, sys
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from unrolled.data import TextData

class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []
    def training_step(self, batch):
        self.seen.append([batch.target.tolist(), batch.lengths.tolist()])
        return self.layer(torch.ones(1, 1)).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def fit(ckpt_path=None):
    module = Module()
    saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=2,
                      logger=False, callbacks=[saver], enable_progress_bar=False,
                      enable_model_summary=False)
    # Workers for the first run only: CPython 3.11 can deadlock in a fork beside a thread that ends
    # (_PyThreadState_DeleteExcept), such as a former loader's. test_resume resumes with workers.
    workers = 0 if ckpt_path else 2
    data = TextData(path, batch_size=2, chunk_length=50, num_workers=workers)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return trainer.global_rank, module.seen

path, folder = sys.argv[1:]
rank, whole = fit()
for step in (3, 5, 7):
    _, rest = fit(f"{folder}/step={step}.ckpt")
    assert whole[:step] + rest == whole, step
json.dump(whole, open(f"{folder}/rank{rank}.json", "w"))
"""


@pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch was built without torch.distributed"
)
def test_two_processes_equal_one_and_resume(forks, tmp_path):
    text = tmp_path / "input.txt"
    text.write_text("".join(chr(97 + i * i % 26) for i in range(1000)))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    assert forks.run(tmp_path, [str(script), str(text), str(tmp_path)], 2) == 0
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    loader = TextData(str(text), batch_size=4, chunk_length=50).train_dataloader()
    together = [batch for _ in range(2) for batch in loader]
    assert len(first) == len(second) == len(together) == 10
    for batch, one, two in zip(together, first, second, strict=True):
        assert batch.target.tolist() == one[0] + two[0]
        assert batch.lengths.tolist() == one[1] + two[1]
