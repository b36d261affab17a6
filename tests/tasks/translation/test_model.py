"""The translation model: a sentence translates alike in any company, and scores are the model's."""

from __future__ import annotations

import pytest
import torch
from translation_models import GERMAN
from translation_models import make_model as made
from unrolled.data.tokenizer import Subwords


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_sentence_translates_the_same_alone_and_in_a_batch(beam_size):
    model = made()
    texts = [*GERMAN, "", "ein", "katze katze katze zwei"]
    together = model.translations(texts, beam_size=beam_size, num_hypotheses=beam_size)
    for text, found in zip(texts, together, strict=True):
        alone = model.translations([text], beam_size=beam_size, num_hypotheses=beam_size)[0]
        assert [one.text for one in alone] == [one.text for one in found]
        assert [one.score for one in alone] == pytest.approx(
            [one.score for one in found], abs=1e-9, nan_ok=True
        )
    assert (
        model.translations(texts, beam_size=beam_size, batch_size=2)[1][0].text
        == together[1][0].text
    )
    assert len({found[0].text for found in together}) > 3


@torch.no_grad()
def test_scores_are_the_models_log_probabilities_and_attention_is_a_distribution():
    model = made(joint=False)
    for found in model.translations(
        GERMAN, beam_size=4, num_hypotheses=4, attention=True, length_penalty=0.5
    ):
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        for one in found:
            assert one.attention.shape == (len(one.target), len(one.source))
            torch.testing.assert_close(
                one.attention.sum(1), torch.ones(len(one.target), dtype=torch.float64)
            )
            length = len(one.target)
            assert one.score == pytest.approx(one.log_probability / ((5 + length) / 6) ** 0.5)
    source = torch.tensor([[*model.source.encode_batch(GERMAN[:1])[0], Subwords.END]])
    memory = model.encoder(source, torch.tensor([source.shape[1]]))
    hypothesis = model.search(memory, beam_size=4)[0][0]
    tokens = hypothesis.tokens + [Subwords.END] * hypothesis.finished
    before = torch.tensor([[Subwords.START, *tokens[:-1]]])
    decoded = model.decoder(
        before, model.decoder.prepare(memory), model.decoder.initial_state(memory)
    )
    table = model.decoder.head(decoded.output).log_softmax(2)[0]
    expected = float(table[torch.arange(len(tokens)), torch.tensor(tokens)].sum())
    assert hypothesis.log_probability == pytest.approx(expected, abs=1e-9)


def test_a_translation_of_nothing_has_attention_of_nothing():
    (found,) = made().translations(GERMAN[:1], max_length=0, beam_size=1, attention=True)[0]
    assert found.attention.shape[0] == len(found.target) <= 1


def test_drawing_repeats_with_a_seed():
    model = made()
    first = model.translate(GERMAN, temperature=1.5, seed=3)
    assert model.translate(GERMAN, temperature=1.5, seed=3) == first
    assert any(model.translate(GERMAN, temperature=1.5, seed=seed) != first for seed in range(4, 8))
    assert isinstance(model.translate("ein hund"), str)
    assert model.translate([]) == []
    assert model.translate("") == ""


def test_mistakes_are_named():
    model = made()
    with pytest.raises(
        ValueError, match="num_hypotheses=3: must be at least 1 and at most beam_size=2"
    ):
        model.translate(GERMAN, beam_size=2, num_hypotheses=3)
    with pytest.raises(ValueError, match="batch_size=0"):
        model.translate(GERMAN, batch_size=0)
    with pytest.raises(ValueError, match="beam_size=0: must be at least 1"):
        model.translate(GERMAN, beam_size=0)
    with pytest.raises(ValueError, match="made without attention"):
        made(attention=None).translations(GERMAN, attention=True)


@pytest.mark.parametrize("texts", [5, None, b"ab", {"a": 1}, ["a", 5], ["a", None], [["a"]]])
def test_what_is_no_list_of_texts_is_named(texts):
    model = made()
    for said in (model.translate, model.translations, lambda texts: model.score(texts, texts)):
        with pytest.raises(TypeError, match=r"must be (a list of )?str$"):
            said(texts)
    with pytest.raises(TypeError, match="must be a list of str"):
        model.score("ab", "cd")  # four letters
