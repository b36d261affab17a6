"""Shortlists: the same search among fewer symbols, in any company, and what is learnt of pairs."""

from __future__ import annotations

import pytest
import torch
from unrolled.core.seq2seq.ensemble import EnsembleDecoder, EnsembleEncoder
from unrolled.core.seq2seq.search import search_sequences
from unrolled.core.seq2seq.shortlist import Shortlist, joined, learn_shortlist

from .test_search import END, START, model, same, sources

SIZE = 12
SETTINGS = [
    {"beam_size": 4, "num_hypotheses": 3},
    {"beam_size": 1},
    {"beam_size": 3, "no_repeat_ngram": 2, "min_length": 3},
    {"beam_size": 3, "prefix": [7, 7]},
]


def narrowed(made, tokens, lengths, allowed, **settings):
    """What a search finds among the allowed symbols; None: among all."""
    settings = {"max_length": 6, **settings}
    prefix = settings.pop("prefix", [])
    start, end = START, END
    if allowed is not None:
        (start, end), prefix = allowed.places([START, END]), allowed.places(prefix)
    memory = made.encoder(tokens, lengths)
    step, prepared = made.decoder.searcher(made.decoder.prepare(memory), allowed)
    found = search_sequences(
        step,
        made.decoder.initial_state(memory),
        prepared,
        start=start,
        end=end,
        prefix=[prefix] * len(tokens) if prefix else (),
        **settings,
    )
    return found if allowed is None else allowed.named(found)


def equal(found, expected) -> None:
    for row, others in zip(found, expected, strict=True):
        for one, other in zip(row, others, strict=True):
            same(one, other)


@pytest.mark.parametrize("settings", SETTINGS)
@torch.no_grad()
def test_a_list_of_all_symbols_changes_nothing(settings):
    made, (tokens, lengths) = model(vocabulary=SIZE), sources()
    words = Shortlist(torch.arange(SIZE), torch.full((9, 1), -1))
    allowed = words.allowed(tokens.tolist(), size=SIZE, shared=[START, END, 7])
    expected = narrowed(made, tokens, lengths, None, **settings)
    equal(narrowed(made, tokens, lengths, allowed, **settings), expected)


def some(tokens) -> tuple[Shortlist, torch.Tensor]:
    """A list of a few symbols, and what each row may be written with (R, V)."""
    draw = torch.Generator().manual_seed(3)
    words = Shortlist(torch.tensor([4]), torch.randint(-1, SIZE, (9, 2), generator=draw))
    table = torch.zeros(len(tokens), SIZE + 1, dtype=torch.bool)
    for row, source in zip(table, tokens.tolist(), strict=True):
        row[words.likely[source].flatten()] = True
    table[:, [START, END, 7, 4]] = True
    return words, table[:, :SIZE]


@pytest.mark.parametrize("settings", SETTINGS)
@torch.no_grad()
def test_rows_choose_among_their_own_symbols_as_if_there_were_no_others(settings):
    made, (tokens, lengths) = model(vocabulary=SIZE), sources()
    tokens = tokens[:, :2]  # so that lists differ
    lengths = lengths.clamp(max=2)
    words, table = some(tokens)
    assert len({tuple(row) for row in table.tolist()}) > 1
    assert not table.any(0).all()
    shared = [START, END, 7]
    allowed = words.allowed(tokens.tolist(), size=SIZE, shared=shared)
    together = narrowed(made, tokens, lengths, allowed, **settings)
    for row in range(len(tokens)):
        one = tokens[row : row + 1], lengths[row : row + 1]
        alone = words.allowed(one[0].tolist(), size=SIZE, shared=shared)
        equal(narrowed(made, *one, alone, **settings), together[row : row + 1])
        memory = made.encoder(*one)
        for found in together[row]:
            sequence = [*found.tokens, *([END] if found.finished else [])]
            before = torch.tensor([[START, *sequence[:-1]]])
            begin = made.decoder.prepare(memory), made.decoder.initial_state(memory)
            logits = made.decoder.head(made.decoder(before, *begin).output)[0]
            mine = logits.masked_fill(~table[row], -torch.inf).log_softmax(1)
            total = mine[torch.arange(len(sequence)), torch.tensor(sequence, dtype=torch.int64)]
            assert found.log_probability == pytest.approx(float(total.sum()), abs=1e-9)


