"""Trains a shipped configuration through the command line and prints its scores against CPU seconds.

A Markdown table: the scores of each validation and the CPU seconds of the whole process until then,
imports, preparation of the data and validations included; then, with `--test`, the best
checkpoint's scores on the test part.

    python benchmarks/fit.py char_lm/shakespeare --data.path input.txt
    python benchmarks/fit.py translation/multi30k --metric val/bleu --test --data.root multi30k
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback
from unrolled.cli import main as unrolled

ROWS: list[tuple[int, int, float, float]] = []
RUN: list[Path] = []
METRIC: list[str] = []


class Record(Callback):
    """Notes the score and the CPU time at each validation, and where the run is kept."""

    def on_validation_end(self, trainer, pl_module) -> None:
        """Note them."""
        RUN[:] = [Path(trainer.default_root_dir)]
        if not trainer.sanity_checking:
            score = float(trainer.callback_metrics[METRIC[0]])
            ROWS.append(
                (trainer.current_epoch + 1, trainer.global_step, time.process_time(), score)
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config", help="TASK/VARIANT; flags that are none of the script's go to `unrolled fit`"
    )
    parser.add_argument(
        "--metric",
        default="val/loss",
        help="the score to print, the lower the better if it is a loss",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--test", action="store_true", help="test the best checkpoint with the same --data flags"
    )
    arguments, more = parser.parse_known_args()
    torch.set_num_threads(arguments.threads)
    # the command line imports this file under its own name
    shared = sys.modules["fit"] = __import__("fit")
    shared.METRIC[:] = [arguments.metric]
    words = ["fit", arguments.config, *more, "--seed_everything", str(arguments.seed)]
    code = unrolled([*words, "--trainer.callbacks+", "fit.Record", "--trainer.accelerator", "cpu"])
    print(
        f"{arguments.config}, seed {arguments.seed}, {arguments.threads} thread(s), exit code {code};"
    )
    print(f"torch {torch.__version__}, {platform.machine()}, {platform.system()}\n")
    print(f"| epoch | steps | CPU seconds | {arguments.metric} |")
    print("|---|---|---|---|")
    for epoch, steps, seconds, score in shared.ROWS:
        print(f"| {epoch} | {steps:,} | {seconds:,.0f} | {score:.4f} |")
    if shared.ROWS:
        better = min if arguments.metric.endswith("loss") else max
        best = better(shared.ROWS, key=lambda row: row[3])
        print(f"\nfinal {shared.ROWS[-1][3]:.4f}; best {best[3]:.4f}, after epoch {best[0]}")
    if arguments.test and code == 0:
        checkpoint = shared.RUN[0] / "checkpoints" / "best.ckpt"
        data = [word for place, word in enumerate(more) if is_of_data(more, place)]
        unrolled(
            [
                "test",
                arguments.config,
                *data,
                "--ckpt_path",
                str(checkpoint),
                "--trainer.accelerator",
                "cpu",
            ]
        )


def is_of_data(words: list[str], place: int) -> bool:
    """Whether a word is a flag about the data, or the value of one."""
    flag = words[place] if words[place].startswith("--") or not place else words[place - 1]
    return flag.startswith("--data.")


if __name__ == "__main__":
    main()
