"""What is written, symbol by symbol, and where it stops."""

from __future__ import annotations

import random

import pytest
from unrolled.data.vocabulary import ByteVocabulary, CharacterVocabulary
from unrolled.tasks.char_lm.writing import Writer


@pytest.mark.parametrize("seed", range(30))
def test_what_comes_is_the_text_before_the_stop_and_never_more(seed):
    rng = random.Random(seed)
    text = "".join(rng.choices("ab", k=rng.randrange(30)))
    stop = "".join(rng.choices("ab", k=rng.randrange(1, 6)))
    for vocabulary in (CharacterVocabulary("ab"), ByteVocabulary()):
        writer, pieces = Writer(vocabulary, stop), []
        for symbol in vocabulary.encode(text).tolist():
            pieces.append(writer.push(symbol))
            so_far = pieces[0][:0].join(pieces)
            decoded = so_far if isinstance(so_far, str) else so_far.decode()
            assert text.split(stop)[0].startswith(decoded)
        pieces.append(writer.finish())
        assert writer.finished
        assert not writer.push(1)
        assert not writer.finish()
        whole = pieces[0][:0].join(pieces)
        assert (whole if isinstance(whole, str) else whole.decode()) == text.split(stop)[0]


def test_a_documents_end_gives_what_was_held_back():
    vocabulary = CharacterVocabulary("ab")
    writer = Writer(vocabulary, "aab")
    assert [writer.push(i) for i in [*vocabulary.encode("baa"), vocabulary.END]] == [
        "b", "", "", "aa",
    ]  # fmt: skip
    assert writer.finished
