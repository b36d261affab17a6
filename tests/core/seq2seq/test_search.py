"""Search against its definition: all sequences, one row at a time, with every core."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from unrolled.core import GRU, Bidirectional
from unrolled.core.seq2seq.attention import AdditiveAttention
from unrolled.core.seq2seq.decoder import SequenceDecoder
from unrolled.core.seq2seq.encoder import SequenceEncoder
from unrolled.core.seq2seq.search import (
    Hypothesis,
    beam_search,
    greedy_search,
    sample_search,
    search_sequences,
)

from ..conftest import HIDDEN, INPUT, plain_cores

START, END = 0, 1


def model(
    core=lambda size: GRU(size, HIDDEN),
    *,
    vocabulary: int = 6,
    attention: bool = True,
    seed: int = 0,
):
    """A random encoder and decoder in double precision, sharp enough for its choices to differ."""
    torch.manual_seed(seed)
    encoder = SequenceEncoder(
        nn.Embedding(9, INPUT), lambda size: Bidirectional(size, lambda inner: GRU(inner, HIDDEN))
    ).double()
    decoder = SequenceDecoder(
        nn.Embedding(vocabulary, INPUT),
        core,
        memory_size=encoder.output_size,
        attention=(lambda query, memory: AdditiveAttention(query, memory)) if attention else None,
    ).double()
    with torch.no_grad():
        decoder.head.weight *= 6
        decoder.head.bias.zero_()
    return SimpleNamespace(encoder=encoder.eval(), decoder=decoder.eval())


def sources(rows: int = 5, steps: int = 7, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, steps + 1, (rows,), generator=generator)
    lengths[0], lengths[-1] = 0, steps
    return torch.randint(0, 9, (rows, steps), generator=generator), lengths


def begin(made, tokens, lengths):
    memory = made.encoder(tokens, lengths)
    return made.decoder.stepper(), made.decoder.initial_state(memory), made.decoder.prepare(memory)


@torch.no_grad()
def log_probability(made, tokens, lengths, sequence: list[int]) -> float:
    """The model's own, by teacher forcing."""
    memory = made.encoder(tokens, lengths)
    before = torch.tensor([[START, *sequence[:-1]]])
    decoded = made.decoder(before, made.decoder.prepare(memory), made.decoder.initial_state(memory))
    table = made.decoder.head(decoded.output).log_softmax(-1)[0]
    return float(table[torch.arange(len(sequence)), torch.tensor(sequence)].sum())


def same(one: Hypothesis, other: Hypothesis) -> None:
    assert one.tokens == other.tokens
    assert one.finished == other.finished
    assert one.log_probability == pytest.approx(other.log_probability, abs=1e-9)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -0.5])
@torch.no_grad()
def test_a_beam_that_holds_everything_is_brute_force(penalty):
    made = model(vocabulary=4)
    tokens, lengths = sources(rows=3)
    limit, wanted = 3, 6
    found = beam_search(
        *begin(made, tokens, lengths),
        start=START,
        end=END,
        max_length=limit,
        beam_size=200,
        num_hypotheses=wanted,
        length_penalty=penalty,
    )
    others = [symbol for symbol in range(4) if symbol != END]
    for row in range(3):
        every = [
            [*sequence, END]
            for length in range(limit + 1)
            for sequence in itertools.product(others, repeat=length)
        ]
        one = tokens[row : row + 1], lengths[row : row + 1]
        scored = {
            tuple(sequence[:-1]): log_probability(made, *one, sequence)
            / ((5 + len(sequence)) / 6) ** penalty
            for sequence in every
        }
        best = sorted(scored, key=scored.__getitem__, reverse=True)[:wanted]
        assert [tuple(hypothesis.tokens) for hypothesis in found[row]] == best
        assert [hypothesis.score for hypothesis in found[row]] == pytest.approx(
            [scored[key] for key in best]
        )


@pytest.mark.parametrize("name", list(plain_cores()))
@torch.no_grad()
def test_for_every_core_rows_alone_are_rows_together_and_scores_are_the_models(name):
    cls = type(plain_cores()[name]())
    made = model(lambda size: cls(size, HIDDEN))
    tokens, lengths = sources()
    rules = {"start": START, "end": END, "max_length": [6, 3, 8, 1, 6]}
    together = beam_search(*begin(made, tokens, lengths), **rules, beam_size=3, num_hypotheses=2)
    greedy = greedy_search(*begin(made, tokens, lengths), **rules)
    narrow = beam_search(*begin(made, tokens, lengths), **rules, beam_size=1)
    for row in range(5):
        one = tokens[row : row + 1, : int(lengths[row])], lengths[row : row + 1]
        alone = beam_search(
            *begin(made, *one),
            start=START,
            end=END,
            max_length=rules["max_length"][row],
            beam_size=3,
            num_hypotheses=2,
        )[0]
        assert len(alone) == len(together[row])
        for first, second in zip(alone, together[row], strict=True):
            same(first, second)
            sequence = first.tokens + [END] * first.finished
            if sequence:
                assert first.log_probability == pytest.approx(
                    log_probability(made, *one, sequence), abs=1e-9
                )
        same(greedy[row], narrow[row][0])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("attention", [True, False])
@torch.no_grad()
def test_nothing_breaks_when_nothing_ends(seed, attention):
    made = model(seed=seed, attention=attention)
    with torch.no_grad():
        made.decoder.head.bias[END] = -1e9
    tokens, lengths = sources(rows=4)
    rules = {"start": START, "end": END, "max_length": 5}
    for row in beam_search(*begin(made, tokens, lengths), **rules, beam_size=4, num_hypotheses=4):
        assert len(row) == 4
        assert len({tuple(one.tokens) for one in row}) == 4
        assert all(len(one.tokens) == 5 and not one.finished for one in row)
        assert [one.score for one in row] == sorted((one.score for one in row), reverse=True)
    assert all(
        len(one.tokens) == 5 for one in greedy_search(*begin(made, tokens, lengths), **rules)
    )


