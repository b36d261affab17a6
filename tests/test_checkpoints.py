"""Checkpoint files are found and judged without torch."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path

import pytest
from unrolled.checkpoints import checkpoints_of, damage, find_checkpoint, newest_whole
from unrolled.errors import DataError


def archive(path: Path, age: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", path.name * 100)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for age, name in enumerate(["best.ckpt", "last.ckpt", "previous.ckpt"]):
        archive(tmp_path / "run" / "checkpoints" / name, age)
    return tmp_path / "run"


def test_the_last_comes_first_then_the_one_before_it_then_the_best(run):
    assert [path.stem for path in checkpoints_of(run)] == ["last", "previous", "best"]
    assert checkpoints_of(run / "nothing") == []


def test_a_whole_last_checkpoint_is_taken_in_silence(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert newest_whole(run).path.name == "last.ckpt"


def test_a_broken_last_checkpoint_falls_back_with_a_warning_that_names_both(run):
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:50])
    with pytest.warns(
        UserWarning, match=r"last\.ckpt' is truncated: going back to '.*previous\.ckpt'"
    ):
        assert newest_whole(run).path.name == "previous.ckpt"


def test_no_whole_checkpoint_is_an_error_that_names_each(run):
    for path in checkpoints_of(run):
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"no whole checkpoint: .*last\.ckpt' is empty; .*previous\.ckpt' is empty"
    ):
        newest_whole(run)


def test_damage(run):
    path = run / "checkpoints" / "last.ckpt"
    whole = path.read_bytes()
    assert damage(path) is None
    path.write_bytes(whole.replace(b"last.ckpt", b"lost.ckpt", 1))
    assert damage(path) == "is damaged"


def test_a_folder_means_its_newest_run(run, tmp_path):
    archive(tmp_path / "newer" / "checkpoints" / "last.ckpt", -5)
    assert find_checkpoint(str(tmp_path)).path == tmp_path / "newer" / "checkpoints" / "last.ckpt"
    assert find_checkpoint(str(run), last=True).path == run / "checkpoints" / "last.ckpt"


def test_a_run_means_its_best_and_its_last_to_go_on(run):
    best = run / "checkpoints" / "best.ckpt"
    archive(best, -50)
    assert find_checkpoint(run).path == best
    assert find_checkpoint(run, last=True).path == run / "checkpoints" / "last.ckpt"
    best.write_bytes(best.read_bytes()[:50])
    with pytest.warns(UserWarning, match=r"best\.ckpt' is truncated: taking the last of the run"):
        assert find_checkpoint(run).path == run / "checkpoints" / "last.ckpt"


def test_a_wrong_path_is_answered_with_one_that_is_there(run):
    with pytest.raises(DataError, match=r"Did you mean '.*run/checkpoints/last\.ckpt'"):
        find_checkpoint(str(run / "checkpoint" / "last.ckpt"))
