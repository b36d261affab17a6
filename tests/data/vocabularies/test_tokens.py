"""Words and subwords: to numbers and back, and how many characters they stand for."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from unrolled.data.alphabet import alphabet
from unrolled.data.vocabularies.subwords import SubwordVocabulary
from unrolled.data.vocabularies.words import WordVocabulary, words_of
from unrolled.data.vocabulary import UnknownCharacters, vocabulary_from_spec
from unrolled.errors import UsageError

SCRIPTS = [
    "the ",
    "cat",
    "don't",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "हिन्दी ",
    "漢字",
    "ß",
    "🦆",
    "é",
    "▁",
    "42",
]


def random_text(seed: int, length: int = 60) -> str:
    return "".join(random.Random(seed).choices(SCRIPTS, k=length))


@pytest.fixture(scope="module")
def subwords() -> SubwordVocabulary:
    return SubwordVocabulary.train([random_text(n) for n in range(50)], 330)


@pytest.mark.parametrize("seed", range(15))
def test_subwords_lose_nothing(subwords, seed):
    text = random_text(seed) + "".join(map(chr, random.Random(seed).choices(range(0xD7FF), k=30)))
    ids = subwords.encode(text)
    assert subwords.decode(ids) == text
    assert ids.min() > 0
    assert ids.max() < subwords.size == 330
    assert subwords.characters(ids, ids).sum() == len(text)
    decoder, rest = subwords.decoder(), ids.tolist()
    assert "".join(decoder.push([i]) for i in rest) + decoder.finish() == text
    again = vocabulary_from_spec(subwords.to_spec())
    assert (again.encode(text) == ids).all()


def test_subwords_merge_what_is_frequent(subwords):
    assert len(subwords.encode("the cat the cat")) <= 5
    assert SubwordVocabulary.train([random_text(n) for n in range(50)], 330).to_spec() == (
        subwords.to_spec()
    )
    assert any("हिन्दी".encode() in piece for piece in subwords.symbols), "marks stay with letters"
    assert SubwordVocabulary.train([], 10).size == 257
    assert subwords.encode("\ud800").tolist() == subwords.encode("?").tolist()


@pytest.mark.parametrize(
    "symbols", ["a", "a b c", "ab c", "a b\nab cd", "\x00 \x01", "a b\n" * 3 + "x"]
)
def test_subwords_that_are_none(symbols):
    with pytest.raises(UsageError, match="no vocabulary of subwords"):
        vocabulary_from_spec({"kind": "subwords", "symbols": symbols})


@pytest.mark.parametrize("seed", range(15))
def test_words_and_lines(seed):
    text = random_text(seed)
    words = WordVocabulary(words_of(text))
    ids = words.encode(text)
    plain = "\n".join(" ".join(line.split()) for line in text.split("\n"))
    assert words.decode(ids) == plain
    before = np.concatenate(([words.END], ids[:-1]))
    assert words.characters(before, ids).sum() == len(plain)
    assert len(ids) == len(text.split()) + text.count("\n")
    again = vocabulary_from_spec(words.to_spec())
    assert again.symbols == words.symbols
    cut = len(ids) // 2
    decoder = words.decoder(int(before[cut]))
    assert plain.endswith("".join(decoder.push([i]) for i in ids[cut:].tolist()))


def test_the_vocabulary_of_words_is_sized_by_the_text():
    counts = Counter(words_of("to be or not to be\nthat is the question or\n"))
    words = WordVocabulary.of(counts, 100)
    assert words.symbols == ["be", "or", "to"], "what occurs twice, most frequent first"
    assert WordVocabulary.of(counts, 1).symbols == ["be"]
    assert words.encode("to see or\n", unknown="replace").tolist() == [5, 1, 4, 2]
    assert words.encode("to see or\n", unknown="skip").tolist() == [5, 4, 2]
    with pytest.raises(UnknownCharacters, match=r"has 1 word that the vocabulary lacks: 'see'"):
        words.encode("to see or")
    assert words.decode([5, 1, 2, 0, 4]) == "to \ufffd\nor"


def test_every_symbol_has_a_name_of_its_own(subwords):
    words = WordVocabulary(words_of("the cat ▁ , 42"))
    for vocabulary in (subwords, words):
        names = alphabet(vocabulary.to_spec())
        assert names.kind == vocabulary.kind
        assert len(set(names.names)) == len(names.names) == vocabulary.size
    assert "▁the" in alphabet(words.to_spec()).names
    assert "cat" in alphabet(subwords.to_spec()).names