@torch.no_grad()
def test_drawing_stays_within_the_lists():
    made, (tokens, lengths) = model(vocabulary=SIZE), sources(rows=4)
    words, table = some(tokens)
    allowed = words.allowed(tokens.tolist(), size=SIZE, shared=[START, END, 7])
    generator = torch.Generator().manual_seed(0)
    drawn = narrowed(
        made, tokens, lengths, allowed, num_hypotheses=9, temperature=3.0, generator=generator
    )
    for row, found in enumerate(drawn):
        said = {token for one in found for token in one.tokens}
        assert len(said) > 2
        assert all(table[row, token] for token in said)


@torch.no_grad()
def test_an_ensemble_is_the_mean_among_the_allowed_symbols():
    members = [model(vocabulary=SIZE), model(vocabulary=SIZE, attention=False, seed=2)]
    tokens, lengths = sources(rows=3)
    words, table = some(tokens)
    allowed = words.allowed(tokens.tolist(), size=SIZE, shared=[START, END, 7])
    encoder = EnsembleEncoder([one.encoder for one in members])
    decoder = EnsembleDecoder([one.decoder for one in members])
    memory = encoder(tokens, lengths)
    step, prepared = decoder.searcher(decoder.prepare(memory), allowed)
    start = torch.full((3,), allowed.places([START])[0])
    found, _ = step(start, decoder.initial_state(memory), prepared)  # (3, K)
    for row in range(3):
        means = torch.zeros(SIZE, dtype=torch.float64)
        for one in members:
            seen = one.encoder(tokens, lengths)
            begin = one.decoder.prepare(seen), one.decoder.initial_state(seen)
            logits = one.decoder.head(one.decoder(torch.full((3, 1), START), *begin).output)
            means += logits[row, 0].masked_fill(~table[row], -torch.inf).softmax(0) / 2
        count = int(allowed.counts[row])
        mine = allowed.symbols[allowed.lists[row, :count]]
        torch.testing.assert_close(found[row].softmax(0)[:count], means[mine])
        assert not found[row].softmax(0)[count:].any()


def test_what_two_lists_allow():
    one = Shortlist(torch.tensor([1, 4]), torch.tensor([[2], [-1]]))
    other = Shortlist(torch.tensor([4, 5]), torch.tensor([[3], [6]]))
    both = joined([one, other])
    assert both.always.tolist() == [1, 4, 5]
    assert both.likely.tolist() == [[2, 3], [-1, 6]]


def test_nothing_to_write_needs_no_list():
    allowed = Shortlist(torch.tensor([1]), torch.tensor([[2]])).allowed([], size=9, shared=[3])
    assert allowed.lists.shape == (0, 1)


PAIRS = [  # das Haus, das Buch, ein Buch; 5 ends every side
    ([1, 2, 5], [11, 12, 5]),
    ([1, 3, 5], [11, 13, 5]),
    ([4, 3, 5], [14, 13, 5]),
]


def learnt(pairs=PAIRS, **settings) -> Shortlist:
    sides = []
    for side in (0, 1):
        sides += [
            torch.tensor([token for pair in pairs for token in pair[side]], dtype=torch.int64),
            torch.tensor([len(pair[side]) for pair in pairs], dtype=torch.int64),
        ]
    return learn_shortlist(*sides, sizes=(7, 16), **{"frequent": 1, "rounds": 8, **settings})


def test_each_word_becomes_its_translation():
    words = learnt(likely=1)
    assert words.always.tolist() == [5]
    assert {source: words.likely[source].tolist() for source in (1, 2, 3, 4)} == {
        1: [11],
        2: [12],
        3: [13],
        4: [14],
    }
    assert words.likely[0].tolist() == words.likely[6].tolist() == [-1]


def test_one_round_counts_what_comes_together():
    words = learnt(likely=9, rounds=1)
    # t(f | das): each of the 3 source symbols takes a third of each target symbol
    assert words.likely[1].tolist() == [11, 12, 13, *[-1] * 6]
    assert words.likely[4].tolist()[:2] == [13, 14]


def test_nothing_is_learnt_of_nothing():
    words = learnt([], likely=2)
    assert words.always.tolist() == []
    assert words.likely.unique().tolist() == [-1]
