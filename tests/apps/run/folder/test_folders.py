"""Run folders: every rank of a run agrees on one, and no two runs share one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from unrolled.apps.run.folder import folders
from unrolled.errors import UsageError


@pytest.fixture(autouse=True)
def _one_process(monkeypatch, tmp_path):
    for name in (
        "RANK",
        "LOCAL_RANK",
        "SLURM_PROCID",
        "JSM_NAMESPACE_RANK",
        "NODE_RANK",
        "_UNROLLED_RUN_FOLDER",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    folders.forget()


def test_numbers_go_on_from_the_highest():
    (Path("runs/t") / "7").mkdir(parents=True)
    (Path("runs/t") / "name").mkdir()
    assert folders.claim(Path("runs"), "t", None) == Path("runs/t/8")
    assert folders.claim(Path("runs"), "t", None) == Path("runs/t/9")
    assert folders.claim(Path("runs"), "other", None) == Path("runs/other/1")


def test_runs_that_begin_at_once_get_a_folder_each():
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: folders.claim(Path("runs"), "t", None), range(40)))
    assert len(set(claimed)) == 40


def test_a_name_is_used_once():
    path = folders.claim(Path("runs"), "t", "mine")
    assert folders.claim(Path("runs"), "t", "mine") == path  # empty: nothing is lost
    (path / "config.yaml").touch()
    with pytest.raises(UsageError, match="exists already"):
        folders.claim(Path("runs"), "t", "mine")


def test_ranks_that_lightning_starts_take_the_folder_of_the_first(monkeypatch):
    path = folders.claim(Path("runs"), "t", None)
    (path / "config.yaml").touch()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert folders.claim(Path("runs"), "t", None) == path
    assert folders.claim(Path("runs"), "t", path.name) == path


@pytest.mark.parametrize("name", ["RANK", "NODE_RANK"])
def test_ranks_that_a_launcher_or_a_hand_starts_make_nothing(name, monkeypatch):
    monkeypatch.setenv(name, "3")
    assert folders.claim(Path("runs"), "t", None) == Path("runs/t/1")
    assert folders.claim(Path("runs"), "t", "mine") == Path("runs/t/mine")
    assert not Path("runs").exists()


def test_a_run_knows_what_it_was_started_with():
    run = Path("runs/t/1")
    run.mkdir(parents=True)
    assert folders.started_with(run) is None
    (run / "config.yaml").write_text(
        "".join(f"# {line}\n" for line in folders.header("t/default")) + "a: 1\n"
    )
    assert folders.started_with(run) == "t/default"


def test_the_run_of_a_checkpoint():
    run = Path("runs/t/1")
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").touch()
    assert folders.run_of(run / "checkpoints" / "last.ckpt") == run
    with pytest.raises(UsageError, match=r"lies in no run folder.*\n.*--init_from"):
        folders.run_of(Path("elsewhere/last.ckpt"))
