"""What Lightning and the task add to a training step, where nothing hides it.

Both sides train the same model on the same batches from the same weights, in turn, with the same
optimizer and clipping. Prints CPU milliseconds per step (one thread; other programs don't count) as
a Markdown table.

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
from lightning.pytorch import Callback, Trainer
from measure import QUIET, head, introduce, line, one_thread, parser
from unrolled.apps.run.preemption import Preemption
from unrolled.apps.run.resuming import RandomState
from unrolled.apps.run.saving import AtomicCheckpointIO
from unrolled.apps.run.stopping import FiniteLoss
from unrolled.core import LSTM
from unrolled.core.seq2seq.losses import sequence_cross_entropy
from unrolled.core.state import detach
from unrolled.data import TextData
from unrolled.tasks import CharLM


class Clock(Callback):
    """Times the steps after the first `skip`."""

    def __init__(self, skip: int) -> None:
        self.skip = skip
        self.started = self.stopped = 0.0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        """Start at the first step that counts."""
        if trainer.global_step == self.skip:
            self.started = time.process_time()

    def on_train_end(self, trainer, pl_module) -> None:
        """Stop after the last step."""
        self.stopped = time.process_time()


def with_lightning(data: TextData, steps: int, skip: int, folder: str) -> float:
    """Return CPU milliseconds per step of the trainer with the callbacks of every run."""
    torch.manual_seed(0)
    model = CharLM(data.spec, partial(LSTM, hidden_size=64), embedding_size=64)
    clock = Clock(skip)
    trainer = Trainer(
        **QUIET,
        max_steps=steps + skip,
        limit_val_batches=0,
        gradient_clip_val=1.0,
        default_root_dir=folder,
        callbacks=[RandomState(), FiniteLoss(), Preemption(), clock],
        plugins=[AtomicCheckpointIO()],
    )
    trainer.fit(model, data)
    return (clock.stopped - clock.started) / steps * 1e3


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
    runs = f"{arguments.pairs} pairs of {arguments.steps} steps in turn"
    introduce(f"B=8, T=16, H=64, one thread, {runs}, seed 0")
    head("loop", "CPU ms per step, median", "least", "most")
    for name, times in (
        ("bare", [plain for plain, _ in pairs]),
        ("Lightning and the task", [lightning for _, lightning in pairs]),
        ("added", [lightning - plain for plain, lightning in pairs]),
    ):
        line(name, *(f"{pick(times):.2f}" for pick in (statistics.median, min, max)))


if __name__ == "__main__":
    main()
