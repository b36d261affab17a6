"""Beginnings, least lengths and draws against their definition: all sequences, one at a time."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from unrolled.core.seq2seq.search import (
    beam_search,
    greedy_search,
    sample_search,
    search_sequences,
)

from .test_search import END, START, begin, log_probability, model, sources

OTHERS = (0, 2, 3)


@pytest.mark.parametrize("least", [0, 2])
@pytest.mark.parametrize("beginnings", [(), ([2], [], [3, 0])])
@torch.no_grad()
def test_a_beam_that_holds_everything_is_brute_force_over_what_is_allowed(beginnings, least):
    made, (tokens, lengths) = model(vocabulary=4), sources(rows=3)
    found = beam_search(
        *begin(made, tokens, lengths),
        start=START,
        end=END,
        max_length=3,
        min_length=least,
        prefix=beginnings,
        beam_size=200,
        num_hypotheses=4,
        length_penalty=0.5,
    )
    for row in range(3):
        one = tokens[row : row + 1], lengths[row : row + 1]
        forced = tuple(beginnings[row]) if beginnings else ()
        scored = {
            sequence: log_probability(made, *one, [*sequence, END])
            / ((6 + len(sequence)) / 6) ** 0.5
            for length in range(max(least, len(forced)), 4)
            for sequence in itertools.product(OTHERS, repeat=length)
            if sequence[: len(forced)] == forced
        }
        best = sorted(scored, key=scored.__getitem__, reverse=True)[:4]
        assert [tuple(hypothesis.tokens) for hypothesis in found[row]] == best
        assert [hypothesis.score for hypothesis in found[row]] == pytest.approx(
            [scored[key] for key in best]
        )


@torch.no_grad()
def test_rows_with_beginnings_alone_are_rows_together_whatever_leaves_the_batch_first():
    made, (tokens, lengths) = model(), sources()
    beginnings = [[2, 2, 5], [], [4], [0, 3, 3, 2], [5]]
    rules = {"start": START, "end": END}
    limits = [6, 1, 8, 4, 3]
    for search, more in (
        (greedy_search, {}),
        (beam_search, {"beam_size": 3, "num_hypotheses": 2}),
    ):
        together = search(
            *begin(made, tokens, lengths), **rules, **more, max_length=limits, prefix=beginnings
        )
        for row, beginning in enumerate(beginnings):
            one = tokens[row : row + 1, : int(lengths[row])], lengths[row : row + 1]
            (alone,) = search(
                *begin(made, *one), **rules, **more, max_length=limits[row], prefix=[beginning]
            )
            pair = (alone, together[row])
            both = [[each] for each in pair] if search is greedy_search else pair
            for first, second in zip(*both, strict=True):
                assert first.tokens == second.tokens
                assert first.tokens[: len(beginning)] == beginning
                assert first.log_probability == pytest.approx(second.log_probability, abs=1e-9)
                whole = first.tokens + [END] * first.finished
                if whole:
                    expected = log_probability(made, *one, whole)
                    assert first.log_probability == pytest.approx(expected, abs=1e-9)


@torch.no_grad()
def test_a_beginning_goes_before_the_other_rules():
    made, (tokens, lengths) = model(), sources(rows=1)
    rules = {"start": START, "end": END, "max_length": 6, "forbidden": [4], "no_repeat_ngram": 1}
    (one,) = greedy_search(*begin(made, tokens, lengths), **rules, prefix=[[4, 4]])
    assert one.tokens[:2] == [4, 4]
    assert 4 not in one.tokens[2:]
    assert len(set(one.tokens[2:])) == len(one.tokens[2:])


@torch.no_grad()
def test_several_draws_of_a_row_are_draws_of_its_distribution_the_likeliest_first():
    made, (tokens, lengths) = model(vocabulary=3), sources(rows=2, steps=3)
    count = 3000
    found = search_sequences(
        *begin(made, tokens, lengths),
        start=START,
        end=END,
        max_length=[2, 2],
        num_hypotheses=count,
        temperature=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    for row, drawn in enumerate(found):
        assert len(drawn) == count
        scores = [one.score for one in drawn if one.finished]
        assert scores == sorted(scores, reverse=True)
        shares = Counter(tuple(one.tokens) for one in drawn if one.finished)
        one = tokens[row : row + 1], lengths[row : row + 1]
        for sequence in ((), (0,), (2,)):
            probability = math.exp(log_probability(made, *one, [*sequence, END]))
            error = 4 * (0.25 / count) ** 0.5
            assert shares[sequence] / count == pytest.approx(probability, abs=error)


@torch.no_grad()
def test_filters_draw_from_what_they_keep_and_one_of_them_is_enough():
    made, (tokens, lengths) = model(), sources()
    rules = {"start": START, "end": END, "max_length": 5}
    greedy = greedy_search(*begin(made, tokens, lengths), **rules)
    for narrow in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}):
        found = search_sequences(*begin(made, tokens, lengths), **rules, **narrow, num_hypotheses=3)
        for row, best in zip(found, greedy, strict=True):
            assert [one.tokens for one in row] == [best.tokens] * 3


def test_mistakes_are_named():
    made = model()
    given = begin(made, *sources(rows=2))
    rules = {"start": START, "end": END, "max_length": 3}
    with pytest.raises(ValueError, match="prefix has 3 beginnings for 2 rows"):
        greedy_search(*given, **rules, prefix=[[0]] * 3)
    with pytest.raises(ValueError, match="prefix has 4 tokens: must be at most max_length=3"):
        sample_search(*given, **rules, prefix=[[0] * 4, []])
    with pytest.raises(ValueError, match="prefix has the end symbol 1 in it"):
        beam_search(*given, **rules, prefix=[[0, END], []], beam_size=2)
    with pytest.raises(ValueError, match="beam_size=4 searches the best, top_k and min_p draw"):
        search_sequences(*given, **rules, beam_size=4, top_k=3, min_p=0.1)
    with pytest.raises(ValueError, match="num_hypotheses=0"):
        search_sequences(*given, **rules, top_k=3, num_hypotheses=0)
