"""A stranger's exported folder: whatever its description says, it is used or refused in a line."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
import torch
from unrolled.apps.exports.described import check
from unrolled.apps.exports.sessions import Graph
from unrolled.cli import main
from unrolled.errors import DataError

LIKE: dict[str, dict[str, Any]] = {
    "translation": {"settings": {"beam_size": 3, "length_penalty": 1.0}},
    "captioning": {
        "spec": {"image_size": 32},
        "settings": {"beam_size": 3, "length_penalty": 0, "max_length": 30, "grid": [2, 3]},
    },
    "video": {
        "spec": {"classes": ["a", "b"], "image_size": 0, "feature_size": 3, "stride": 1},
        "settings": {
            "background": [], "median": 1, "min_length": 1, "causal": True, "thresholds": None,
        },
    },
}  # fmt: skip
ODD = ["x", -1, 10**12, 1.5, [1, "a"], {}, {"a": 1}, 1e308, float("nan"), "</script>", [[]]]


@pytest.mark.parametrize("task", LIKE)
def test_each_value_is_of_its_kind_and_has_a_measure(task):
    check(task, LIKE[task])
    for part, values in LIKE[task].items():
        with pytest.raises(KeyError):
            check(task, {**LIKE[task], part: {}})
        for wrong in (None, [], "x"):
            with pytest.raises((ValueError, KeyError)):
                check(task, {**LIKE[task], part: wrong})
        for name in values:
            for odd in ODD:
                if name == "length_penalty" and odd in (-1, 1.5):
                    continue
                with pytest.raises(ValueError, match=f"{part}.{name} can't be"):
                    check(task, {**LIKE[task], part: {**values, name: odd}})


@pytest.mark.filterwarnings("default")  # torch warns of things of its own while it exports
def test_an_altered_folder_is_answered_in_a_line(folder, tmp_path, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    assert main(["export", str(folder / "video.ckpt"), "--out", str(tmp_path / "whole")]) == 0
    graph = Graph(tmp_path / "whole" / "step.onnx")
    with pytest.raises(DataError, match=r"takes 2 inputs, and this model has 1 .*another model's"):
        graph(torch.zeros(1, 3))  # as a decoder of another task has
    for change, part in (
        ({"spec": {"classes": ["x"]}}, "gives logits"),
        ({"spec": {"stride": True}}, "spec.stride can't be True"),
        ({"settings": {"median": None}}, "settings.median can't be None"),
        ({"settings": {"thresholds": [0.5]}}, "1 thresholds of 3 classes"),
    ):
        bad = tmp_path / "bad"
        shutil.copytree(tmp_path / "whole", bad)
        said = json.loads((bad / "model.json").read_text())
        for name, values in change.items():
            said[name] |= values
        (bad / "model.json").write_text(json.dumps(said))
        capsys.readouterr()
        assert main(["label", str(bad), str(folder / "a.npy"), "--format", "jsonl"]) == 3
        assert part in capsys.readouterr().err
        shutil.rmtree(bad)
    shutil.copytree(tmp_path / "whole", bad)
    (bad / "start.json").write_text(f'{{"state_hidden": [[1{"0" * 400}]]}}')
    assert main(["label", str(bad), str(folder / "a.npy"), "--format", "jsonl"]) == 3
    assert "is not as `unrolled export` writes it" in capsys.readouterr().err
