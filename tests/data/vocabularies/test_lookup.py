"""Every vocabulary answers torchtext's methods, whatever it is of."""

from __future__ import annotations

import pytest
from unrolled.data.tokenizer import Subwords
from unrolled.data.vocabularies.subwords import SubwordVocabulary
from unrolled.data.vocabulary import ByteVocabulary, CharacterVocabulary, WordVocabulary

TEXT = "the cat sat on the mat, the café"
ALL = [
    CharacterVocabulary(TEXT),
    ByteVocabulary(),
    WordVocabulary(TEXT.split()),
    SubwordVocabulary.train([TEXT] * 9, 300),
    *(Subwords.train([TEXT], kind=kind, size=40) for kind in ("word", "bpe", "unigram")),
]


@pytest.mark.parametrize("vocabulary", ALL, ids=lambda one: f"{type(one).__name__}-{one.kind}")
def test_tokens_and_ids_are_each_others(vocabulary):
    tokens, numbers = vocabulary.get_itos(), vocabulary.get_stoi()
    assert len(vocabulary) == len(tokens) == len(numbers) == vocabulary.size
    ids = list(range(vocabulary.size))
    assert vocabulary.lookup_tokens(ids) == tokens
    assert vocabulary(tokens) == vocabulary.lookup_indices(tokens) == ids
    assert all(token in vocabulary for token in tokens)
    assert "no such token" not in vocabulary
    unknown = getattr(vocabulary, "UNKNOWN", None)
    assert vocabulary.get_default_index() == unknown
    if unknown is not None:
        assert vocabulary["no such token"] == unknown
    vocabulary.set_default_index(None)
    with pytest.raises(RuntimeError, match="no token 'no such token'"):
        vocabulary["no such token"]
    vocabulary.set_default_index(unknown)


def test_tokens_are_what_texts_become():
    characters, words = ALL[0], ALL[2]
    assert characters.lookup_tokens(characters.encode("cat").tolist()) == list("cat")
    assert words.lookup_tokens(words.encode("the cat\nsat").tolist()) == ["the", "cat", "\n", "sat"]
    subwords = ALL[4]
    assert subwords.lookup_tokens(subwords.encode_batch(["the cat"])[0]) == ["the", "cat"]
