"""Characters per second of generation on a CPU, beside the usual loop, one step of `nn.LSTM` each.

Both sides have two layers of 256 units and the same weights, one thread, in turn. Prints a Markdown
table.

    python benchmarks/generation.py
"""

from __future__ import annotations

import statistics
from functools import partial

import torch
from measure import cpu_seconds, head, introduce, line, one_thread, parser, spread
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
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--length", type=int, default=400)
    arguments = options.parse_args()
    one_thread()
    torch.manual_seed(0)
    spec = {"vocabulary": CharacterVocabulary(CHARACTERS).to_spec()}
    model = CharModel(
        spec, partial(Stacked, core=partial(LSTM, hidden_size=256), num_layers=2), embedding_size=64
    ).eval()
    with torch.no_grad():
        model.head.bias[model.vocabulary.END] = -1e4  # no text ends before its length
    usual = Usual(model).eval()
    runs = f"{arguments.repeats} repeats of {arguments.length} characters in turn"
    introduce(f"2 x LSTM(256), CPU, one thread, {runs}; seed 0")
    ratio = "ratio, median (least to most)"
    head("rows", "nn.LSTM loop, characters/s", "unrolled, characters/s", ratio)
    for rows in (1, 64):
        length = arguments.length if rows == 1 else arguments.length // 4
        texts = [""] * rows
        theirs, ours = [], []
        for repeat in range(arguments.repeats + 1):
            generate = partial(model.generate, texts, length=length, seed=repeat)
            theirs.append(rows * length / cpu_seconds(partial(usual.generate, rows, length)))
            ours.append(rows * length / cpu_seconds(generate))
        del theirs[0], ours[0]  # the first warms up
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        speeds = (f"{statistics.median(found):,.0f}" for found in (theirs, ours))
        line(rows, *speeds, spread(ratios, ".1f"))


if __name__ == "__main__":
    main()
