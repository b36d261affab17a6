"""What callbacks of one's own save: a run that can be resumed, whatever it is."""

from __future__ import annotations

import enum
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from tiny_runs import enter, fit, read
from unrolled.apps.run.folder.contents import readable


class Thing:
    """No plain data."""


class Pair(NamedTuple):
    one: int


class Level(enum.Enum):
    HIGH = 3


class Keeps(Callback):
    """Saves an object as its state, and another beside the states."""

    def state_dict(self) -> dict[str, Any]:
        return {"thing": Thing()}

    def on_save_checkpoint(self, trainer: Any, task: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["mine"], checkpoint["best"] = Thing(), np.float32(0.5)


class KeepsPlain(Callback):
    def state_dict(self) -> dict[str, Any]:
        return {"score": np.float64(0.1), "seen": [np.int64(3)], "mean": torch.ones(2)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        print("given back:", state["score"], state["seen"], state["mean"].tolist())


def test_a_run_with_callbacks_that_save_anything_is_resumed(tmp_path, monkeypatch, capsys):
    enter(tmp_path, monkeypatch)
    given = [
        f"--trainer.callbacks+={name.__module__}.{name.__name__}" for name in (Keeps, KeepsPlain)
    ]
    assert fit("--checkpoint.every_n_train_steps", "1", *given) == 0
    told = capsys.readouterr().err
    assert told.count(f"the state of Keeps is left out, since {__name__}.Thing is no plain") == 1
    assert told.count("'mine', which a hook has added, is left out") == 1
    assert read("last")["best"] == 0.5
    assert fit("--resume", steps=3) == 0
    assert "given back: 0.1 [3] [1.0, 1.0]" in capsys.readouterr().out
    assert read("last")["global_step"] == 3


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "odd",
    [Thing(), Pair(1), Path("a"), lambda: 0, LOOP, np.zeros(2), {Thing: 1}, (1, [Thing()]), object],
)
def test_what_needs_code_is_left_out_and_named(odd, tmp_path, capsys):
    told: set[str] = set()
    kept = {"state_dict": {"a": torch.ones(1)}, "callbacks": {"b": {"x": 1}}}
    given = {**kept, "other": odd, "callbacks": {**kept["callbacks"], "odd": {"it": odd}}}
    for _ in range(2):
        assert readable(given, told) == kept
    assert len(given["callbacks"]) == 2  # Lightning's own dict is as it was
    assert capsys.readouterr().err.count("no plain data") == 2


@pytest.mark.parametrize(
    ("plain", "read_as"),
    [
        (np.float32(0.25), 0.25), (np.int64(3), 3), (np.bool_(True), True), (Level.HIGH, 3),
        ({1, 2}, {1, 2}), (torch.float16, torch.float16), (torch.Size([2]), torch.Size([2])),
        (OrderedDict(a=1), OrderedDict(a=1)), (b"x", b"x"), (1j, 1j), (None, None),
        ((1, (2,)), (1, (2,))), (torch.nn.Parameter(torch.ones(1)), torch.ones(1)),
    ],
)  # fmt: skip
def test_what_is_plain_stays(plain, read_as, tmp_path, capsys):
    found = readable({"other": {"it": plain}}, set())
    torch.save(found, tmp_path / "x.ckpt")
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["other"]["it"] == read_as
    assert capsys.readouterr().err == ""
