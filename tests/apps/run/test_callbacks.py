"""What a run keeps: the last state, the one before it, the best, and its table of metrics."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from unrolled.apps.run.callbacks import Bar, Checkpoint, StopEarly
from unrolled.cli import main


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 60)


def fit(*flags: str, steps: int) -> None:
    tiny = [
        "--data.path",
        "text.txt",
        "--data.batch_size",
        "2",
        "--data.chunk_length",
        "8",
        "--trainer.accelerator",
        "cpu",
    ]
    size = [] if "--resume" in flags else ["--model.core.hidden_size", "8"]
    assert main(["fit", "char_lm", *tiny, *size, "--trainer.max_steps", str(steps), *flags]) == 0


def read(name: str, run: str = "1") -> dict:
    return torch.load(
        Path("runs/char_lm") / run / "checkpoints" / f"{name}.ckpt", weights_only=True
    )


def callback_state(checkpoint: dict) -> dict:
    (state,) = (
        state for key, state in checkpoint["callbacks"].items() if key.startswith("Checkpoint")
    )
    return state


def test_the_last_state_and_the_one_before_it():
    fit("--checkpoint.every_n_train_steps", "4", steps=10)
    assert read("last")["global_step"] == 10
    assert read("previous")["global_step"] == 8


def test_the_last_state_is_saved_within_training_where_it_can_go_on():
    fit(steps=3)
    assert "carried_state" in read("last")
    assert read("last")["loops"]["fit_loop"]["epoch_progress"]["current"]["completed"] == 0


def test_the_end_of_an_epoch_is_saved():
    fit("--trainer.max_epochs", "1", steps=-1)
    assert read("last")["global_step"] > 10


@pytest.mark.filterwarnings("ignore:Total length of")  # Lightning's, for the empty validation
def test_the_last_state_is_saved_where_a_validation_would_come_but_has_no_data():
    flags = ["--trainer.val_check_interval", "4", "--data.val_fraction", "0"]
    fit(*flags, "--checkpoint.every_n_train_steps", "4", steps=8)
    assert read("previous")["global_step"] == 4


def test_a_run_out_of_patience_has_reached_its_end(capsys):
    flags = ["--trainer.val_check_interval", "2", "--early_stopping.min_delta", "100"]
    fit(*flags, "--early_stopping.patience", "1", steps=20)
    stopped = read("last")["global_step"]
    assert stopped < 20
    fit(*flags, "--early_stopping.patience", "1", "--resume", steps=20)
    assert read("last")["global_step"] == stopped
    assert "the run had reached its end" in capsys.readouterr().err
    fit(*flags, "--early_stopping.patience", "3", "--resume", steps=20)
    assert read("last")["global_step"] > stopped


def test_the_best_is_the_best_and_survives_a_resume_from_an_earlier_state():
    flags = ["--trainer.val_check_interval", "5", "--checkpoint.every_n_train_steps", "100"]
    fit(*flags, steps=20)
    best = read("best")["global_step"]
    score = callback_state(read("best"))["best_model_score"]
    fit(*flags, "--resume", "--trainer.limit_val_batches", "0", steps=22)
    assert read("best")["global_step"] == best
    assert callback_state(read("last"))["best_model_score"] == score


def test_several_of_the_best():
    fit("--trainer.val_check_interval", "2", "--checkpoint.save_top_k", "2", steps=8)
    best = sorted(path.name for path in Path("runs/char_lm/1/checkpoints").glob("best*"))
    assert len(best) == 2
    assert all(name.startswith("best-") for name in best)


def test_none_of_the_best():
    fit("--trainer.val_check_interval", "2", "--checkpoint.monitor", "null", steps=4)
    assert sorted(path.name for path in Path("runs/char_lm/1/checkpoints").iterdir()) == [
        "last.ckpt"
    ]


def test_a_run_that_was_moved_goes_on_where_it_is():
    fit("--trainer.val_check_interval", "2", steps=4)
    shutil.move("runs/char_lm/1", "runs/char_lm/moved")
    fit("--resume", "--name", "moved", steps=5)
    assert callback_state(read("last", "moved"))["best_model_path"].endswith(
        "moved/checkpoints/best.ckpt"
    )
    assert not Path("runs/char_lm/1").exists()


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe", b'"' + b"x" * 200_000], ids=["no text", "no table"]
)
def test_a_table_that_cannot_be_read_is_named_with_what_to_do(damage, capsys):
    fit("--trainer.log_every_n_steps", "1", steps=3)
    table = Path("runs/char_lm/1/metrics.csv")
    table.write_bytes(table.read_bytes() + damage + b"\n")
    again = ["fit", "char_lm", "--resume", "--trainer.max_steps", "5"]
    assert main(again) == 3
    told = capsys.readouterr().err.strip().splitlines()[-2:]
    assert f"{table}' is damaged" in told[0]
    assert "Move it away" in told[1]
    table.rename("away.csv")
    assert main(again) == 0
    # the header, the checkpoint's own row, two steps
    assert len(table.read_text().splitlines()) == 4


def test_a_row_with_more_cells_than_columns_keeps_those_that_have_a_name():
    fit("--trainer.log_every_n_steps", "1", steps=3)
    table = Path("runs/char_lm/1/metrics.csv")
    whole = table.read_text()
    table.write_text(whole + "9,9,9,9,9,9,9,9,9,9\n9")  # and a last line that is not whole
    fit("--trainer.log_every_n_steps", "1", "--resume", steps=3)
    assert table.read_text() == whole


@pytest.mark.parametrize("max_epochs", [-1, 5])
def test_the_bar_leaves_room(monkeypatch, max_epochs):
    metrics = {"train/loss": 1.0, "val/loss": 2.0, "val/bits_per_character": 3.0, "v_num": 0}
    monkeypatch.setattr(
        "lightning.pytorch.callbacks.RichProgressBar.get_metrics", lambda *_: metrics
    )
    bar = Bar()
    assert list(bar.get_metrics(None, None)) == ["train", "val", "val/bpc"]
    bar._trainer = Trainer(
        max_epochs=max_epochs, accelerator="cpu", logger=False, enable_progress_bar=False
    )
    assert bar._get_train_description(3).strip() == ("Epoch 3" if max_epochs < 0 else "Epoch 3/4")


def test_a_resumed_run_has_the_patience_of_its_command_line():
    callback = StopEarly(patience=5)
    callback.load_state_dict(StopEarly().state_dict())
    assert callback.patience == 5
    assert callback.enabled


def test_saving_every_0_steps_is_refused():
    with pytest.raises(ValueError, match="every_n_train_steps=0: must be at least 1"):
        Checkpoint(every_n_train_steps=0)
