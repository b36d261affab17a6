"""A resumed run says what is no longer exact, and nothing where all is."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from corpora import write_ms_tcn, write_pairs
from tiny_runs import RUNS, enter, fit
from tiny_tasks import CASES
from unrolled.data import ParallelData, ScenesData, SegmentationData

LINE = "no longer as the uninterrupted one would"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch, repeats=60)


@pytest.mark.filterwarnings("ignore:The checkpoint was made with")  # the loader's own
def test_what_changes_is_said_in_one_line(capsys, tmp_path):
    assert fit() == 0
    text = (tmp_path / "text.txt").read_text()
    (tmp_path / "other.txt").write_text(text)
    for flags, told in (
        (["--trainer.precision", "bf16-mixed"], "precision was 32-true and is bf16-mixed"),
        (["--data.batch_size", "4"], "data.batch_size was 2 and is 4"),
        (["--data.chunk_length", "4"], "data.chunk_length was 8 and is 4"),
        (["--data.path", "other.txt"], "data.path was text.txt and is other.txt"),
        (["--seed_everything", "3"], "seed was 0 and is 3"),
        (["--trainer.accumulate_grad_batches", "2"], "accumulate_grad_batches was 1"),
    ):
        saved = (RUNS / "1" / "checkpoints" / "last.ckpt").read_bytes()
        config = (RUNS / "1" / "config.yaml").read_bytes()
        assert fit("--name", "1", "--resume", *flags, steps=2) == 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if LINE in line]
        assert told in line
        (RUNS / "1" / "checkpoints" / "last.ckpt").write_bytes(saved)
        (RUNS / "1" / "config.yaml").write_bytes(config)


def test_another_content_of_the_same_files_is_noticed(capsys, tmp_path):
    assert fit() == 0
    path = tmp_path / "text.txt"
    path.write_text(path.read_text().replace("cat", "tac", 1))  # as long, and of the same letters
    assert fit("--resume", steps=3) == 0
    assert f"{LINE}, bit for bit: data.content was " in capsys.readouterr().err


def test_callbacks_that_forget_are_named(capsys, tmp_path):
    (tmp_path / "swa.yaml").write_text(
        "trainer: {callbacks+: [{class_path: StochasticWeightAveraging, init_args: {swa_lrs: 0.1, "
        "swa_epoch_start: 5}}]}"
    )
    flags = ["--config", "swa.yaml", "--model.lr_scheduler", "null"]
    assert fit("--name", "1", *flags) == 0
    assert fit("--name", "1", "--resume", steps=2) == 0
    assert f"{LINE}, bit for bit: StochasticWeightAveraging of Light" in capsys.readouterr().err


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.task)
def test_what_is_learnt_from_has_a_fingerprint(case, tmp_path):
    """It is that of the data, whatever else changes; other data have another."""

    def fingerprint(seed: int, folder: str) -> str:
        (tmp_path / folder).mkdir()
        if case.task == "captioning":
            return ScenesData(6 + seed, 1, test_size=1).fingerprint()
        draw = random.Random(seed)
        words = [" ".join(draw.choices("abcdefgh", k=5)) for _ in range(9)]
        if case.task == "translation":
            write_pairs(tmp_path / folder, "train", list(pairwise(words)))
            write_pairs(tmp_path / folder, "val", [("a b", "b a")])
            named = {"source": "de", "target": "en", "vocabulary_size": 30}
            return ParallelData(str(tmp_path / folder), **named).fingerprint()
        videos = {
            f"v{n}": (np.zeros((9, 2), np.float32), [draw.randint(0, 1) for _ in range(9)])
            for n in range(4)
        }
        write_ms_tcn(tmp_path / folder, videos, test=["v3"])
        return SegmentationData(str(tmp_path / folder)).fingerprint()

    found = [fingerprint(seed, name) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert found[0] == found[1] != found[2]
    assert found[0]


def test_what_changes_nothing_is_not_mentioned(capsys):
    assert fit() == 0
    capsys.readouterr()
    same = [[], ["--data.num_workers", "1"], ["--checkpoint.every_n_train_steps", "3"]]
    for steps, flags in enumerate(same, start=3):
        assert fit("--resume", *flags, steps=steps) == 0
        assert LINE not in capsys.readouterr().err


def test_other_averaging_processes_torch_and_accelerator(capsys):
    assert fit() == 0
    path = RUNS / "1" / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["conditions"] |= {"processes": 4, "torch": "1.0", "accelerator": "cuda"}
    assert content["conditions"]["averaging"] == ["EMA"]
    content["conditions"]["averaging"] = []
    torch.save(content, path)
    assert fit("--resume", steps=4) == 0
    told = capsys.readouterr().err
    assert "processes was 4 and is 1" in told
    assert "torch was 1.0 and is" in told
    assert "accelerator was cuda and is cpu" in told
    assert "averaging was none and is ['EMA']" in told


def test_a_strangers_conditions_are_only_text(capsys):
    assert fit() == 0
    path = RUNS / "1" / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["conditions"]["data"] = {"class_path": "os.system", "x\x1b[2J": "\x1b[2J" * 50}
    torch.save(content, path)
    assert fit("--resume", steps=4) == 0
    assert "\x1b" not in capsys.readouterr().err
