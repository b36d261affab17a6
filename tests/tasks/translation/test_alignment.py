"""Which words belong together: what the attention says, word by word."""

from __future__ import annotations

import pytest
import torch
from translation_models import GERMAN, make_model
from unrolled.data.tokenizer import Subwords
from unrolled.tasks.translation.alignment import looked_at, word_alignment, word_numbers


def test_words_are_those_between_the_spaces():
    texts = [*GERMAN, "3 hunde, 12 katzen!", "ein  xylophon 😀 hund", "!", "ein 😀"]
    for kind in ("bpe", "unigram"):
        vocabulary = Subwords.train(GERMAN, size=45, kind=kind)
        for text, ids in zip(texts, vocabulary.encode_batch(texts), strict=True):
            numbers = word_numbers(vocabulary.symbols(ids), whole=False)
            assert len(numbers) == len(ids)
            assert numbers[-1] + 1 == len(text.split())
            # and each symbol is a part of the word that it is said to be of
            for number, (begin, end) in zip(numbers, vocabulary.spans(text), strict=True):
                assert text[begin:end].strip() in text.split()[number]
    # what a model writes may have several spaces, and one at the end
    spaces = ["a", "\u2581", "\u2581", "\u2581b", "c", "\u2581", "<unk>", "\u2581"]
    assert word_numbers(spaces, whole=False) == [0, 1, 1, 1, 1, 2, 2, 2]
    assert word_numbers(["\u2581", "\u2581a"], whole=False) == [0, 0]
    assert word_numbers(["do", "n't", "stop"], whole=True) == [0, 1, 2]


def test_each_word_is_linked_with_what_it_looked_at_most():
    attention = torch.tensor(
        [
            [0.3, 0.3, 0.4, 0.0],  # the first word: more at the two parts of word 0 than at word 1
            [0.1, 0.1, 0.2, 0.6],  # the second, in two parts, on average at word 1,
            [0.0, 0.0, 0.9, 0.1],
            [0.0, 0.1, 0.1, 0.8],  # the third at the end: at nothing
            [0.0, 0.0, 0.0, 1.0],  # the end
        ]
    )
    assert word_alignment(attention, [0, 0, 1], [0, 1, 1, 2]) == [(0, 0), (1, 1)]
    # without an end, as where a text breaks off
    assert word_alignment(attention[:4], [0, 0, 1], [0, 1, 1, 2]) == [(0, 0), (1, 1)]
    assert word_alignment(attention[:1], [0, 0, 1], []) == []
    text = "ein hund"
    spans = [(0, 2), (2, 3), (3, 8)]
    assert looked_at(attention[:3], [0, 0, 1], spans, text) == ["hund", "hund", "hund"]
    assert looked_at(attention[:, [0, 2, 1, 3]], [0, 0, 1], spans, text)[0] == "ein"


@pytest.mark.parametrize("joint", [True, False])
def test_links_are_of_words_that_are_there(joint):
    model = make_model(joint=joint)
    (*found, [empty]) = model.translations([*GERMAN, ""], attention=True)
    assert empty.alignment is None
    linked = 0
    for text, (one,) in zip(GERMAN, found, strict=True):
        assert all(source < len(text.split()) for source, _ in one.alignment)
        targets = [target for _, target in one.alignment]
        assert all(target < len(one.text.split()) for target in targets)
        assert len(set(targets)) == len(targets)
        linked += len(targets)
    assert linked
    assert model.translations(GERMAN)[0][0].alignment is None
    for unknown, links in (("mark", []), ("copy", [(0, 0), (1, 1)])):
        ((one,),) = model.translations(["\U0001f600 \U0001f600"], unknown=unknown, attention=True)
        assert one.alignment == links
