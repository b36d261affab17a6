"""Scores on 50Salads (mid level, 18-d frame scores): the five splits and several seeds, or every core on one split.

Trains through the command line, in this process, and scores the last checkpoint, that is the
averaged weights at the end of the run; the test videos choose nothing. CPU seconds are those of
`fit`, validations included. Prints Markdown.

    python benchmarks/salads50.py salads50/ --config video/segmentation
    python benchmarks/salads50.py salads50/ --cores --splits 1 --seeds 0
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from unrolled.cli import main as unrolled
from unrolled.core import discover_cores
from unrolled.data import SegmentationData
from unrolled.loading import CheckedTask

NAMES = ("acc", "acc_mean", "edit", "f1@10", "f1@25", "f1@50")
HEADER = "| accuracy | mean over classes | edit | F1@10 | F1@25 | F1@50 | mAP "
HEADER += "| accuracy by video | F1@10 by video | F1@25 by video | F1@50 by video |"


def run(
    root: Path, config: str, split: int, seed: int, more: list[str]
) -> tuple[list[float], float]:
    """Train and test one model; return its scores and the CPU seconds of the training."""
    name = f"{time.time_ns()}"
    data = [
        "--data.root",
        str(root),
        "--data.split",
        str(split),
        "--data.background",
        "[action_00]",
    ]
    seeds = ["--seed_everything", str(seed), "--data.seed", str(seed)]
    fit = ["fit", config, *data, *seeds, "--trainer.accelerator", "cpu", "--name", name, *more]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        started = time.process_time()
        assert unrolled(fit) == 0, fit
        seconds = time.process_time() - started
        checkpoint = CheckedTask(f"runs/video/{name}/checkpoints/last.ckpt")
        task = checkpoint.build_task()
        task.load_state_dict(checkpoint.weights)
        test = SegmentationData(str(root), split=split, spec=checkpoint.spec)
        trainer = Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
        )
        precision = trainer.test(task, test, verbose=False)[0]["test/map"]
    pooled = task.segments.compute()
    # the same videos, counted the other way
    task.segments.pooled, task.segments._computed = False, None
    by_video = task.segments.compute()
    means = [by_video[name] for name in ("acc", "f1@10", "f1@25", "f1@50")]
    return [*(pooled[name] for name in NAMES), precision, *means], seconds


def row(scores: list[float], seconds: float | None) -> str:
    """The cells of a row of the table."""
    return " | ".join(
        [*(f"{score:.1f}" for score in scores), "" if seconds is None else f"{seconds:.0f}"]
    )


def mean(rows: list[list[float]]) -> list[float]:
    """The mean of each column."""
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def all_splits(root: Path, arguments: argparse.Namespace, more: list[str]) -> None:
    """Print the scores of every split, their mean, and the seeds' spread."""
    print(f"| split {HEADER} CPU seconds |\n|{'---|' * 13}", flush=True)
    by_seed: dict[int, list[list[float]]] = {seed: [] for seed in arguments.seeds}
    total = []
    for split in arguments.splits:
        runs = [run(root, arguments.config, split, seed, more) for seed in arguments.seeds]
        for seed, (scores, _) in zip(arguments.seeds, runs, strict=True):
            by_seed[seed].append(scores)
        seconds = [cpu for _, cpu in runs]
        total += seconds
        print(
            f"| {split} | {row(mean([scores for scores, _ in runs]), statistics.fmean(seconds))} |",
            flush=True,
        )
    means = [mean(rows) for rows in by_seed.values()]
    print(f"| mean | {row(mean(means), statistics.fmean(total))} |")
    if len(means) > 1:
        for name, pick in (("lowest seed", min), ("highest seed", max)):
            print(
                f"| {name} | {row([pick(column) for column in zip(*means, strict=True)], None)} |"
            )
    print(f"\nThe slowest run took {max(total):.0f} CPU seconds.")


def all_cores(root: Path, arguments: argparse.Namespace, more: list[str]) -> None:
    """Print the scores of every core in the place of the configuration's cell, in a budget of CPU seconds."""
    print(f"| core {HEADER} CPU seconds | epochs |\n|{'---|' * 14}", flush=True)
    for name, cls in discover_cores().items():
        if "core" in inspect.signature(cls).parameters or (
            arguments.only and name not in arguments.only
        ):
            continue
        for split in arguments.splits:
            for seed in arguments.seeds:
                # The cost of an epoch, imports left out; the trial also warms up.
                core = [
                    f"--model.core.{arguments.place}",
                    name,
                    f"--model.core.{arguments.place}.hidden_size",
                ]
                flags = [*core, str(arguments.hidden), *more, "--trainer.max_epochs"]
                _, one = run(root, arguments.config, split, seed, [*flags, "1"])
                _, two = run(root, arguments.config, split, seed, [*flags, "2"])
                epochs = max(
                    1, min(arguments.epochs, int(arguments.budget / max(two - one, 0.1)) - 1)
                )
                scores, seconds = run(root, arguments.config, split, seed, [*flags, str(epochs)])
                print(f"| {name} | {row(scores, seconds)} | {epochs} |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="50Salads in the layout of MS-TCN")
    parser.add_argument("--config", default="video/segmentation")
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--cores", action="store_true", help="every core in the configuration's place"
    )
    parser.add_argument("--only", nargs="+", help="with --cores: these alone")
    parser.add_argument(
        "--place", default="core", help="with --cores: where below --model.core the cell is"
    )
    parser.add_argument("--hidden", type=int, default=64, help="with --cores: hidden_size")
    parser.add_argument(
        "--epochs", type=int, default=40, help="with --cores: epochs, if the budget allows them"
    )
    parser.add_argument(
        "--budget", type=float, default=60, help="with --cores: CPU seconds of a run"
    )
    arguments, more = parser.parse_known_args()
    torch.set_num_threads(1)
    root = arguments.root.resolve()
    print(
        f"{arguments.config} {' '.join(more)}, splits {arguments.splits}, seeds {arguments.seeds}, one thread;"
    )
    print(f"torch {torch.__version__}, {platform.machine()}, {platform.system()}\n")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        (all_cores if arguments.cores else all_splits)(root, arguments, more)


if __name__ == "__main__":
    main()