@torch.no_grad()
def test_nothing_breaks_when_nothing_may_come_or_nothing_is_asked():
    made = model()
    tokens, lengths = sources(rows=2)
    rules = {"start": START, "end": END, "max_length": 4, "forbidden": range(6)}
    nothing = Hypothesis([], 0.0, 0.0, False)
    assert greedy_search(*begin(made, tokens, lengths), **rules) == [nothing] * 2
    assert beam_search(*begin(made, tokens, lengths), **rules, beam_size=3) == [[nothing]] * 2
    none = begin(made, tokens[:0], lengths[:0])
    assert greedy_search(*none, start=START, end=END, max_length=4) == []
    assert beam_search(*none, start=START, end=END, max_length=4, beam_size=2) == []
    only_end = {"start": START, "end": END, "max_length": 0}
    for row in beam_search(*begin(made, tokens, lengths), **only_end, beam_size=6):
        assert row[0].tokens == []
        assert row[0].finished


@torch.no_grad()
def test_rules_hold():
    made = model(vocabulary=5, seed=3)
    tokens, lengths = sources(rows=6)
    for size in (1, 2, 3):
        rules = {"start": START, "end": END, "max_length": 9, "min_length": 4, "forbidden": [START]}
        rules["no_repeat_ngram"] = size
        beams = beam_search(*begin(made, tokens, lengths), **rules, beam_size=4, num_hypotheses=3)
        hypotheses = [one for row in beams for one in row] + greedy_search(
            *begin(made, tokens, lengths), **rules
        )
        for one in hypotheses:
            assert START not in one.tokens
            assert END not in one.tokens
            # three symbols, none twice: no more than three tokens
            assert len(one.tokens) >= 4 or not one.finished
            grams = [tuple(one.tokens[i : i + size]) for i in range(len(one.tokens) - size + 1)]
            assert len(grams) == len(set(grams))
    free = greedy_search(*begin(made, tokens, lengths), start=START, end=END, max_length=9)
    # the rule had something to do
    assert any(len(one.tokens) != len(set(one.tokens)) for one in free)


@torch.no_grad()
def test_samples_follow_the_models_distribution():
    made = model(vocabulary=3)
    tokens, lengths = sources(rows=1, steps=3)
    rows = 4000
    drawn = sample_search(
        *begin(made, tokens.expand(rows, -1), lengths.expand(rows)),
        start=START,
        end=END,
        max_length=2,
        generator=torch.Generator().manual_seed(0),
    )
    for sequence in ([], [0], [2]):
        share = sum(one.finished and one.tokens == sequence for one in drawn) / rows
        probability = 2.718281828 ** log_probability(made, tokens, lengths, [*sequence, END])
        assert share == pytest.approx(probability, abs=4 * (0.25 / rows) ** 0.5)
    one = next(one for one in drawn if one.finished)
    assert one.log_probability == pytest.approx(
        log_probability(made, tokens, lengths, [*one.tokens, END])
    )


@torch.no_grad()
def test_mistakes_are_named():
    made = model()
    given = begin(made, *sources(rows=2))
    rules = {"start": START, "end": END}
    with pytest.raises(ValueError, match="num_hypotheses=3, beam_size=2"):
        beam_search(*given, **rules, max_length=3, beam_size=2, num_hypotheses=3)
    for penalty in (2000.0, float("nan")):
        with pytest.raises(ValueError, match=r"length_penalty=.*: must be between -10 and 10"):
            beam_search(*given, **rules, max_length=3, beam_size=2, length_penalty=penalty)
    with pytest.raises(ValueError, match="max_length has 3 numbers for 2 rows"):
        greedy_search(*given, **rules, max_length=[1, 2, 3])
    with pytest.raises(ValueError, match="min_length=4: must be at most max_length=3"):
        greedy_search(*given, **rules, max_length=3, min_length=4)
    with pytest.raises(ValueError, match="no_repeat_ngram=-1"):
        greedy_search(*given, **rules, max_length=3, no_repeat_ngram=-1)
    with pytest.raises(ValueError, match="temperature=-1"):
        sample_search(*given, **rules, max_length=3, temperature=-1)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("settings", [{}, {"beam_size": 3}, {"temperature": 1.0}, {"top_k": 2}])
def test_logits_that_are_no_numbers_are_no_text(broken, settings):
    """They would come out as the first symbol, for ever, or as nothing at all."""
    read = []

    def step(tokens, state, prepared):
        read.append(len(tokens))
        logits = torch.zeros(len(tokens), 5)
        if len(read) > 2:  # of one row only
            logits[-1] = broken
        return logits, state

    with pytest.raises(ValueError, match="the step's logits are no numbers"):
        search_sequences(
            step, torch.zeros(2, 1), (), start=0, end=4, max_length=9, min_length=9, **settings
        )
    assert len(read) == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"beam_size": 10**9},
        {"num_hypotheses": 10**9, "temperature": 1.0},
        {"max_length": 10**12},
        {"max_length": [1, 10**12]},
    ],
)
def test_numbers_without_measure_are_refused(settings):
    """A checkpoint may hold them, and memory or time would end before the search."""

    def step(tokens, state, prepared):
        raise AssertionError("the search has begun")

    name, number = next(iter(settings.items()))
    given = {"max_length": 9, **settings}
    with pytest.raises(ValueError, match=rf"{name}={10**9 if number == 10**9 else 10**12}.* most"):
        search_sequences(step, torch.zeros(2, 1), (), start=0, end=4, **given)
