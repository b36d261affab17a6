"""What Lightning and the task add to a training step, where nothing hides it.

Both sides train the same model on the same batches from the same weights, in turn, with the same
optimizer and clipping. Prints CPU milliseconds per step (one thread; other programs don't count) as
a Markdown table. Then what makes a run safe (the callbacks of configs/trainer/default.yaml, exact
resuming, checkpoints that are not due, early stopping) is taken out and put back every few steps of
one run: its share is the median of the ratios of neighbours.

    python benchmarks/training_overhead.py
"""

from __future__ import annotations

import contextlib
import io
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import instantiate_class
from measure import QUIET, head, introduce, line, one_thread, parser
from unrolled.apps.run.resuming import ExactResume
from unrolled.apps.run.saving import Checkpoint
from unrolled.apps.run.stopping import StopEarly
from unrolled.apps.shell.shipped import TRAINER
from unrolled.core import LSTM
from unrolled.core.seq2seq.losses import sequence_cross_entropy
from unrolled.core.state import detach
from unrolled.data import TextData
from unrolled.tasks import CharLM

STRETCH = 10
"""Steps with what makes a run safe, and then without: short, since the machine changes."""


class Clock(Callback):
    """Times the steps after the first `skip`, until step `last`."""

    def __init__(self, skip: int, last: int) -> None:
        self.skip = skip
        self.last = last
        self.started = self.stopped = 0.0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        """Start at the first step that counts."""
        if trainer.global_step == self.skip:
            self.started = time.process_time()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Stop at the last step: checkpoints are saved after all other callbacks."""
        if trainer.global_step == self.last:
            self.stopped = time.process_time()


class Alternate(Callback):
    """Takes all other callbacks out of a run and puts them back, every `steps` steps.

    Attributes:
        seconds: CPU seconds of each stretch; the first is with them.
    """

    def __init__(self, skip: int, steps: int) -> None:
        self.skip = skip
        self.steps = steps
        self.all: list[Callback] = []
        self.started = 0.0
        self.seconds: list[float] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        """End a stretch and begin the next."""
        past = trainer.global_step - self.skip
        if past < 0 or past % self.steps:
            return
        if past:
            self.seconds.append(time.process_time() - self.started)
        self.all = self.all or trainer.callbacks
        trainer.callbacks = [self] if len(self.seconds) % 2 else self.all
        self.started = time.process_time()

    def on_train_end(self, trainer, pl_module) -> None:
        """Put them back."""
        trainer.callbacks = self.all


def train(data: TextData, steps: int, folder: str, clock: Callback) -> None:
    """Train with the callbacks of every run; none of them saves before the last step."""
    torch.manual_seed(0)
    model = CharLM(data.spec, partial(LSTM, hidden_size=64), embedding_size=64)
    given = yaml.safe_load((TRAINER / "default.yaml").read_text(encoding="utf-8"))["trainer"]
    made = {
        kind: [instantiate_class((), item) for item in given[kind]]
        for kind in ("callbacks", "plugins")
    }
    keeper = Checkpoint(every_n_train_steps=10**9)
    keeper.dirpath = folder
    trainer = Trainer(
        **{**QUIET, "enable_checkpointing": True},
        max_steps=steps,
        limit_val_batches=0,
        gradient_clip_val=1.0,
        default_root_dir=folder,
        callbacks=[*made["callbacks"], ExactResume(), StopEarly(), clock, keeper],
        plugins=made["plugins"],
    )
    trainer.fit(model, data)


def with_lightning(data: TextData, steps: int, skip: int, folder: str) -> float:
    """Return CPU milliseconds per step of the trainer with the callbacks of every run."""
    clock = Clock(skip, steps + skip)
    train(data, steps + skip, folder, clock)
    return (clock.stopped - clock.started) / steps * 1e3


def shares_of_safety(data: TextData, pairs: int, skip: int, folder: str) -> list[float]:
    """Return, for each pair of stretches, what the callbacks add to a step in percent."""
    clock = Alternate(skip, STRETCH)
    # its last stretch is left out: the run's end is in it
    train(data, skip + STRETCH * (2 * pairs + 1), folder, clock)
    stretches = clock.seconds[: 2 * pairs]
    return [
        (safe / alone - 1) * 100
        for safe, alone in zip(stretches[::2], stretches[1::2], strict=True)
    ]


def bare(data: TextData, steps: int, skip: int) -> float:
    """Return CPU milliseconds per step of a loop written out."""
    torch.manual_seed(0)
    model = CharLM(data.spec, partial(LSTM, hidden_size=64), embedding_size=64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    state, batches, started = None, iter(data.loader("train")), 0.0
    for step in range(steps + skip):
        if step == skip:
            started = time.process_time()
        batch = next(batches)
        logits, state = model.model(batch.input, state, reset=batch.reset)
        state = detach(state)
        loss = sequence_cross_entropy(logits, batch.target) / batch.target.numel()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return (time.process_time() - started) / steps * 1e3


def main() -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, default=7)
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--stretches", type=int, default=60, help="pairs of them")
    arguments = options.parse_args()
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text("".join(chr(97 + (i * i + i // 7) % 26) for i in range(200_000)))
        data = TextData(str(text), batch_size=8, chunk_length=16, cache_dir=folder)
        pairs = []
        for _ in range(arguments.pairs):
            plain = bare(data, arguments.steps, 20)
            with contextlib.redirect_stdout(io.StringIO()):
                lightning = with_lightning(data, arguments.steps, 20, folder)
            pairs.append((plain, lightning))
        with contextlib.redirect_stdout(io.StringIO()):
            shares = shares_of_safety(data, arguments.stretches, 20, folder)
    runs = f"{arguments.pairs} pairs of {arguments.steps} steps in turn"
    introduce(f"B=8, T=16, H=64, one thread, {runs}, seed 0")
    head("loop", "CPU ms per step, median", "least", "most")
    for name, times in (
        ("bare", [plain for plain, _ in pairs]),
        ("Lightning and the task", [lightning for _, lightning in pairs]),
        ("added", [lightning - plain for plain, lightning in pairs]),
    ):
        line(name, *(f"{pick(times):.2f}" for pick in (statistics.median, min, max)))
    low, middle, high = statistics.quantiles(shares, n=4) if len(shares) > 1 else shares * 3
    print(
        f"\nadded by what makes a run safe: {middle:.1f} % of a step "
        f"(middle half of {len(shares)} pairs of {STRETCH} steps: {low:.1f} to {high:.1f})"
    )


if __name__ == "__main__":
    main()
