"""Characters per second of generation on a CPU, beside the usual loop that calls `nn.LSTM` with one step at a time.

Both sides have two layers of 256 units and the same weights, one thread, in turn. Prints a Markdown
table.

    python benchmarks/generation.py
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from functools import partial

import torch
from torch import nn
from unrolled.core import LSTM, Stacked
from unrolled.data.vocabulary import CharacterVocabulary
from unrolled.tasks import CharModel

CHARACTERS = "".join(chr(code) for code in range(32, 127))


class Usual(nn.Module):
    """A language model around `nn.LSTM`, and its loop."""

    def __init__(self, model: CharModel) -> None:
        super().__init__()
        self.embedding = model.embedding
        self.lstm = nn.LSTM(model.embedding.embedding_dim, 256, num_layers=2, batch_first=True)
        for number, layer in enumerate(model.core.layers):
            for name, value in layer.to_torch().state_dict().items():
                getattr(self.lstm, name.replace("l0", f"l{number}")).data.copy_(value)
        self.head = model.head

    @torch.no_grad()
    def generate(self, rows: int, length: int) -> None:
        """Draw `length` characters for each row."""
        tokens, state = torch.zeros(rows, 1, dtype=torch.long), None
        for _ in range(length):
            output, state = self.lstm(self.embedding(tokens), state)
            tokens = torch.multinomial(self.head(output[:, -1]).softmax(-1), 1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--length", type=int, default=400)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spec = {"vocabulary": CharacterVocabulary(CHARACTERS).to_spec()}
    model = CharModel(
        spec, partial(Stacked, core=partial(LSTM, hidden_size=256), num_layers=2), embedding_size=64
    ).eval()
    with torch.no_grad():
        model.head.bias[model.vocabulary.END] = -1e4  # no text ends before its length
    usual = Usual(model).eval()
    print(
        f"2 x LSTM(256), CPU, one thread, {arguments.repeats} repeats of {arguments.length} characters in turn;"
    )
    print(f"seed 0, torch {torch.__version__}, {platform.machine()}, {platform.system()}\n")
    print(
        "| rows | nn.LSTM loop, characters/s | unrolled, characters/s | ratio, median (least to most) |"
    )
    print("|---|---|---|---|")
    for rows in (1, 64):
        length = arguments.length if rows == 1 else arguments.length // 4
        speeds: list[tuple[float, float]] = []
        for repeat in range(arguments.repeats + 1):  # the first warms up
            started = time.process_time()
            usual.generate(rows, length)
            middle = time.process_time()
            model.generate([""] * rows, length=length, seed=repeat)
            stopped = time.process_time()
            speeds.append((rows * length / (middle - started), rows * length / (stopped - middle)))
        speeds = speeds[1:]
        ratios = sorted(ours / theirs for theirs, ours in speeds)
        theirs, ours = (statistics.median(column) for column in zip(*speeds, strict=True))
        spread = f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        print(f"| {rows} | {theirs:,.0f} | {ours:,.0f} | {spread} |")


if __name__ == "__main__":
    main()
