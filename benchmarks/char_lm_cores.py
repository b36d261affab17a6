"""Every core as a character language model: about equal parameters, equal CPU time, several seeds.

Trains one layer of each core on char-rnn's input.txt (nanoGPT's split) for a number of CPU seconds
on one thread, with the same embedding, optimizer, schedule and batches, and prints a Markdown
table. The hidden size is chosen so that the whole model comes nearest to the given number of
parameters; the schedule follows the CPU time.

    python benchmarks/char_lm_cores.py input.txt --seconds 60 --seeds 0 1 2
"""

from __future__ import annotations

import bisect
import statistics
import tempfile
import time
from functools import partial

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer, seed_everything
from measure import QUIET, head, introduce, line, one_thread, parser, single_layers
from unrolled.core.recurrent import RecurrentCore
from unrolled.data import TextData
from unrolled.tasks import CharLM
from unrolled.tasks.averaging import EMA
from unrolled.tasks.base import Task
from unrolled.tasks.schedules import WarmupCosine


class CPUBudget(Callback):
    """Stops after a number of CPU seconds of training, and stretches the schedule to end there."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.started = 0.0

    def on_train_start(self, trainer, pl_module) -> None:
        """Start the clock."""
        self.started = time.process_time()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Look at the clock after every tenth step."""
        if trainer.global_step % 10:
            return
        spent = time.process_time() - self.started
        pl_module.lr_schedulers().set_run_length(round(trainer.global_step * self.seconds / spent))
        trainer.should_stop = spent >= self.seconds


def train_for(
    seconds: float, task: Task, data: LightningDataModule, decay: float, **judging
) -> tuple[dict[str, float], int]:
    """Train for CPU seconds; return what the averaged weights score, and how many steps it took.

    Args:
        seconds: How many.
        task: The task.
        data: Its data.
        decay: Of the averages.
        judging: More arguments for the trainer that validates.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            **QUIET,
            max_epochs=1000,
            limit_val_batches=0,
            gradient_clip_val=1.0,
            default_root_dir=folder,
            callbacks=[CPUBudget(seconds), EMA(decay)],
        )
        trainer.fit(task, data)
        judge = Trainer(**QUIET, **judging, default_root_dir=folder)
        return judge.validate(task, data, verbose=False)[0], trainer.global_step


def model_of(core: type[RecurrentCore], hidden_size: int, spec: dict) -> CharLM:
    """Return one layer of a core as a language model."""
    return CharLM(
        spec,
        partial(core, hidden_size=hidden_size),
        embedding_size=64,
        output_dropout=0.1,
        optimizer=partial(torch.optim.AdamW, lr=5e-3, betas=(0.9, 0.99)),
        lr_scheduler=WarmupCosine,
    )


def size_of(core: type[RecurrentCore], hidden_size: int, spec: dict) -> int:
    """Count the parameters of the model."""
    return sum(p.numel() for p in model_of(core, hidden_size, spec).parameters())


def hidden_size_for(core: type[RecurrentCore], parameters: int, spec: dict) -> int:
    """Return the multiple of 16 whose model comes nearest to a number of parameters."""
    sizes = range(64, 2049, 16)
    size = partial(size_of, core, spec=spec)
    place = bisect.bisect_left(sizes, parameters, key=size)
    return min(sizes[max(place - 1, 0) : place + 1], key=lambda one: abs(size(one) - parameters))


def train(
    core: type[RecurrentCore], hidden_size: int, seed: int, seconds: float, path: str
) -> tuple[float, int]:
    """Return the validation loss in nats per character, and how many characters were read."""
    seed_everything(seed, verbose=False)
    data = TextData(
        path, val_fraction=0.1, test_fraction=0.0, batch_size=16, chunk_length=100, seed=seed
    )
    model = model_of(core, hidden_size, data.spec)
    scores, steps = train_for(seconds, model, data, 0.998)
    return scores["val/loss"], steps * 1600


def main() -> None:
    """Print the table."""
    cores = single_layers()
    options = parser(__doc__)
    options.add_argument("path", help="char-rnn's input.txt")
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--parameters", type=int, default=400_000)
    options.add_argument("--cores", nargs="+", choices=sorted(cores), default=sorted(cores))
    arguments = options.parse_args()
    one_thread()
    torch.set_flush_denormal(True)
    spec = TextData(arguments.path, val_fraction=0.1, test_fraction=0.0).spec
    rows = []
    for name in arguments.cores:
        hidden_size = hidden_size_for(cores[name], arguments.parameters, spec)
        parameters = size_of(cores[name], hidden_size, spec)
        results = [
            train(cores[name], hidden_size, seed, arguments.seconds, arguments.path)
            for seed in arguments.seeds
        ]
        losses = [loss for loss, _ in results]
        rows.append((statistics.mean(losses), losses, name, hidden_size, parameters, results[0][1]))
        print(f"{name}: {' '.join(f'{loss:.4f}' for loss in losses)}", flush=True)
    print()
    introduce(f"{arguments.seconds:.0f} CPU seconds each, one thread, seeds {arguments.seeds}")
    figures = ("characters read", "val loss, mean", "least to most")
    head("core", "hidden size", "parameters", *figures)
    for mean, losses, name, hidden_size, parameters, characters in sorted(rows):
        read, least_to_most = f"{characters / 1e6:.1f} M", f"{min(losses):.4f} to {max(losses):.4f}"
        line(name, hidden_size, f"{parameters:,}", read, f"{mean:.4f}", least_to_most)


if __name__ == "__main__":
    main()
