"""Exported folders in a checkpoint's place: on the live page, and beside checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import unrolled
from unrolled.apps.demos.reading import TextReading
from unrolled.apps.exports.running import open_folder
from unrolled.apps.shell.models import any_model, model_file, summary
from unrolled.cli import main

pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(folder):
    assert main(["export", str(folder / "lm.ckpt"), "--out", str(folder / "out")]) == 0
    return folder / "out"


def test_the_live_page_reads_with_a_folder_as_with_its_checkpoint(folder, exported):
    """Also where the text changes, so that a state in its middle is gone on from."""
    both = [
        TextReading(any_model(model_file(str(place)), device="cpu", trust=""))
        for place in (folder / "lm.ckpt", exported)
    ]
    assert both[1].unit_names == both[0].unit_names
    for text in ("abc ab" * 20, "abc ab" * 15 + "cc", "b"):
        for reading in both:
            reading.read(text)
        expected, found = (reading.seen for reading in both)
        assert [one.symbol for one in found] == [one.symbol for one in expected]
        np.testing.assert_allclose(
            [one.bits for one in found], [one.bits for one in expected], atol=1e-4
        )
        torch.testing.assert_close(
            torch.stack([one.units for one in found]),
            torch.stack([one.units for one in expected]),
            atol=1e-5,
            rtol=0,
        )
    assert summary(open_folder(exported)) == "graphs in onnxruntime"
    assert summary(unrolled.load(folder / "lm.ckpt")).startswith("GRU, ")


def test_an_ensemble_has_checkpoints_only(folder, exported, capsys):
    """Refused in a line, wherever the folder stands."""
    models = [str(folder / "translation.ckpt"), str(exported)]
    for names in (models, models[::-1]):
        assert main(["translate", ",".join(names), str(folder / "a.png")]) == 2
        assert "an exported model, which speaks alone: give checkpoints" in capsys.readouterr().err
