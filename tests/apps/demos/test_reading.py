"""A text that grows and changes is read as the whole of it is."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from unrolled.apps.demos.reading import TextReading
from unrolled.apps.plots.neurons import _states
from unrolled.apps.plots.surprise import _read
from unrolled.core import GRU, LSTM, MLSTM, Stacked
from unrolled.data.vocabularies.subwords import SubwordVocabulary
from unrolled.data.vocabularies.words import WordVocabulary
from unrolled.errors import DataError
from unrolled.tasks import CharModel

SYMBOLS = 'abc "()\n.éם'
TEXTS = [
    "",
    "a",
    "ab",
    "ab" * 40,
    "ab" * 40 + "c",
    "ab" * 35,
    'c(b"é' * 20,
    'c(b"é' * 19 + "\nם",
    "b",
    "",
]


def model_of(vocabulary: dict, core=None) -> CharModel:
    torch.manual_seed(0)
    core = core or partial(Stacked, core=partial(LSTM, hidden_size=6), num_layers=2)
    return CharModel({"vocabulary": vocabulary}, core, embedding_size=5).double().eval()


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_what_changes_is_read_as_the_whole(kind):
    """Bits, guesses and units are those of the plots, whatever was read before."""
    model = model_of({"kind": kind, "symbols": SYMBOLS if kind == "characters" else ""})
    reading = TextReading(model)
    for text in TEXTS:
        reading.read(text)
        assert "".join(one.symbol.text for one in reading.seen) == text
        fresh = TextReading(model)
        fresh.read(text)
        assert reading.next == fresh.next
        if not text:
            continue
        ids = [list(one.symbol.ids) for one in reading.seen]
        bits, guesses, chances = _read(model, ids, 5)
        np.testing.assert_allclose([one.bits for one in reading.seen], bits, atol=1e-5)
        found = [[guess.probability for guess in one.guesses] for one in reading.seen]
        np.testing.assert_allclose(found, chances, atol=1e-6)
        if kind == "characters":
            signs = {"(end)": "⏹", "(unknown)": "\ufffd"}
            for one, there in zip(reading.seen, guesses, strict=True):
                named = [guess.symbol for guess in one.guesses]
                assert [signs.get(name, name) for name in named] == there
        units, names = _states(model, text)
        assert reading.unit_names == names
        mine = torch.stack([one.units for one in reading.seen]).numpy()
        np.testing.assert_allclose(mine, units, atol=1e-6)


def test_no_more_is_read_than_what_is_new(monkeypatch):
    model = model_of({"kind": "characters", "symbols": SYMBOLS})
    reading = TextReading(model)
    reading.read("ab" * 200)
    steps = []
    advance = reading._advanced
    monkeypatch.setattr(reading, "_advanced", lambda *a: steps.append(1) or advance(*a))
    reading.read("ab" * 200 + "c")
    assert len(steps) == 1
    reading.read("ab" * 200)  # a key that takes a character away
    assert len(steps) - 1 <= 32


def test_probabilities_are_those_of_a_distribution():
    reading = TextReading(model_of({"kind": "characters", "symbols": "ab"}))  # and the end
    reading.read("abba")
    for one in reading.seen:
        assert math.isclose(sum(guess.probability for guess in one.guesses), 1, rel_tol=1e-6)
        own = next(guess for guess in one.guesses if guess.symbol == one.symbol.text)
        assert math.isclose(-math.log2(own.probability), one.bits, rel_tol=1e-5)


@pytest.mark.parametrize(
    "vocabulary",
    [
        SubwordVocabulary.train(["the cat sat on the mat"] * 9, 270),
        WordVocabulary(["the", "cat", "sat", "on", "mat"]),
    ],
    ids=["subwords", "words"],
)
def test_words_and_subwords_are_read_as_they_stand_in_the_text(vocabulary):
    model = model_of(dict(vocabulary.to_spec()), partial(GRU, hidden_size=6))
    text, reading = "the cat sat\non the mat", TextReading(model)
    for end in range(1, len(text) + 1):  # as one types: a word's end comes later
        reading.read(text[:end])
        fresh = TextReading(model)
        fresh.read(text[:end])
        for mine, its in itertools.zip_longest(reading.seen, fresh.seen):
            assert mine.symbol == its.symbol
            assert math.isclose(mine.bits, its.bits, rel_tol=1e-6)
    assert "".join(one.symbol.text for one in reading.seen).split() == text.split()
    scored = model.score([text])[0]
    found = [-one.bits * math.log(2) for one in reading.seen]
    np.testing.assert_allclose(found, scored.log_probabilities, atol=1e-6)


def test_an_unknown_character_costs_nothing_that_was_read():
    reading = TextReading(model_of({"kind": "characters", "symbols": SYMBOLS}))
    reading.read("abc")
    before = list(reading.seen)
    with pytest.raises(DataError, match="'z'"):
        reading.read("abcz")
    assert reading.seen == before


def test_a_state_without_vectors_has_no_units():
    core = partial(MLSTM, hidden_size=8, num_heads=2)
    reading = TextReading(model_of({"kind": "characters", "symbols": SYMBOLS}, core))
    reading.read("abc")
    assert len(reading.seen) == 3
    assert len(reading.unit_names) == len(reading.seen[0].units)
