"""An ensemble of decoders: by definition the mean of probabilities, in every search."""

from __future__ import annotations

import itertools

import pytest
import torch
from unrolled.core import LSTM
from unrolled.core.seq2seq.ensemble import EnsembleDecoder, EnsembleEncoder
from unrolled.core.seq2seq.search import beam_search, greedy_search

from ..conftest import HIDDEN
from .test_search import END, START, model, same, sources


def members():
    """Models of one vocabulary, of which one has another core, and one no attention."""
    return [
        model(vocabulary=4),
        model(lambda size: LSTM(size, HIDDEN + 2), vocabulary=4, seed=1),
        model(vocabulary=4, attention=False, seed=2),
    ]


def begin(made, tokens, lengths):
    encoder = EnsembleEncoder([one.encoder for one in made])
    decoder = EnsembleDecoder([one.decoder for one in made])
    memory = encoder(tokens, lengths)
    return decoder.stepper(), decoder.initial_state(memory), decoder.prepare(memory)


def probabilities(one, tokens, lengths, sequence: list[int]) -> torch.Tensor:
    """Those of the symbols of a sequence (T,), by teacher forcing."""
    memory = one.encoder(tokens, lengths)
    before = torch.tensor([[START, *sequence[:-1]]])
    decoded = one.decoder(before, one.decoder.prepare(memory), one.decoder.initial_state(memory))
    table = one.decoder.head(decoded.output).softmax(-1)[0]
    return table[torch.arange(len(sequence)), torch.tensor(sequence)]


@torch.no_grad()
def test_a_beam_that_holds_everything_is_brute_force_over_the_mean():
    made, (tokens, lengths) = members(), sources(rows=3)
    found = beam_search(
        *begin(made, tokens, lengths),
        start=START,
        end=END,
        max_length=3,
        beam_size=200,
        num_hypotheses=5,
        length_penalty=0.0,
    )
    others = [symbol for symbol in range(4) if symbol != END]
    for row in range(3):
        one = tokens[row : row + 1], lengths[row : row + 1]
        scored = {}
        for length in range(4):
            for sequence in itertools.product(others, repeat=length):
                whole = [*sequence, END]
                each = torch.stack([probabilities(member, *one, whole) for member in made])
                scored[sequence] = float(each.mean(0).log().sum())
        best = sorted(scored, key=scored.__getitem__, reverse=True)[:5]
        assert [tuple(hypothesis.tokens) for hypothesis in found[row]] == best
        assert [hypothesis.score for hypothesis in found[row]] == pytest.approx(
            [scored[key] for key in best], abs=1e-9
        )


@torch.no_grad()
def test_a_model_with_itself_is_itself_and_the_order_of_members_does_not_matter():
    made, (tokens, lengths) = members(), sources()
    rules = {"start": START, "end": END, "max_length": [6, 3, 8, 1, 6]}
    twice = begin([made[0]] * 2, tokens, lengths)
    for alone, both in zip(
        greedy_search(*begin(made[:1], tokens, lengths), **rules),
        greedy_search(*twice, **rules),
        strict=True,
    ):
        same(alone, both)
    beams = [
        beam_search(*begin(order, tokens, lengths), **rules, beam_size=3)
        for order in (made, made[::-1])
    ]
    for (one,), (other,) in zip(*beams, strict=True):
        same(one, other)


def test_members_of_different_vocabularies_are_refused():
    with pytest.raises(ValueError, match="4, 6 symbols"):
        EnsembleDecoder([model(vocabulary=4).decoder, model().decoder])
