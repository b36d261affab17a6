from __future__ import annotations

from types import SimpleNamespace

import pytest
from unrolled import loading
from unrolled.apps.shell.models import open_model
from unrolled.cli import main
from unrolled.errors import UsageError


def test_a_model_of_another_kind_is_refused_by_what_it_does_not_do(monkeypatch):
    asked = []
    model = SimpleNamespace()
    monkeypatch.setattr(loading, "load", lambda path, **settings: asked.append(settings) or model)
    opened = open_model("a.ckpt", SimpleNamespace, "sing", device="cpu", trust="mine")
    assert opened is model
    assert asked == [{"device": "cpu", "trust": "mine"}]
    with pytest.raises(UsageError, match=r"'a.ckpt' holds a SimpleNamespace, which does not sing"):
        open_model("a.ckpt", int, "sing", device="cpu", trust="")


def test_a_device_without_memory_is_refused(here, capsys):
    assert main(["generate", "runs/char_lm/a", "--device", "meta"]) == 2
    assert "--device meta holds no weights" in capsys.readouterr().err
