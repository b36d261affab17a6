"""Loss against CPU seconds on tiny Shakespeare, for a shipped configuration.

Trains through the command line, in this process, and prints a Markdown table: validation loss of the averaged weights
after each epoch, and the CPU seconds of the whole process until then, imports and validations included.

    python benchmarks/shakespeare.py input.txt --config char_lm/shakespeare --seed 0
"""

from __future__ import annotations

import argparse
import platform
import time

import torch
from lightning.pytorch import Callback
from unrolled.cli import main as unrolled

ROWS: list[tuple[int, int, float, float]] = []


class Record(Callback):
    """Notes the loss and the CPU time at each validation."""

    def on_validation_end(self, trainer, pl_module) -> None:
        """Note them."""
        if not trainer.sanity_checking:
            loss = float(trainer.callback_metrics["val/loss"])
            ROWS.append((trainer.current_epoch + 1, trainer.global_step, time.process_time(), loss))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="char-rnn's input.txt")
    parser.add_argument("--config", default="char_lm/shakespeare")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments, more = parser.parse_known_args()
    torch.set_num_threads(arguments.threads)
    words = ["fit", arguments.config, "--data.path", arguments.path, "--seed_everything", str(arguments.seed)]
    code = unrolled([*words, "--trainer.callbacks+", "shakespeare.Record", "--trainer.accelerator", "cpu", *more])
    rows = __import__("shakespeare").ROWS  # the command line imported this file under its own name
    print(f"{arguments.config}, seed {arguments.seed}, {arguments.threads} thread(s), exit code {code};")
    print(f"torch {torch.__version__}, {platform.machine()}, {platform.system()}\n")
    print("| epoch | steps | CPU seconds | val loss (nats/char) |")
    print("|---|---|---|---|")
    for epoch, steps, seconds, loss in rows:
        print(f"| {epoch} | {steps:,} | {seconds:,.0f} | {loss:.4f} |")
    if rows:
        best = min(rows, key=lambda row: row[3])
        print(f"\nfinal {rows[-1][3]:.4f}; best {best[3]:.4f}, after epoch {best[0]}")


if __name__ == "__main__":
    main()
