"""What a run watches and will never see is found before it trains."""

from __future__ import annotations

import pytest
from tiny_runs import RUNS, enter, fit, read

VALIDATED = ["--trainer.val_check_interval", "2"]
PATIENT = ["--early_stopping.patience", "2"]
OTHER = ["--early_stopping.monitor", "val/bits_per_character"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch, repeats=60)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--checkpoint.monitor", "val/los"], "Did you mean 'val/loss'?"),
        (["--checkpoint.monitor", "bits_per_character"], "Did you mean 'val/bits_per_character'?"),
        ([*PATIENT, "--early_stopping.monitor", "val/bleu"], "What is logged: train/loss, val/"),
        ([*PATIENT, "--early_stopping.monitor", "valid/loss"], "Did you mean 'val/loss'?"),
        (
            [
                *("--trainer.callbacks+", "EarlyStopping"),
                *("--trainer.callbacks.monitor", "val/accuracy"),
            ],
            "nothing of that name is logged",
        ),
    ],
)
def test_a_name_that_is_not_logged(flags, told, capsys):
    assert fit(*VALIDATED, *flags, steps=4) == 2
    assert told in capsys.readouterr().err
    assert not list(RUNS.iterdir())


def test_a_name_that_is_not_logged_in_a_resumed_run(capsys):
    assert fit(*VALIDATED) == 0
    assert fit("--resume", "--checkpoint.monitor", "val/los", steps=4) == 2
    assert "Did you mean 'val/loss'?" in capsys.readouterr().err
    assert read("last")["global_step"] == 2


@pytest.mark.parametrize(
    "flags",
    [
        ["--trainer.limit_val_batches", "0"],
        ["--data.val_fraction", "0"],
    ],
)
def test_no_validation(flags, capsys):
    for watched in (PATIENT, ["--checkpoint.monitor", "val/bits_per_character"]):
        assert fit(*flags, *watched, steps=4) == 2
        assert "there is no validation part" in capsys.readouterr().err
    assert fit(*flags) == 0  # nobody has asked for the best
    assert "no best.ckpt will be kept" in capsys.readouterr().err


def epochs(number: int) -> list[str]:
    """Validate at the end of each so many epochs."""
    every = ["--trainer.check_val_every_n_epoch", str(number)]
    return ["--trainer.val_check_interval", "1.0", *every]


@pytest.mark.parametrize(
    ("flags", "steps", "code"),
    [
        (["--trainer.val_check_interval", "4"], 3, 2),
        (["--trainer.val_check_interval", "4"], 4, 0),
        (["--trainer.val_check_interval", "4", "--trainer.accumulate_grad_batches", "2"], 2, 0),
        (["--trainer.val_check_interval", "4", "--trainer.accumulate_grad_batches", "2"], 1, 2),
        ([*epochs(2), "--trainer.max_epochs", "1"], -1, 2),
        ([*epochs(1), "--trainer.max_epochs", "1"], -1, 0),
        ([*epochs(2), "--trainer.limit_train_batches", "4"], 7, 2),
        ([*epochs(2), "--trainer.limit_train_batches", "4"], 8, 0),
    ],
)
def test_the_end_before_the_first_validation(flags, steps, code, capsys):
    assert fit(*flags, *PATIENT, *OTHER, steps=steps) == code
    assert ("before its first validation" in capsys.readouterr().err) == (code == 2)
    # the other way round: where it was let through, it was validated
    assert (RUNS / "1" / "checkpoints" / "best.ckpt").exists() == (code == 0)


def test_what_is_logged_in_training_may_be_watched():
    flags = ["--trainer.limit_val_batches", "0", *PATIENT, "--early_stopping.monitor", "train/loss"]
    assert fit(*flags, "--trainer.limit_train_batches", "3", steps=7) == 0


def test_every_task_knows_what_it_logs(tmp_path, monkeypatch):
    """What a validation logs is what `logged` says, in all tasks."""
    from tiny_tasks import CASES
    from unrolled.apps.run import monitors
    from unrolled.cli import main

    known, seen = [], []
    ask = monitors.refuse_unknown_names

    def asked(trainer, task):
        known.append(task.logged())
        ask(trainer, task)

    monkeypatch.setattr("unrolled.apps.run.training.refuse_unknown_names", asked)
    monkeypatch.setattr(
        monitors.Monitors,
        "on_validation_end",
        lambda _, trainer, task: seen.append({*trainer.callback_metrics}),
    )
    for case in CASES:
        folder = tmp_path / case.task
        folder.mkdir()
        monkeypatch.chdir(folder)
        case.write(folder)
        flags = [*case.flags, "--trainer.accelerator", "cpu", "--data.batch_size", "4"]
        assert main(["fit", case.variant, *flags, "--trainer.max_steps", "1"]) == 0
        assert {name for name in seen[-1] if name.startswith("val/")} <= known[-1]
        assert {name for name in known[-1] if name.startswith("val/")} - {"val/exact"} <= seen[-1]


def test_a_validation_after_more_batches_than_there_are(capsys):
    often = ["--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "100000"]
    assert fit(*often, steps=4) == 2
    assert "`val_check_interval` (100000) must be less" in capsys.readouterr().err
