"""Killed again and again, at any moment, a run ends in the bits of one that was left alone."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from chains import live, live_together, same_runs
from tiny_tasks import CASES, Case, random_fit

COMMON = (
    *("--trainer.log_every_n_steps", "1"),
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
WORKERS = {"0 workers": (), "2 workers": ("--data.num_workers", "2")}
PROCESSES = {"1 process": (), "2 processes": ("--data.batch_size", "2")}


def arguments(case: Case, name: str, *more: str) -> list[str]:
    return random_fit(case, name, *COMMON, *more)


def files(run: Path) -> dict[str, str]:
    """What a run has written, but for TensorBoard's files and the lock that a kill leaves.

    Nor the picture of its curves: it is drawn by whoever finds the run at its end.
    """
    found = (path for path in run.rglob("*") if path.is_file())
    found = (path for path in found if path.name not in (".lock", "curves.png"))
    found = (path for path in found if "tfevents" not in path.name)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


QUICK = ("char_lm", "translation")

# The first moment of the name in each life, and how it ends.
CHAIN = (
    ("half of .last.ckpt.part", "SIGKILL"),
    ("after on_validation_batch_start", "SIGKILL"),
    ("before on_train_epoch_end", "SIGTERM"),
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


@pytest.mark.parametrize(
    "case",
    [
        # of the two that carry a state and the two that decode one each
        pytest.param(case, id=case.task, marks=[] if case.task in QUICK else pytest.mark.slow)
        for case in CASES
    ],
)
def test_killed_again_and_again_it_is_bit_for_bit_the_same(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case.write(tmp_path)
    settings = [*VALIDATIONS["every 5 batches"], *ENDS["epochs"]]
    if case.task == "translation":
        settings += WORKERS["2 workers"]
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


# The same for two processes, and to which of them it comes.
CHAIN_OF_TWO = (
    ("half of .last.ckpt.part", "SIGKILL", 0),
    ("after on_validation_batch_start", "SIGKILL", 1),
    ("after on_train_epoch_end", "SIGTERM", 1),
)


@pytest.mark.slow  # test_ddp.py kills two processes in the ordinary run
def test_two_processes_killed_again_and_again_are_bit_for_bit_the_same(
    forks, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    case = CASES[0]
    case.write(tmp_path)
    settings = [*VALIDATIONS["every 5 batches"], *ENDS["steps"], *PROCESSES["2 processes"]]
    assert live_together(forks, arguments(case, "whole", *settings))[0] == 0
    killed = arguments(case, "killed", *settings)
    for name, way, who in CHAIN_OF_TWO:
        code, came = live_together(forks, killed, name, way, who)
        assert name in came
        assert code != 0 if way == "SIGKILL" else code == 143
        killed = [*arguments(case, "killed", *settings), "--resume"]
    assert live_together(forks, killed)[0] == 0
    runs = Path("runs", case.task)
    same_runs(runs / "whole", runs / "killed")


def lives(draw: random.Random, moments: list[str]) -> Iterator[int | str]:
    """Yield where each life of a run ends: one in a save and one in a validation, then anywhere."""
    kinds = [[name for name in moments if word in name] for word in ("last.ckpt", "on_validation")]
    named = [draw.choice(names) for names in kinds if names]
    yield from draw.sample(named, len(named))
    # not the first two: with several processes, Lightning's own handler of SIGTERM can hang
    yield from iter(lambda: draw.randint(3, max(3, len(moments) // 4)), None)


@pytest.mark.slow  # two hundred kills take about half an hour
def test_killed_at_random_it_is_bit_for_bit_the_same(forks, tmp_path, monkeypatch):
    seed = int(os.environ.get("UNROLLED_CHAIN_SEED") or random.randrange(10**6))
    print(f"UNROLLED_CHAIN_SEED={seed}")
    draw = random.Random(seed)
    kills = 0
    while kills < int(os.environ.get("UNROLLED_CHAIN_KILLS", "200")):
        case = draw.choice(CASES)
        choices = {"validation": VALIDATIONS, "end": ENDS, "extra": EXTRAS, "workers": WORKERS}
        names = {kind: draw.choice(list(values)) for kind, values in choices.items()}
        settings = [word for kind, name in names.items() for word in choices[kind][name]]
        # a run of two processes takes several times as long
        names["processes"] = draw.choice(["1 process", "1 process", "1 process", "2 processes"])
        settings += PROCESSES[names["processes"]]
        if names["validation"] == "none" and names["extra"] == "patience":
            continue
        folder = tmp_path / str(kills)
        folder.mkdir()
        monkeypatch.chdir(folder)
        case.write(folder)
        together = names["processes"] == "2 processes"
        train = partial(live_together, forks) if together else live
        code, moments = train(arguments(case, "whole", *settings))
        assert code == 0
        killed, plan = arguments(case, "killed", *settings), []
        ends = lives(draw, moments)
        while code != 0 or not plan:
            last, way = next(ends), draw.choice(["SIGKILL", "SIGKILL", "SIGTERM"])
            code, came = train(killed, last, way, *([draw.randint(0, 1)] if together else []))
            at = came[last - 1 : last] if isinstance(last, int) else last
            plan.append((way, at, code))
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
        assert train(killed)[0] == 0
        assert files(runs / "killed") == before
