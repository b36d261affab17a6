"""Training and decoding speed of a translation model on a CPU, one thread.

The model: a bidirectional GRU of 2 x 128, additive attention, a GRU of 256, embeddings of 128,
4,000 joint subwords. Sentences are random, with the lengths of Multi30k (8 to 21 subwords); weights
are random, so a search is told how long its translations have to be; so are shortlists. In 8 bits
where the processor can.
Prints two Markdown tables: medians of several runs, CPU time.

    python benchmarks/translation.py
"""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from functools import partial

import torch
from measure import cpu_seconds, head, introduce, line, one_thread, parser, spread
from unrolled.core import GRU, Bidirectional, beam_search, eight_bits
from unrolled.core.products import has_eight_bits
from unrolled.core.seq2seq.shortlist import Shortlist
from unrolled.data.batch import TranslationBatch
from unrolled.data.tokenizer import Subwords
from unrolled.tasks import Translation

VOCABULARY = 4000


def model() -> Translation:
    """Make a task whose vocabulary is nonsense."""
    words = ("".join(letters) for letters in itertools.product("abcdefghijklmnop", repeat=3))
    spec = Subwords.train(words, kind="word", size=VOCABULARY).to_spec()
    return Translation(
        {"source": spec, "target": spec, "joint": True},
        partial(Bidirectional, core=partial(GRU, hidden_size=128)),
        partial(GRU, hidden_size=256),
        share_embeddings=True,
    )


def batches(count: int, rows: int) -> list[TranslationBatch]:
    """Make batches of sentences of nearly one length each."""
    draw = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        longest = int(torch.randint(8, 22, (1,), generator=draw))
        lengths = longest - torch.randint(0, 2, (rows,), generator=draw)
        sides = [torch.randint(4, VOCABULARY, (rows, longest), generator=draw) for _ in range(2)]
        made.append(
            TranslationBatch(sides[0], lengths, sides[1], lengths, torch.arange(rows), ("",) * rows)
        )
    return made


def main() -> None:
    """Print the tables."""
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--rows", type=int, default=64, help="sentences of a batch")
    options.add_argument("--batches", type=int, default=20, help="batches to train on")
    arguments = options.parse_args()
    rows, repeats = arguments.rows, range(arguments.repeats)
    one_thread()
    torch.manual_seed(0)
    task = model()
    made = task.model
    introduce(f"one thread, {arguments.repeats} runs each")

    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    given = batches(arguments.batches, rows)

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
    head(f"training, batch {rows}", "target subwords per CPU second")
    line("forward, backward, AdamW", spread([tokens / cpu_seconds(train) for _ in repeats], ",.0f"))
    print()

    made.eval()
    source, lengths = torch.randint(4, VOCABULARY, (rows, 13)), torch.full((rows,), 13)

    # Multi30k's sentences have 240 symbols each, and 64 of them 1,600 together (100 + 20)
    draw = torch.Generator().manual_seed(0)
    words = Shortlist(
        torch.arange(4, 104), torch.randint(104, 1700, (VOCABULARY, 11), generator=draw)
    )

    def decode(
        at_once: int, beam_size: int, steps: int, listed: bool = False, int8: bool = False
    ) -> None:
        with eight_bits() if int8 else nullcontext():
            search(at_once, beam_size, steps, listed)

    @torch.inference_mode()
    def search(at_once: int, beam_size: int, steps: int, listed: bool) -> None:
        for first in range(0, rows, at_once):
            chunk = slice(first, first + at_once)
            memory = made.encoder(source[chunk], lengths[chunk])
            decoder, allowed = made.decoder, None
            if listed:
                allowed = words.allowed(source[chunk].tolist(), size=VOCABULARY, shared=range(4))
            step, prepared = decoder.searcher(decoder.prepare(memory), allowed)
            forced = {"start": 1, "end": 2, "min_length": steps, "max_length": steps}
            beam_search(
                step, decoder.initial_state(memory), prepared, **forced, beam_size=beam_size
            )

    ways = {"sentences per CPU second": {}, "with a shortlist": {"listed": True}}
    if has_eight_bits():
        ways |= {"in 8 bits": {"int8": True}, "with both": {"listed": True, "int8": True}}
    ratios = [f"ratio {way}" for way in list(ways)[1:]]
    head("sentences side by side", "beam", "subwords of each", *ways, *ratios)
    cases = [(rows, beam_size, 15) for beam_size in (1, 5, 10, 20)] + [(rows, 5, 60), (1, 5, 15)]
    for case in cases:
        decode(*case)
        runs = [
            [rows / cpu_seconds(partial(decode, *case, **way)) for way in ways.values()]
            for _ in repeats
        ]  # in turn
        speeds = [spread(column, ",.0f") for column in zip(*runs, strict=True)]
        faster = zip(*([way / run[0] for way in run[1:]] for run in runs), strict=True)
        line(*case, *speeds, *(spread(column, ".2f") for column in faster))


if __name__ == "__main__":
    main()
