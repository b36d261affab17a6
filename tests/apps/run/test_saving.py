"""What a run keeps: the last state, the one before it, and the best; each whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny_runs import RUNS, enter, fit, read
from unrolled.apps.run.saving import AtomicCheckpointIO, Checkpoint, checkpoint_folder
from unrolled.errors import SetupError


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch, repeats=60)


def callback_state(checkpoint: dict) -> dict:
    (state,) = (
        state for key, state in checkpoint["callbacks"].items() if key.startswith("Checkpoint")
    )
    return state


def test_the_last_state_and_the_one_before_it():
    assert fit("--checkpoint.every_n_train_steps", "4", steps=10) == 0
    assert read("last")["global_step"] == 10
    assert read("previous")["global_step"] == 8


def test_the_last_state_is_saved_within_training_where_it_can_go_on():
    assert fit(steps=3) == 0
    assert "carried_state" in read("last")
    assert read("last")["loops"]["fit_loop"]["epoch_progress"]["current"]["completed"] == 0


def test_the_end_of_an_epoch_is_saved():
    assert fit("--trainer.max_epochs", "1", steps=-1) == 0
    assert read("last")["global_step"] > 10


def test_the_last_state_is_saved_where_a_validation_would_come_but_has_no_data():
    flags = ["--trainer.val_check_interval", "4", "--data.val_fraction", "0"]
    assert fit(*flags, "--checkpoint.every_n_train_steps", "4", steps=8) == 0
    assert read("previous")["global_step"] == 4


def test_the_best_is_the_best_and_survives_a_resume_from_an_earlier_state():
    flags = ["--trainer.val_check_interval", "5", "--checkpoint.every_n_train_steps", "100"]
    assert fit(*flags, steps=20) == 0
    best = read("best")["global_step"]
    score = callback_state(read("best"))["best_model_score"]
    assert fit(*flags, "--resume", "--trainer.limit_val_batches", "0", steps=22) == 0
    assert read("best")["global_step"] == best
    assert callback_state(read("last"))["best_model_score"] == score


def test_several_of_the_best():
    assert fit("--trainer.val_check_interval", "2", "--checkpoint.save_top_k", "2", steps=8) == 0
    best = sorted(path.name for path in (RUNS / "1" / "checkpoints").glob("best*"))
    assert len(best) == 3
    assert all(name.startswith("best-") for name in best[:2])
    state = callback_state(read("best"))
    steps = [read(name.removesuffix(".ckpt"))["global_step"] for name in best]
    assert steps[2] == read(Path(state["best_model_path"]).stem)["global_step"]
    assert float(state["best_model_score"]) == min(map(float, state["best_k_models"].values()))


def test_none_of_the_best():
    assert fit("--trainer.val_check_interval", "2", "--checkpoint.monitor", "null", steps=4) == 0
    assert sorted(path.name for path in (RUNS / "1" / "checkpoints").iterdir()) == ["last.ckpt"]


def test_a_run_that_was_moved_goes_on_where_it_is():
    assert fit("--trainer.val_check_interval", "2", steps=4) == 0
    shutil.move("runs/char_lm/1", "runs/char_lm/moved")
    assert fit("--resume", "--name", "moved", steps=5) == 0
    assert callback_state(read("last", "moved"))["best_model_path"].endswith(
        "moved/checkpoints/best.ckpt"
    )
    assert not (RUNS / "1").exists()


def test_saving_every_0_steps_is_refused():
    with pytest.raises(ValueError, match="every_n_train_steps=0: must be at least 1"):
        Checkpoint(every_n_train_steps=0)


class TestAtomicCheckpointIO:
    def test_replaces_the_file_and_leaves_nothing_else(self, tmp_path):
        path = tmp_path / "new" / "last.ckpt"
        io = AtomicCheckpointIO()
        io.save_checkpoint({"step": 1}, path)
        io.save_checkpoint({"step": 2}, path)
        assert io.load_checkpoint(path) == {"step": 2}
        assert list(path.parent.iterdir()) == [path]

    def test_the_file_is_readable_by_whom_the_umask_allows(self, tmp_path):
        before = os.umask(0o027)
        try:
            AtomicCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")
        finally:
            os.umask(before)
        assert (tmp_path / "last.ckpt").stat().st_mode & 0o777 == 0o640

    def test_a_failed_write_keeps_the_checkpoint_before(self, tmp_path):
        path = tmp_path / "last.ckpt"
        io = AtomicCheckpointIO()
        io.save_checkpoint({"step": 1}, path)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # the kernel refuses every byte after this
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            with pytest.raises(
                SetupError, match=r"last\.ckpt: no space left .* the one before is untouched"
            ) as error:
                io.save_checkpoint({"step": 2, "weights": torch.zeros(100_000)}, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert error.value.exit_code == 4
        assert io.load_checkpoint(path) == {"step": 1}
        assert {*tmp_path.iterdir()} == {path, tmp_path / "text.txt"}


def own_checkpoints(**arguments: object) -> list[str]:
    name = "lightning.pytorch.callbacks.ModelCheckpoint"
    return ["--trainer.callbacks+", json.dumps({"class_path": name, "init_args": arguments})]


def test_checkpoints_of_ones_own_do_not_take_the_place_of_the_runs(capsys):
    for arguments in ({"save_last": True}, {"filename": "best"}):
        assert fit(*own_checkpoints(**arguments)) == 2
        assert "would overwrite" in capsys.readouterr().err
    assert fit(*own_checkpoints(save_last=True, dirpath="own", every_n_train_steps=1)) == 0
    assert Path("own/last.ckpt").is_file()


def test_asked_to_stop_a_run_saves_its_own_last_state_and_not_another(trainer):
    own, runs = ModelCheckpoint(dirpath="own"), Checkpoint()
    runs.dirpath = "run"
    assert checkpoint_folder(trainer(callbacks=[own, runs], enable_checkpointing=True)) == Path(
        "run"
    )
