"""Scores on 50Salads (mid level, 18-d frame scores): splits and seeds, or every core on one.

Trains through the command line, in this process, and scores the last checkpoint, that is the
averaged weights at the end of the run; the test videos choose nothing. CPU seconds are those of
`fit`, validations included. Prints Markdown.

    python benchmarks/salads50.py salads50/ --config video/segmentation
    python benchmarks/salads50.py salads50/ --config video/segmentation --together 3
    python benchmarks/salads50.py salads50/ --cores --splits 1 --seeds 0
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from lightning.pytorch import Trainer
from measure import QUIET, cpu_seconds, head, introduce, line, one_thread, parser
from unrolled.cli import main as unrolled
from unrolled.core import discover_cores
from unrolled.data import SegmentationData
from unrolled.loading import CheckedTask
from unrolled.tasks import ensemble

NAMES = ("acc", "acc_mean", "edit", "f1@10", "f1@25", "f1@50")
COLUMNS = ("accuracy", "mean over classes", "edit", "F1@10", "F1@25", "F1@50", "mAP")
COLUMNS += ("accuracy by video", "F1@10 by video", "F1@25 by video", "F1@50 by video")


def train(root: Path, config: str, split: int, seed: int, more: list[str]) -> tuple[str, float]:
    """Train a model; return its last checkpoint and the CPU seconds of the training."""
    name = f"{time.time_ns()}"
    data = ["--data.root", str(root), "--data.split", str(split)]
    data += ["--data.background", "[action_00]", "--data.seed", str(seed)]
    fit = ["fit", config, *data, "--seed_everything", str(seed), "--name", name, *more]
    fit += ["--trainer.accelerator", "cpu"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        seconds = cpu_seconds(partial(checked, fit))
    return f"runs/video/{name}/checkpoints/last.ckpt", seconds


def test(root: Path, split: int, checkpoints: list[str]) -> list[float]:
    """Return the scores of a model, or of several that speak together."""
    read = [CheckedTask(checkpoint) for checkpoint in checkpoints]
    tasks = [one.build_task() for one in read]
    for one, task in zip(read, tasks, strict=True):
        task.load_state_dict(one.weights)
    task = tasks[0]
    task.model = ensemble([one.model for one in tasks])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        data = SegmentationData(str(root), split=split, spec=read[0].spec)
        precision = Trainer(**QUIET).test(task, data, verbose=False)[0]["test/map"]
    pooled = task.segments.compute()
    # the same videos, counted the other way
    task.segments.pooled, task.segments._computed = False, None
    by_video = task.segments.compute()
    means = [by_video[name] for name in ("acc", "f1@10", "f1@25", "f1@50")]
    return [*(pooled[name] for name in NAMES), precision, *means]


def train_and_test(
    root: Path, config: str, split: int, seeds: list[int], more: list[str]
) -> tuple[list[float], float]:
    """Train a model for each seed; return their scores together and the CPU seconds."""
    runs = [train(root, config, split, seed, more) for seed in seeds]
    return test(root, split, [path for path, _ in runs]), sum(seconds for _, seconds in runs)


def checked(words: list[str]) -> None:
    """Run a command, which has to end well."""
    assert unrolled(words) == 0, words


def cells(scores: list[float], seconds: float | None) -> list[str]:
    """Return the cells of a line of the table."""
    return [*(f"{score:.1f}" for score in scores), "" if seconds is None else f"{seconds:.0f}"]


def mean(rows: list[list[float]]) -> list[float]:
    """Return the mean of each column."""
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def all_splits(root: Path, arguments: argparse.Namespace, more: list[str]) -> None:
    """Print the scores of every split, their mean, and the seeds' spread."""
    head("split", *COLUMNS, "CPU seconds")
    several = arguments.together
    groups = [arguments.seeds[n : n + several] for n in range(0, len(arguments.seeds), several)]
    by_seed: list[list[list[float]]] = [[] for _ in groups]
    total = []
    for split in arguments.splits:
        of_seeds = partial(train_and_test, root, arguments.config, split, more=more)
        runs = [of_seeds(seeds=seeds) for seeds in groups]
        for found, (scores, _) in zip(by_seed, runs, strict=True):
            found.append(scores)
        seconds = [cpu for _, cpu in runs]
        total += seconds
        line(split, *cells(mean([scores for scores, _ in runs]), statistics.fmean(seconds)))
    means = [mean(rows) for rows in by_seed]
    line("mean", *cells(mean(means), statistics.fmean(total)))
    if len(means) > 1:
        for name, pick in (("lowest seed", min), ("highest seed", max)):
            line(name, *cells([pick(column) for column in zip(*means, strict=True)], None))
    print(f"\nThe slowest run took {max(total):.0f} CPU seconds.")


def all_cores(root: Path, arguments: argparse.Namespace, more: list[str]) -> None:
    """Print the scores of every core in the configuration's place, in a budget of CPU seconds."""
    head("core", *COLUMNS, "CPU seconds", "epochs")
    for name, cls in discover_cores().items():
        if "core" in inspect.signature(cls).parameters or (
            arguments.only and name not in arguments.only
        ):
            continue
        for split in arguments.splits:
            for seed in arguments.seeds:
                # The cost of an epoch, imports left out; the trial also warms up.
                place = f"--model.core.{arguments.place}"
                flags = [place, name, f"{place}.hidden_size", str(arguments.hidden), *more]
                flags.append("--trainer.max_epochs")
                run = partial(train_and_test, root, arguments.config, split, [seed])
                (_, one), (_, two) = (run([*flags, epochs]) for epochs in ("1", "2"))
                affordable = int(arguments.budget / max(two - one, 0.1)) - 1
                epochs = max(1, min(arguments.epochs, affordable))
                line(name, *cells(*run([*flags, str(epochs)])), epochs)


def main() -> None:
    """Print a table."""
    options = parser(__doc__)
    options.add_argument("root", type=Path, help="50Salads in the layout of MS-TCN")
    options.add_argument("--config", default="video/segmentation")
    options.add_argument("--splits", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--together", type=int, default=1, help="seeds that speak as one model")
    options.add_argument("--cores", action="store_true", help="every core in the cell's place")
    cores = options.add_argument_group("with --cores")
    cores.add_argument("--only", nargs="+", help="these alone")
    cores.add_argument("--place", default="core", help="where the cell is below --model.core")
    cores.add_argument("--hidden", type=int, default=64, help="hidden_size")
    cores.add_argument("--epochs", type=int, default=40, help="epochs, if the budget allows them")
    cores.add_argument("--budget", type=float, default=60, help="CPU seconds of a run")
    arguments, more = options.parse_known_args()
    one_thread()
    root = arguments.root.resolve()
    runs = f"splits {arguments.splits}, seeds {arguments.seeds}, one thread"
    introduce(f"{arguments.config} {' '.join(more)}, {runs}")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        (all_cores if arguments.cores else all_splits)(root, arguments, more)


if __name__ == "__main__":
    main()
