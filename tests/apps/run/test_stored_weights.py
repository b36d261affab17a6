"""A checkpoint brings the weights of its backbone: nothing is fetched when it is used."""

from __future__ import annotations

from pathlib import Path

import torch
import unrolled
from unrolled.cli import main
from unrolled.core import TorchvisionBackbone

SMALL = [
    *("--data.train_size", "4", "--data.val_size", "2", "--data.test_size", "2"),
    *("--data.batch_size", "2", "--trainer.accelerator", "cpu"),
]
BACKBONE = "--model.encoder.backbone"


def test_a_run_goes_on_where_its_backbones_weights_can_not_be_had(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(TorchvisionBackbone("squeezenet1_1").network.state_dict(), "weights.pt")
    begin = ["fit", "captioning", "--name", "a", *SMALL, "--trainer.max_steps", "1"]
    begin += [BACKBONE, "TorchvisionBackbone", f"{BACKBONE}.name", "squeezenet1_1"]
    assert main([*begin, f"{BACKBONE}.weights", "weights.pt"]) == 0
    last = "runs/captioning/a/checkpoints/last.ckpt"
    before = unrolled.load(last).state_dict()
    Path("weights.pt").unlink()
    again = ["fit", "captioning", "--resume", "--name", "a", "--trainer.max_steps", "2"]
    assert main(again) == 0, capsys.readouterr().err
    after = unrolled.load(last).state_dict()
    frozen = [name for name in before if "backbone" in name]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    # What is stored is what was asked for, so that the run can be resumed once more.
    encoder = torch.load(last, weights_only=True)["hyper_parameters"]["encoder"]
    stored = encoder["init_args"]["backbone"]["init_args"]
    assert stored["weights"] == "weights.pt"
    assert stored["fetch"]
