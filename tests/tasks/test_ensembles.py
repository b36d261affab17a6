"""Several models speak as one: by the mean of their probabilities, whatever they are made of."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from caption_models import make_data
from caption_models import make_model as captioner
from translation_models import ENGLISH, GERMAN
from translation_models import make_model as translator
from unrolled.core import LSTM, MinGRU
from unrolled.errors import UsageError
from unrolled.tasks import ensemble
from video_models import BOTH_WAYS, CLASSES, PICTURES, Means
from video_models import make_model as labeller


def other(model, scale: float = 0.7):
    """The same model with other weights."""
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for number, parameter in enumerate(changed.parameters()):
            parameter *= scale if number % 2 else 1.2
    return changed


def test_translations_are_scored_by_the_mean_of_probabilities():
    first = translator()
    second = translator(decoder=partial(LSTM, hidden_size=5), input_feeding=False)
    both = ensemble([first, second])
    assert [both.translations(GERMAN)[0][0].text] != [""]
    scores = [model.score(GERMAN, ENGLISH) for model in (first, second, both)]
    for one, two, mean in zip(*scores, strict=True):
        assert mean.symbols == one.symbols
        parts = torch.tensor([one.log_probabilities, two.log_probabilities])
        assert mean.log_probabilities == pytest.approx(parts.exp().mean(0).log().tolist(), abs=1e-6)
    for found in both.translations(GERMAN, beam_size=3, attention=True, length_penalty=0.0):
        rescored = both.score([GERMAN[0]], [found[0].text])  # any sentence: it has to be finite
        assert torch.isfinite(torch.tensor(rescored[0].log_probabilities)).all()
        rows = found[0].attention.sum(1)
        torch.testing.assert_close(rows, torch.ones_like(rows))


def test_the_members_stay_as_they_are_and_one_is_itself():
    first = translator()
    before = first.translations(GERMAN)
    parts = dict(first.named_parameters())
    ensemble([first, other(first)])
    assert first.translations(GERMAN) == before
    assert parts.keys() == dict(first.named_parameters()).keys()
    assert ensemble([first]) is first
    twice = ensemble([first, first]).translations(GERMAN)
    assert [one[0].text for one in twice] == [one[0].text for one in before]
    assert twice[0][0].score == pytest.approx(before[0][0].score, abs=1e-9)


def test_captions_are_scored_by_the_mean_whatever_grids_the_encoders_have(tmp_path):
    data = make_data(str(tmp_path))
    size = data.spec["image_size"]
    images = [torch.randint(256, (3, size, size), dtype=torch.uint8) for _ in range(2)]
    first = captioner(data)
    second = captioner(data, decoder=partial(MinGRU, hidden_size=7))
    both = ensemble([first, other(second)])
    texts = ["a red ball", "two small squares"]
    scores = [model.score(images, texts) for model in (first, other(second), both)]
    for one, two, mean in zip(*scores, strict=True):
        parts = torch.tensor([one.log_probabilities, two.log_probabilities])
        assert mean.log_probabilities == pytest.approx(parts.exp().mean(0).log().tolist(), abs=1e-5)
    found = both.captions(images, attention=True, beam_size=2)[0][0]
    assert found.attention.dim() == 3


@pytest.mark.parametrize("second", [BOTH_WAYS, partial(MinGRU, hidden_size=3)])
def test_labels_are_the_likeliest_in_the_mean(second):
    first, second = labeller(), other(labeller(second, projection_size=4))
    both = ensemble([first, second])
    frames, lengths = torch.randn(12, 5), torch.tensor([12])
    with torch.inference_mode():
        one, two = (model(frames, lengths)[0][0].softmax(-1) for model in (first, second))
    expected = ((one + two) / 2).max(1)
    found = both.label(frames)
    assert [label.name for label in found] == [both.classes[n] for n in expected.indices.tolist()]
    probabilities = [label.probability for label in found]
    assert probabilities == pytest.approx(expected.values.tolist(), abs=1e-5)
    if second.causal:
        stream = both.stream()
        for frame, label in zip(frames, found, strict=True):
            assert stream(frame).probability == pytest.approx(label.probability, abs=1e-5)
    else:
        with pytest.raises(ValueError, match="not causal"):
            both.stream()


def test_several_labels_are_those_that_the_mean_of_probabilities_has():
    first = labeller(multilabel=True)
    second = other(labeller(partial(MinGRU, hidden_size=3), multilabel=True), 4.0)
    first.thresholds.copy_(torch.tensor([0.5, 0.4, 0.55, 0.45]))
    before = first.thresholds.clone()
    both = ensemble([first, second])
    frames, lengths = 3 * torch.randn(12, 5), torch.tensor([12])
    with torch.inference_mode():
        one, two = (model(frames, lengths)[0][0].sigmoid() for model in (first, second))
    expected = (one + two) / 2  # (T, C)
    limits = (first.thresholds + second.thresholds) / 2
    stream, named = both.stream(), []
    for frame, label, scores in zip(frames, both.label(frames), expected, strict=True):
        assert label.scores == pytest.approx(scores.tolist(), abs=1e-6)
        named.append(tuple(CLASSES[n] for n in (scores >= limits).nonzero().flatten().tolist()))
        assert label.names == named[-1]
        assert (again := stream(frame)).names == label.names
        assert again.scores == pytest.approx(label.scores, abs=1e-6)
    assert len(set(named)) > 2
    assert torch.equal(first.thresholds, before)


def test_pictures_are_read_by_each_member_for_itself():
    models = [labeller(spec=PICTURES, encoder=Means) for _ in range(2)]
    both = ensemble([models[0], other(models[1])])
    frames = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    assert len(both.label(frames)) == 4


def test_what_can_not_speak_together_is_told(tmp_path):
    with pytest.raises(UsageError, match="only models of one kind"):
        ensemble([translator(), labeller()])
    with pytest.raises(UsageError, match=r"'a' and 'b' differ in the source's vocabulary"):
        ensemble([translator(), translator(joint=False)], ["'a'", "'b'"])
    spec = {**labeller().spec, "classes": ["rest", "cut", "pour", "mix"]}
    with pytest.raises(UsageError, match="differ in the classes"):
        ensemble([labeller(), labeller(spec=spec)])
    with pytest.raises(UsageError, match="differ in whether a frame may have several labels"):
        ensemble([labeller(), labeller(multilabel=True)])
    posed = {**labeller().spec, "pose": {"egocentric": True}}
    with pytest.raises(UsageError, match="differ in how features are made of poses"):
        ensemble([labeller(), labeller(spec=posed)])
    with pytest.raises(UsageError, match="at least one"):
        ensemble([])
