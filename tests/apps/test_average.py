"""`unrolled average`: numbers of every kind, and models that no checkpoint describes."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from unrolled.apps.average import average
from unrolled.core import LSTM
from unrolled.data import CharacterVocabulary
from unrolled.errors import UsageError
from unrolled.tasks import CharLM


def saved(folder, name: str, core, **buffers) -> str:
    model = CharLM({"vocabulary": CharacterVocabulary("abc").to_spec()}, core)
    for key, value in buffers.items():
        model.register_buffer(key, torch.tensor(value))
    checkpoint = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, folder / name)
    return str(folder / name)


def test_what_has_a_mean_is_averaged_and_the_rest_is_the_firsts(tmp_path):
    core = partial(LSTM, hidden_size=4)
    first = saved(tmp_path, "a", core, wave=[1j], halves=[1.0, 1.0], steps=3, seen=True)
    second = saved(tmp_path, "b", core, wave=[4.0 + 0j], halves=[2.0, 4.0], steps=5, seen=False)
    average(str(tmp_path / "c"), first, second)
    found = torch.load(tmp_path / "c", weights_only=True)["state_dict"]
    a, b = (torch.load(path, weights_only=True)["state_dict"] for path in (first, second))
    key = "model.head.weight"
    torch.testing.assert_close(found[key], (a[key] + b[key]) / 2)
    assert found["wave"].tolist() == [2 + 0.5j]
    assert found["halves"].tolist() == [1.5, 2.5]
    assert (int(found["steps"]), bool(found["seen"])) == (3, True)


def test_models_that_differ_in_what_no_checkpoint_describes_are_refused(tmp_path):
    first = saved(tmp_path, "a", lambda size: LSTM(size, hidden_size=4))
    second = saved(tmp_path, "b", lambda size: LSTM(size, hidden_size=4), more=1.0)
    third = saved(tmp_path, "c", lambda size: LSTM(size, hidden_size=5))
    for other, what in ((second, r"model\.more"), (third, r"model\.core\.bias_hh")):
        with pytest.raises(UsageError, match=rf"of different models: they differ in {what}"):
            average(str(tmp_path / "mean"), first, other)
