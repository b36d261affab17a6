"""The captioning model: captions are their own image's, in any company."""

from __future__ import annotations

import pytest
import torch
from caption_models import first_batch, make_data
from caption_models import make_model as made
from unrolled.data.tokenizer import Subwords


@pytest.fixture
def data(tmp_path):
    return make_data(str(tmp_path / "cache"))


def test_a_batch_is_captioned_as_each_image_alone(data):
    model = made(data).double()
    with torch.no_grad():
        for parameter in model.parameters():  # sharp enough for captions to differ
            parameter *= 3
    images = list(first_batch(data).image)
    for settings in ({"beam_size": 1}, {"beam_size": 3, "num_hypotheses": 2}):
        together = model.captions(images, **settings)
        assert len({row[0].text for row in together}) > 1
        for size in (1, 3):
            again = model.captions(images, batch_size=size, **settings)
            assert [[one.words for one in row] for row in again] == [
                [one.words for one in row] for row in together
            ]
        alone = [model.captions([image], **settings)[0] for image in images]
        for row, single in zip(together, alone, strict=True):
            assert [one.text for one in row] == [one.text for one in single]
            assert [one.score for one in row] == pytest.approx([one.score for one in single])


def test_log_probability_and_attention_are_those_of_reading_the_caption(data):
    model = made(data, max_length=9).double()
    image = first_batch(data).image[1]
    [found] = model.captions([image], beam_size=3, num_hypotheses=3, attention=True)
    for one in found:
        ids = model.vocabulary.encode_batch([one.text])[0]
        ids += [Subwords.END] * (len(one.words) - len(ids))
        caption = torch.tensor([ids])
        decoded, _ = model(image[None], caption, torch.zeros(1, dtype=torch.int64))
        likely = model.decoder.head(decoded.output)[0].log_softmax(1)
        assert one.log_probability == pytest.approx(likely.gather(1, caption.t()).sum().item())
        assert one.attention.shape == (len(one.words), 4, 4)
        torch.testing.assert_close(
            one.attention.flatten(1).double(), decoded.attention[0], rtol=0, atol=1e-6
        )
        torch.testing.assert_close(one.attention.sum((1, 2)), torch.ones(len(one.words)))


def test_one_image_is_answered_with_one_caption(data, tmp_path):
    from PIL import Image

    model, picture = made(data, beam_size=2), first_batch(data).image[0]
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    image.save(tmp_path / "scene.png")
    caption = model.caption(picture)
    assert isinstance(caption, str)
    assert (
        model.caption([image, str(tmp_path / "scene.png"), tmp_path / "scene.png"]) == [caption] * 3
    )
    assert model.caption([]) == []


def test_drawing_repeats_with_a_seed(data):
    model, image = made(data), first_batch(data).image[0]
    drawn = [model.caption(image, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_hypotheses": 4, "beam_size": 3}, "num_hypotheses=4: must be"),
        ({"batch_size": 0}, "batch_size=0: must be"),
        ({"temperature": 1.0, "beam_size": 2}, "beam_size=2 searches the best, temperature draw"),
        ({"min_length": 9, "max_length": 8}, "min_length=9: must be at most max_length=8"),
        ({"prefix": "a \u4e00"}, "the model does not know all of it"),
        ({"top_p": 0.0}, "top_p=0.0: must be"),
        ({"attention": True}, "made without attention"),
    ],
)
def test_settings_are_checked(data, settings, message):
    model, image = made(data, attention=None), first_batch(data).image[0]
    with pytest.raises(ValueError, match=message):
        model.captions([image], **settings)


def test_a_tensor_has_to_be_a_picture_of_the_models_size(data):
    with pytest.raises(
        ValueError,
        match=r"an image is uint8 \(3, 32, 64\); a tensor must be uint8 \(3, 64, 64\)",
    ):
        made(data).caption(torch.zeros(3, 32, 64, dtype=torch.uint8))


def test_captions_to_score_are_a_list_of_texts(data):
    model, image = made(data), first_batch(data).image[0]
    for captions in ("a dog", [5], None):
        with pytest.raises(TypeError, match=r"must be (a list of )?str$"):
            model.score([image], captions)
