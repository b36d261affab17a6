"""Run folders: `runs/TASK/NAME` with its configuration, its logs and its checkpoints."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ....checkpoints import CHECKPOINTS, checkpoints_of
from ....errors import DataError, UsageError
from . import lock

CONFIG = "config.yaml"

# Lightning's launcher starts the other ranks of a run with the environment of the first, which has
# chosen the folder.
_CHOSEN = "_UNROLLED_RUN_FOLDER"
_FIRST = "_UNROLLED_FIRST_PROCESS"
# The last is all that the first process of another machine has, where no launcher started it.
_RANK = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "NODE_RANK")
_HEADER = re.compile(r"^# unrolled fit (\S+)$", re.MULTILINE)


def rank() -> int:
    """Return the rank of this process: 0 where nobody has given it one.

    On other machines than the first, of which nobody has said how many processes are on those
    before, it is only known not to be 0.
    """
    found = next((int(os.environ[name]) for name in _RANK if name in os.environ), 0)
    return found or int("RANK" not in os.environ and os.environ.get("NODE_RANK", "0") != "0")


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def launcher() -> int | None:
    """Return the process whose Lightning has started this one, the machine's first, or None."""
    return int(os.environ[_FIRST]) if _FIRST in os.environ and _local_rank() > 0 else None


def claim(root: Path, task: str, name: str | None) -> Path:
    """Make the folder of a new run; all ranks of a run agree on it.

    A rank that a launcher of its own has started (torchrun, SLURM) can't know the number that the
    first rank takes; it gets the likely one, makes nothing, and takes over the first rank's folder
    when the ranks are connected.

    Args:
        root: The folder of all runs.
        task: The name of the task.
        name: The name of the run, or None to number it.

    Raises:
        UsageError: A run of that name exists.
    """
    folder = root / task
    if rank() > 0:
        chosen = os.environ.get(_CHOSEN)
        return Path(chosen) if chosen else folder / (name or str(_highest(folder) + 1))
    folder.mkdir(parents=True, exist_ok=True)
    number = _highest(folder) + 1
    while True:
        path = folder / (name or str(number))
        try:
            path.mkdir()
            break
        except FileExistsError:
            if name is None:
                number += 1
            else:
                refuse_used(path)
                break
    publish(path)
    return path


def refuse_used(run: Path) -> None:
    """Refuse to begin a run in a folder that holds something.

    Args:
        run: The run's folder.

    Raises:
        UsageError: A run writes there, or has written.
    """
    lock.refuse_locked(run)
    refuse_full(run)


def refuse_full(run: Path) -> None:
    """Refuse a folder that holds something.

    Args:
        run: The run's folder.

    Raises:
        UsageError: It does.
    """
    # what is left of a run that was killed before it wrote anything may be used
    if run.is_dir() and any(path.name != lock.NAME for path in run.iterdir()):
        raise UsageError(
            f"The run '{run}' exists already.\n"
            "Choose another --name, or add --resume to go on with it."
        )


def refuse_links(run: Path) -> None:
    """Refuse to write into a folder that may be a stranger's where a link leads out of it.

    Args:
        run: The run's folder.

    Raises:
        DataError: There is such a link.
    """
    for path in [*run.iterdir(), *(run / CHECKPOINTS).glob("*")]:
        if leads_out(path, run):
            raise DataError(
                f"'{path}' leads out of the run's folder: what the run writes there could be "
                "anything of yours.\n"
                "Resume a run of your own by its name: unrolled fit TASK --name NAME --resume."
            )


def leads_out(path: Path, folder: Path) -> bool:
    """Say whether a path leads out of a folder by a link.

    Args:
        path: The path, below the folder.
        folder: The folder.
    """
    return not os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


def publish(run: Path) -> None:
    """Tell the ranks that Lightning's launcher will start which folder is the run's."""
    os.environ[_CHOSEN] = str(run)


def lead() -> None:
    """Tell the ranks that Lightning's launcher will start which process is the first."""
    if _local_rank() == 0:
        os.environ[_FIRST] = str(os.getpid())


def forget() -> None:
    """Take back what `publish` and `lead` told."""
    os.environ.pop(_CHOSEN, None)
    if _local_rank() == 0:
        os.environ.pop(_FIRST, None)


def _highest(folder: Path) -> int:
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else iter(())
    return max((int(name) for name in names if name.isdecimal()), default=0)


def started_with(run: Path) -> str | None:
    """Return the word after `unrolled fit` that started a run; None: its configuration is mute.

    Args:
        run: The run's folder.
    """
    config = run / CONFIG
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    found = _HEADER.search(text[:2000])
    return found[1] if found else None


def header(word: str) -> list[str]:
    """Return the comment lines that a run's configuration begins with.

    Args:
        word: What was given after `unrolled fit`.
    """
    from .... import __version__

    return [f"unrolled=={__version__}", f"unrolled fit {word}"]


def newest_run(root: Path, task: str, word: str) -> Path:
    """Return the run of a task that has written last.

    Args:
        root: The folder of all runs.
        task: The name of the task.
        word: What was given after `unrolled fit`; runs started with another word are passed over.

    Raises:
        UsageError: There is none.
    """
    folder = root / task
    runs = [path.parent for path in folder.glob(f"*/{CONFIG}") if path.is_file()]
    runs = [run for run in runs if started_with(run) in (None, word) and checkpoints_of(run)]
    if not runs:
        raise UsageError(
            f"There is no run of '{word}' with a checkpoint in '{folder}' to resume.\n"
            "Leave --resume out to start one, or name a checkpoint: --resume PATH."
        )
    return max(runs, key=lambda run: checkpoints_of(run)[0].stat().st_mtime_ns)


def run_of(checkpoint: Path) -> Path:
    """Return the run folder that a checkpoint lies in.

    Args:
        checkpoint: The path of the checkpoint.

    Raises:
        UsageError: No folder above it holds a run's configuration.
    """
    for folder in list(checkpoint.resolve().parents)[:3]:
        if (folder / CONFIG).is_file():
            return short(folder)
    raise UsageError(
        f"'{checkpoint}' lies in no run folder: there is no {CONFIG} above it, which --resume goes "
        "on with.\n"
        "To begin a new run with its weights use --init_from."
    )


def short(path: Path) -> Path:
    """Return a path relative to the working folder where it lies below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path
