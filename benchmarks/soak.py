"""Whether a long run grows: resident memory and open files over 10,000 steps of each task.

Each task is trained by the command line on tiny data, in a process of its own, with validations,
checkpoints, tables and averaged weights as in every run. A Markdown table: resident memory (VmRSS)
and open file descriptors at some steps. Both must be flat after the first of them. Linux only.

    python benchmarks/soak.py
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from lightning.pytorch import Callback
from measure import head, introduce, line, one_thread, parser

TASKS = {
    "char_lm": (
        *("char_lm/text", "--data.path", "text.txt", "--data.batch_size", "4"),
        *("--data.chunk_length", "16", "--model.core.hidden_size", "16"),
    ),
    "translation": (
        *("translation", "--data.num_sentences", "600", "--data.num_val", "12"),
        *("--data.num_test", "12", "--data.vocabulary_size", "300", "--data.batch_size", "4"),
        *("--model.encoder.core.hidden_size", "8", "--model.decoder.hidden_size", "12"),
        *("--model.embedding_size", "8", "--model.scheduled_sampling", "0.25"),
    ),
    "captioning": (
        *("captioning", "--data.train_size", "200", "--data.val_size", "12"),
        *("--data.test_size", "12", "--data.batch_size", "2", "--model.decoder.hidden_size", "12"),
        *("--model.encoder.backbone.channels", "[4,4,6,6]", "--model.embedding_size", "8"),
        *("--model.max_length", "12"),
    ),
    "video": (  # real video files, decoded at each step
        *("video", "--data.image_size", "16", "--data.train_clips", "20"),
        *("--data.val_clips", "3", "--data.test_clips", "3"),
        *("--model.core.core.hidden_size", "12", "--model.projection_size", "8"),
    ),
}
COMMON = (
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "-1"),
    *("--trainer.check_val_every_n_epoch", "null"),
)
ROWS: list[tuple[int, float, int]] = []
STEPS: set[int] = set()


class Record(Callback):
    """Notes memory and files when one of `STEPS` is over."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Note them."""
        if trainer.global_step in STEPS:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            megabytes = pages * resource.getpagesize() / 1e6
            ROWS.append((trainer.global_step, megabytes, len(os.listdir("/proc/self/fd"))))


def train(task: str, steps: list[int], every: int, workers: int) -> tuple[list, float]:
    """Train a task; return what was noted, and the CPU seconds. In a process of its own."""
    import soak as shared  # the command line imports this file under its own name
    from unrolled.cli import main as unrolled

    shared.STEPS.update(steps)
    one_thread()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["UNROLLED_CACHE"] = folder
        text = "".join(f"line {n}: {n * n % 97} {n % 7 * 'la '}\n" for n in range(1000))
        Path("text.txt").write_text(text, encoding="utf-8")
        words = ["fit", *TASKS[task], *COMMON, "--data.num_workers", str(workers)]
        words += ["--trainer.max_steps", str(max(steps)), "--trainer.callbacks+", "soak.Record"]
        words += ["--trainer.val_check_interval", str(every)]
        words += ["--checkpoint.every_n_train_steps", str(every)]
        with contextlib.redirect_stdout(sys.stderr):
            code = unrolled(words)
        if code:
            raise SystemExit(f"{task}: exit code {code}")
    return shared.ROWS, time.process_time()


def main() -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--tasks", default=",".join(TASKS))
    options.add_argument("--steps", default="1000,5000,10000", help="when to look; the last ends")
    options.add_argument("--every", type=int, default=500, help="steps between validations, saves")
    options.add_argument("--workers", type=int, default=0)
    arguments = options.parse_args()
    steps = [int(step) for step in arguments.steps.split(",")]
    introduce(
        f"resident MB / open files after a step; one thread, {arguments.workers} workers, "
        f"a validation and a checkpoint every {arguments.every} steps, seed 0"
    )
    head("task", *(f"step {step:,}" for step in steps), "CPU seconds")
    for task in arguments.tasks.split(","):
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            job = (task, steps, arguments.every, arguments.workers)
            rows, seconds = fresh.submit(train, *job).result()
        line(task, *(f"{size:.0f} / {files}" for _, size, files in rows), f"{seconds:.0f}")


if __name__ == "__main__":
    main()
