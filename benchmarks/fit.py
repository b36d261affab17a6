"""Train a shipped configuration through the command line; print its scores by CPU seconds.

A Markdown table: the scores of each validation and the CPU seconds of the whole process until then,
imports, preparation of the data and validations included; then, with `--test`, the best
checkpoint's scores on the test part.

    python benchmarks/fit.py char_lm/shakespeare --data.path input.txt
    python benchmarks/fit.py translation/multi30k --metric val/bleu --test --data.root multi30k
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback
from measure import head, introduce, line, parser
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
    options = parser(__doc__)
    options.add_argument("config", help="TASK/VARIANT; unknown flags go to `unrolled fit`")
    options.add_argument("--metric", default="val/loss", help="the score to print")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--test", action="store_true", help="test the best checkpoint too")
    arguments, more = options.parse_known_args()
    torch.set_num_threads(arguments.threads)
    # the command line imports this file under its own name
    shared = sys.modules["fit"] = __import__("fit")
    shared.METRIC[:] = [arguments.metric]
    words = ["fit", arguments.config, *more, "--seed_everything", str(arguments.seed)]
    code = unrolled([*words, "--trainer.callbacks+", "fit.Record", "--trainer.accelerator", "cpu"])
    run = f"seed {arguments.seed}, {arguments.threads} thread(s), exit code {code}"
    introduce(f"{arguments.config}, {run}")
    head("epoch", "steps", "CPU seconds", arguments.metric)
    for epoch, steps, seconds, score in shared.ROWS:
        line(epoch, f"{steps:,}", f"{seconds:,.0f}", f"{score:.4f}")
    if shared.ROWS:
        better = min if arguments.metric.endswith("loss") else max
        best = better(shared.ROWS, key=lambda row: row[3])
        print(f"\nfinal {shared.ROWS[-1][3]:.4f}; best {best[3]:.4f}, after epoch {best[0]}")
    if arguments.test and code == 0:
        checkpoint = shared.RUN[0] / "checkpoints" / "best.ckpt"
        data = [word for place, word in enumerate(more) if is_of_data(more, place)]
        evaluate = ["test", arguments.config, *data, "--trainer.accelerator", "cpu"]
        unrolled([*evaluate, "--ckpt_path", str(checkpoint)])


def is_of_data(words: list[str], place: int) -> bool:
    """Say whether a word is a flag about the data, or the value of one."""
    flag = words[place] if words[place].startswith("--") or not place else words[place - 1]
    return flag.startswith("--data.")


if __name__ == "__main__":
    main()
