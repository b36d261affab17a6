"""What a model does not know is marked, or copied from where the attention looked."""

from __future__ import annotations

import math

import pytest
import torch
from translation_models import ENGLISH, GERMAN, make_model, make_task
from unrolled.data.tokenizer import Subwords

SENTENCE = "ein 😀 hund"


def likes_unknown(**arguments):
    """A model that says the unknown symbol often."""
    model = make_model(**arguments)
    with torch.no_grad():
        model.decoder.head.bias[Subwords.UNKNOWN] += 6
    return model


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word"])
def test_text_with_unknown_symbols_is_the_text_around_them(kind):
    vocabulary = Subwords.train([*GERMAN, *ENGLISH], size=60, kind=kind)
    for text, ids in zip(GERMAN, vocabulary.encode_batch(GERMAN), strict=True):
        assert vocabulary.with_unknown(ids, []) == vocabulary.decode(ids) == text
    (ids,) = vocabulary.encode_batch(["ein 😀 hund 😀"])
    assert vocabulary.with_unknown(ids, ["x", "y"]) == "ein x hund y"
    assert vocabulary.knows(ids)
    assert not vocabulary.knows(vocabulary.encode_batch(["😀 😀"])[0])
    assert not vocabulary.knows([])


def test_no_unknown_symbol_is_written_unless_asked():
    model = likes_unknown()
    plain = model.translations([*GERMAN, SENTENCE])
    assert all("<unk>" not in one.text + "".join(one.target) for row in plain for one in row)
    assert [row[0].unknown for row in plain] == [0] * len(GERMAN) + [1]


def test_marked_and_copied_texts_differ_in_the_unknown_words_alone():
    model = likes_unknown()
    texts = [*GERMAN, SENTENCE]
    marked = model.translations(texts, unknown="mark", num_hypotheses=2)
    copied = model.translations(texts, unknown="copy", num_hypotheses=2)
    seen = model.translations(texts, unknown="mark", num_hypotheses=2, attention=True)
    places = 0
    for text, *rows in zip(texts, marked, copied, seen, strict=True):
        for mark, copy, look in zip(*rows, strict=True):
            assert copy.attention is mark.attention is copy.alignment is None
            assert copy.target == mark.target
            assert copy.score == mark.score
            assert mark.text.count("<unk>") == mark.target.count("<unk>")
            sources = model.source.symbols(model.source.encode_batch([text])[0])
            expected = mark.text
            for place, symbol in enumerate(look.target):
                if symbol == "<unk>":
                    best = int(look.attention[place, :-1].argmax())
                    word = sum(one.startswith("\u2581") for one in sources[: best + 1]) - 1
                    expected = expected.replace("<unk>", text.split()[word], 1)
                    places += 1
            assert copy.text == expected
    assert places > 3


def test_a_sentence_of_nothing_known_is_marked_in_its_score_and_in_its_text():
    model = make_model()
    texts = ["😀 😀😀", "", "ein hund"]
    for unknown, text in ((None, None), ("mark", "<unk>"), ("copy", "😀 😀😀")):
        found = model.translations(texts, unknown=unknown, num_hypotheses=2)
        assert math.isnan(found[0][0].score)
        assert found[0][0].unknown == 3
        assert math.isfinite(found[0][0].log_probability)
        assert math.isnan(found[1][0].score)
        assert math.isfinite(found[2][0].score)
        if text:
            assert [one.text for one in found[0]] == [text]
    assert model.translate(texts[0], unknown="copy") == texts[0]


def test_copying_needs_an_attention():
    model = make_task(attention=None).model
    with pytest.raises(ValueError, match="'copy': the attention says what to copy"):
        model.translate("ein hund", unknown="copy")
    assert model.translate("😀", unknown="mark") == "<unk>"
