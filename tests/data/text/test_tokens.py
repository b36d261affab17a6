"""Texts in words and subwords: cut anywhere, whole again, scored by their characters."""

from __future__ import annotations

import math
import random
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional
from unrolled.core import LSTM
from unrolled.data import TextData
from unrolled.data.text import tokens
from unrolled.errors import UsageError
from unrolled.tasks import CharLM

WORDS = ["the", "cat,", "sat", "on", "मैं", "漢字漢字", "mat.", "\n", "\n\n", " "]


@pytest.fixture
def text(tmp_path):
    whole = " ".join(random.Random(0).choices(WORDS, k=900))
    (tmp_path / "text.txt").write_text(whole)
    return whole, str(tmp_path / "text.txt")


@pytest.mark.parametrize("units", ["words", "subwords"])
def test_blocks_may_cut_the_text_anywhere(text, units, monkeypatch):
    monkeypatch.setattr("unrolled.data.text.corpus.BLOCK_BYTES", 5)
    whole, path = text
    data = TextData(path, units=units)
    encoded = data.vocabulary.encode(whole, unknown="replace")
    assert data.tokens[:].tolist() == [0, *encoded]
    if units == "subwords":
        assert data.vocabulary.decode(data.tokens[:]) == whole
        assert data.vocabulary.size == 257 + len(whole) // 400
        assert TextData(path, units=units, vocabulary_size=300).vocabulary.size == 300


@pytest.mark.parametrize("units", ["characters", "bytes"])
def test_a_size_of_what_has_none_is_refused(text, units):
    with pytest.raises(UsageError, match=f"is for units words and subwords: of {units} all"):
        TextData(text[1], units=units, vocabulary_size=300)


def test_a_script_without_spaces_is_not_held_back(monkeypatch):
    monkeypatch.setattr(tokens, "_HELD", 10)
    pieces = [np.full(4, 0x6F22, np.uint32) for _ in range(9)]
    assert [len(piece) for piece in tokens.uncut(pieces)] == [12, 12, 12]


def test_documents_of_words(tmp_path, caplog):
    path = tmp_path / "lines.txt"
    path.write_text("a b\n \nb a\nc a b\n" * 9)
    data = TextData(str(path), units="words", documents="lines", val_fraction=0.3, test_fraction=0)
    assert data.vocabulary.symbols == ["a", "b", "c"]
    ends = [0, *(n for n, i in enumerate(data.tokens[:].tolist()) if i == 0), len(data.tokens)]
    assert len(ends) - 2 == data.corpus.survey()["documents"]
    assert data.bounds("train")[1] in ends
    assert "0 (0.0%) are unknown" in caplog.text


@pytest.mark.parametrize("units", ["words", "subwords"])
def test_bits_per_character_are_over_the_texts_characters(text, units, trainer):
    torch.manual_seed(0)
    whole, path = text
    settings = {"val_fraction": 1.0, "test_fraction": 0.0, "batch_size": 1, "chunk_length": 37}
    data = TextData(path, units=units, **settings)
    task = CharLM(data.spec, partial(LSTM, hidden_size=12), embedding_size=6)
    scores = trainer(precision="64-true").validate(task, data, verbose=False)[0]
    ids = torch.from_numpy(data.tokens[:])
    logits, _ = task.model(ids[None, :-1])
    nats = functional.cross_entropy(logits[0], ids[1:], reduction="sum").item()
    plain = "\n".join(" ".join(line.split()) for line in whole.split("\n"))
    characters = len(whole) if units == "subwords" else len(plain)
    assert scores["val/loss"] == pytest.approx(nats / (len(ids) - 1), rel=1e-6)
    assert scores["val/perplexity"] == pytest.approx(math.exp(nats / (len(ids) - 1)), rel=1e-5)
    assert scores["val/bits_per_character"] == pytest.approx(
        nats / characters / math.log(2), rel=1e-6
    )


def test_a_model_of_words_goes_on_with_a_space(text):
    torch.manual_seed(0)
    _, path = text
    data = TextData(path, units="words")
    model = CharLM(data.spec, partial(LSTM, hidden_size=12)).model
    with torch.no_grad():  # one word alone
        model.head.bias.fill_(-1e4)
        model.head.bias[data.vocabulary.encode("cat,")] = 1e4
    assert model.generate(["the", "the\n", ""], length=2) == [
        " cat, cat,",
        "cat, cat,",
        "cat, cat,",
    ]
    assert model.generate("the", length=9, stop="t, c") == " ca"
