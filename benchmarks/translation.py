"""Training and decoding speed of a translation model on a CPU, one thread.

The model: a bidirectional GRU of 2 x 128, additive attention, a GRU of 256, embeddings of 128,
4,000 joint subwords. Sentences are random, with the lengths of Multi30k (8 to 21 subwords); weights
are random, so a search is told how long its translations have to be. Prints two Markdown tables:
medians of several runs, CPU time.

    python benchmarks/translation.py
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from unrolled.core import GRU, Bidirectional, beam_search
from unrolled.data.batch import TranslationBatch
from unrolled.data.tokenizer import Subwords
from unrolled.tasks import Translation

VOCABULARY = 4000
ROWS = 64


def model() -> Translation:
    """A task whose vocabulary is nonsense."""
    words = ("".join(letters) for letters in itertools.product("abcdefghijklmnop", repeat=3))
    spec = Subwords.train(words, kind="word", size=VOCABULARY).to_spec()
    return Translation(
        {"source": spec, "target": spec, "joint": True},
        partial(Bidirectional, core=partial(GRU, hidden_size=128)),
        partial(GRU, hidden_size=256),
        share_embeddings=True,
    )


def batches(count: int) -> list[TranslationBatch]:
    """Batches of sentences of nearly one length each."""
    draw = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        longest = int(torch.randint(8, 22, (1,), generator=draw))
        lengths = longest - torch.randint(0, 2, (ROWS,), generator=draw)
        sides = [torch.randint(4, VOCABULARY, (ROWS, longest), generator=draw) for _ in range(2)]
        made.append(
            TranslationBatch(sides[0], lengths, sides[1], lengths, torch.arange(ROWS), ("",) * ROWS)
        )
    return made


def seconds(function: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = model()
    made = task.model
    print(
        f"torch {torch.__version__}, {platform.machine()}, {platform.system()}, one thread, {repeats} runs each\n"
    )

    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    given = batches(20)

    def train() -> None:
        for batch in given:
            decoded, _ = made(batch.source, batch.source_lengths, batch.target)
            loss = task.cross_entropy(decoded, batch.target, batch.target_lengths, 0.1)
            (loss / batch.target_lengths.sum()).backward()
            torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    train()
    tokens = sum(int(batch.target_lengths.sum()) for batch in given)
    speeds = sorted(tokens / seconds(train) for _ in range(repeats))
    print("| training, batch 64 | target subwords per CPU second |\n|---|---|")
    print(
        f"| forward, backward, AdamW | {statistics.median(speeds):,.0f} ({speeds[0]:,.0f} to {speeds[-1]:,.0f}) |\n"
    )

    made.eval()
    source, lengths = torch.randint(4, VOCABULARY, (ROWS, 13)), torch.full((ROWS,), 13)

    @torch.inference_mode()
    def decode(rows: int, beam_size: int, steps: int) -> None:
        for first in range(0, ROWS, rows):
            memory = made.encoder(source[first : first + rows], lengths[first : first + rows])
            decoder = made.decoder
            begin = decoder.stepper(), decoder.initial_state(memory), decoder.prepare(memory)
            forced = {"start": 1, "end": 2, "min_length": steps, "max_length": steps}
            beam_search(*begin, **forced, beam_size=beam_size)

    print(
        "| sentences side by side | beam | subwords of each | sentences per CPU second |\n|---|---|---|---|"
    )
    for rows, beam_size, steps in (
        (64, 1, 15),
        (64, 5, 15),
        (64, 10, 15),
        (64, 20, 15),
        (64, 5, 60),
        (1, 5, 15),
    ):
        speeds = sorted(
            ROWS / seconds(partial(decode, rows, beam_size, steps)) for _ in range(repeats)
        )
        spread = f"{statistics.median(speeds):,.0f} ({speeds[0]:,.0f} to {speeds[-1]:,.0f})"
        print(f"| {rows} | {beam_size} | {steps} | {spread} |")


if __name__ == "__main__":
    main()
