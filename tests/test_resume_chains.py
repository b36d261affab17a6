"""Killed again and again, at any moment, a run ends in the bits of one that was left alone."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest
from chains import live, same_runs
from tiny_tasks import CASES, Case

# What a chain of kills could lose: dropout, a schedule, sampling, averages, half a step's
# gradients.
RANDOM = {
    "char_lm": (
        *("--data.batch_size", "4", "--model.embedding_dropout", "0.1"),
        *("--model.output_dropout", "0.4"),
    ),
    "translation": (
        *("--data.batch_size", "4", "--model.dropout", "0.3", "--model.scheduled_sampling", "0.5"),
    ),
    "captioning": (
        *("--data.batch_size", "4", "--model.scheduled_sampling", "0.5", "--model.dropout", "0.3"),
    ),
    "video": (
        *("--data.batch_size", "2", "--model.input_noise", "0.3", "--model.output_dropout", "0.4"),
        # it sees no whole video, of which torchmetrics warns
        *("--trainer.num_sanity_val_steps", "0"),
    ),
}
COMMON = (
    *("--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1"),
    *("--checkpoint.every_n_train_steps", "2"),
    *("--trainer.accumulate_grad_batches", "2", "--trainer.limit_train_batches", "7"),
    *("--data.num_workers", "0"),
)
COUNTED = ("--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval")
VALIDATIONS = {
    "every 5 batches": (*COUNTED, "5"),
    "every 4 batches": (*COUNTED, "4"),
    "with the epoch's end": (*COUNTED, "7"),
    "every epoch": (
        *("--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "1.0"),
    ),
    "twice in every epoch": (
        *("--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "0.5"),
    ),
    "every second epoch": (
        *("--trainer.check_val_every_n_epoch", "2", "--trainer.val_check_interval", "1.0"),
    ),
    "none": ("--trainer.limit_val_batches", "0"),
}
ENDS = {
    "epochs": ("--trainer.max_epochs", "3", "--trainer.max_steps", "-1"),
    "steps": ("--trainer.max_epochs", "-1", "--trainer.max_steps", "10"),
    "steps of whole epochs": ("--trainer.max_epochs", "-1", "--trainer.max_steps", "12"),
    "both": ("--trainer.max_epochs", "3", "--trainer.max_steps", "100"),
}
EXTRAS = {
    "nothing": (),
    "patience": (
        *("--early_stopping.patience", "2", "--early_stopping.monitor", "val/loss"),
        *("--early_stopping.mode", "max"),
    ),
    "three best": ("--checkpoint.save_top_k", "3"),
    "one batch a step": ("--trainer.accumulate_grad_batches", "1"),
}


def arguments(case: Case, name: str, *more: str) -> list[str]:
    return ["fit", case.variant, "--name", name, *case.flags, *RANDOM[case.task], *COMMON, *more]


def files(run: Path) -> dict[str, str]:
    """What a run has written, but for TensorBoard's files and the lock that a kill leaves."""
    found = (path for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    found = (path for path in found if "tfevents" not in path.name)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


# The first moment of the name in each life, and how it ends.
CHAIN = (
    ("after on_train_epoch_end", "SIGKILL"),
    ("before on_validation_end", "SIGTERM"),
    ("after on_fit_end", "SIGKILL"),
)
LONG_CHAIN = (
    ("half of .last.ckpt.part", "SIGKILL"),
    ("before row", "SIGTERM"),
    ("after name previous.ckpt", "SIGKILL"),
    ("after on_train_epoch_end", "SIGKILL"),
    ("after on_validation_batch_start", "SIGKILL"),
    ("before on_validation_end", "SIGTERM"),
    ("before on_train_epoch_end", "SIGTERM"),
    ("after on_fit_end", "SIGKILL"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.task)
def test_killed_again_and_again_it_is_bit_for_bit_the_same(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case.write(tmp_path)
    settings = [*VALIDATIONS["every 5 batches"], *ENDS["epochs"]]
    assert live(arguments(case, "whole", *settings))[0] == 0
    killed = arguments(case, "killed", *settings)
    for name, way in LONG_CHAIN if case.task == "char_lm" else CHAIN:
        code, came = live(killed, name, way)
        assert name in came
        assert code == {"SIGKILL": None, "SIGTERM": 143}[way]
        killed = [*arguments(case, "killed", *settings), "--resume"]
    runs = Path("runs", case.task)
    same_runs(runs / "whole", runs / "killed")
    before = files(runs / "killed")
    assert live(killed) == (0, [])
    assert files(runs / "killed") == before


def test_asked_to_stop_before_the_first_step_it_says_so_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    case = CASES[0]
    case.write(tmp_path)
    settings = [*VALIDATIONS["every 5 batches"], *ENDS["steps"]]
    assert live(arguments(case, "whole", *settings))[0] == 0
    killed = arguments(case, "killed", *settings, "--resume")  # as a cluster's queue has it
    assert live(killed, "before on_train_start", "SIGTERM")[0] == 143
    assert "asked to stop (SIGTERM)" in capsys.readouterr().err
    assert live(killed)[0] == 0
    same_runs(*(Path("runs", case.task, name) for name in ("whole", "killed")))


@pytest.mark.slow  # two hundred kills take about a quarter of an hour
def test_killed_at_random_it_is_bit_for_bit_the_same(tmp_path, monkeypatch):
    seed = int(os.environ.get("UNROLLED_CHAIN_SEED") or random.randrange(10**6))
    print(f"UNROLLED_CHAIN_SEED={seed}")
    draw = random.Random(seed)
    kills = 0
    while kills < int(os.environ.get("UNROLLED_CHAIN_KILLS", "200")):
        case = draw.choice(CASES)
        names = [draw.choice(list(choices)) for choices in (VALIDATIONS, ENDS, EXTRAS)]
        if "none" in names and "patience" in names:
            continue
        folder = tmp_path / str(kills)
        folder.mkdir()
        monkeypatch.chdir(folder)
        case.write(folder)
        settings = [*VALIDATIONS[names[0]], *ENDS[names[1]], *EXTRAS[names[2]]]
        code, moments = live(arguments(case, "whole", *settings))
        assert code == 0
        killed, plan = arguments(case, "killed", *settings), []
        while code != 0 or not plan:
            last, way = (
                draw.randint(1, len(moments) // 2),
                draw.choice(["SIGKILL", "SIGKILL", "SIGTERM"]),
            )
            code, came = live(killed, last, way)
            plan.append((way, last, came[last - 1] if last <= len(came) else None, code))
            kills += code != 0
            killed = [*arguments(case, "killed", *settings), "--resume"]
            if draw.random() < 0.2 and (
                best := sorted(Path("runs", case.task, "killed/checkpoints").glob("best*"))
            ):
                killed.append(str(draw.choice(best)))
                plan.append(best)
        print(kills, case.task, names, plan, flush=True)
        killed = [*arguments(case, "killed", *settings), "--resume"]
        runs = Path("runs", case.task)
        same_runs(runs / "whole", runs / "killed")
        before = files(runs / "killed")
        assert live(killed) == (0, [])
        assert files(runs / "killed") == before
