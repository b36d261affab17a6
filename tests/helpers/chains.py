"""Runs that die at a chosen moment and are resumed.

In this process, since a new one takes seconds; runs of several processes in forks.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from forks import Forks
from lightning.pytorch.trainer import call
from unrolled.apps.run.tables import MetricsTable
from unrolled.cli import main


class Killed(BaseException):
    """A SIGKILL: nothing that a callback or an exit handler does comes after it."""


class Moments:
    """Counts the moments of a run's life from the start of training on, and ends it at one of them.

    A moment is before and after the callbacks of every hook, every write of a checkpoint (at its
    beginning, with half of its bytes on the disk, before and after it takes its name) and every row
    of the table of metrics.

    Args:
        last: Number of the moment to die at, from 1 (0: never), or the name of a moment, which is
            the first of that name.
        way: SIGKILL, which is an exception here, or SIGTERM, which is sent to the process.
        log: In a process of its own: the file that the moments' names are written to, and SIGKILL
            is sent.
    """

    def __init__(self, last: int | str, way: str = "SIGKILL", log: Path | None = None) -> None:
        self.last = last
        self.way = way
        self.log = log
        self.names: list[str] = []
        self.over = False

    @property
    def dead(self) -> bool:
        """Whether a SIGKILL has come."""
        return self.over and self.way == "SIGKILL"

    def come(self, name: str) -> None:
        """Count a moment, or die."""
        if self.dead or (not self.names and not name.startswith("before on_train_start")):
            return
        self.names.append(name)
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{name}\n")
        if self.last in (len(self.names), name) and not self.over:
            self.over = True
            if self.way == "SIGTERM" or self.log:
                os.kill(os.getpid(), getattr(signal, self.way))
            else:
                raise Killed(name)


@contextmanager
def watched(moments: Moments) -> Iterator[None]:
    """Let the moments of every run in this process come to `moments`."""
    hooks, save = call._call_callback_hooks, torch.save
    row, replace = MetricsTable.log_metrics, Path.replace

    def call_hooks(trainer, hook_name, *args, **kwargs):
        moments.come(f"before {hook_name}")
        if not moments.dead:  # Lightning tells the callbacks of the exception
            hooks(trainer, hook_name, *args, **kwargs)
        moments.come(f"after {hook_name}")

    def save_slowly(value, file, **others):
        if not hasattr(file, "name"):  # torch's own, of what processes tell each other
            save(value, file, **others)
            return
        moments.come(f"begin {Path(file.name).name}")
        save(value, file)
        end = file.tell()
        file.truncate(end // 2)
        moments.come(f"half of {Path(file.name).name}")
        file.seek(0)
        save(value, file)

    def write_row(table, metrics, step=None):
        moments.come("before row")
        row(table, metrics, step)
        moments.come("after row")

    def replace_file(path, target):
        moments.come(f"before name {Path(target).name}")
        result = replace(path, target)
        moments.come(f"after name {Path(target).name}")
        return result

    def unlink(path, missing_ok=False, former=Path.unlink):
        if not moments.dead:  # a dead process doesn't tidy up
            former(path, missing_ok=missing_ok)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call, "_call_callback_hooks", call_hooks)
        patch.setattr(torch, "save", save_slowly)
        patch.setattr(MetricsTable, "log_metrics", write_row)
        patch.setattr(Path, "replace", replace_file)
        patch.setattr(Path, "unlink", unlink)
        yield


def live(
    arguments: list[str], last: int | str = 0, way: str = "SIGKILL"
) -> tuple[int | None, list[str]]:
    """Train until a moment.

    Args:
        arguments: The command line after `unrolled`.
        last: As that of `Moments`.
        way: As that of `Moments`.

    Returns:
        The exit code, None for a run that was killed; and the moments that came.
    """
    moments = Moments(last, way)
    code = None
    with watched(moments):
        try:
            code = main(arguments)
        except Killed:
            assert moments.dead
    assert (code is None) == moments.dead
    return code, moments.names


def live_together(
    forks: Forks, arguments: list[str], last: int | str = 0, way: str = "SIGKILL", who: int = 0
) -> tuple[int, list[str]]:
    """Train in two processes of their own, in this working folder, until a moment of one of them.

    Args:
        forks: What starts them.
        arguments: The command line after `unrolled`.
        last: As that of `Moments`.
        way: As that of `Moments`.
        who: The process that it comes to.

    Returns:
        The exit code of the first process that failed, or 0; and the moments that came to `who`.
    """
    here = Path.cwd()
    names = here / f"moments{who}"
    names.unlink(missing_ok=True)
    plan = json.dumps([last, way, who])
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
    code = forks.run(here, [*arguments, *two], 2, MOMENTS=plan)
    assert code != -signal.SIGALRM, "a process went on alone"
    # none come to a run that is resumed at its very end
    return code, names.read_text().splitlines() if names.exists() else []


def moments_of_rank(environment: dict[str, str]) -> Moments:
    """Return the moments that `live_together` asks one of its processes for."""
    last, way, who = json.loads(environment["MOMENTS"])
    rank = int(environment["LOCAL_RANK"])
    return Moments(last if rank == who else 0, way, Path(f"moments{rank}"))


def same(a, b, where: str = "") -> None:
    """Assert that two nests of plain data are equal to the last bit."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{where}[{number}]")
    else:
        assert a == b, where


def same_runs(one: Path, two: Path) -> None:
    """Assert that two runs have the same checkpoints, but for the runs' folders, and tables."""
    names = [{path.name for path in (run / "checkpoints").glob("*.ckpt")} for run in (one, two)]
    assert names[0] <= names[1]  # Lightning does not delete what a run was resumed from
    for name in names[0] - {"previous.ckpt"}:  # a run that is stopped saves more often
        parts = [torch.load(run / "checkpoints" / name, weights_only=True) for run in (one, two)]
        for run, part in zip((one, two), parts, strict=True):
            for state in part["callbacks"].values():
                for key, value in state.items():
                    if isinstance(value, str):
                        state[key] = value.replace(str(run.absolute()), "")
                if "best_k_models" in state:
                    models = state["best_k_models"].items()
                    state["best_k_models"] = {
                        key.replace(str(run.absolute()), ""): score for key, score in models
                    }
        same(*parts, name)
    assert (one / "metrics.csv").read_text() == (two / "metrics.csv").read_text()
