"""Pictures of attention: alignments of translations, panels of captions."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from caption_models import make_data, make_task
from matplotlib.text import Text
from translation_models import make_model
from unrolled import plots
from unrolled.apps.pictures.overlay import heated
from unrolled.apps.plots.alignment import draw as draw_alignment
from unrolled.apps.plots.attention import draw, look, shift_of
from unrolled.core import AdditiveAttention
from unrolled.errors import DataError, UsageError
from unrolled.tasks.sequence_model import Written
from unrolled.tasks.translation.model import Translated


@pytest.fixture(scope="module")
def translator():
    return make_model()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(str(tmp_path_factory.mktemp("scenes")))


def texts(figure) -> list[str]:
    return [one.get_text() for one in figure.findobj(Text) if one.get_text()]


def test_the_matrix_is_the_attention_without_the_end(translator):
    [[found]] = translator.translations(["ein hund"], attention=True)
    figure = plots.alignment(translator, "ein hund")
    words = found.target[:-1] if found.target[-1] == "</s>" else found.target
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.allclose(shown, found.attention[: len(words)].numpy())
    assert "</s>" not in texts(figure)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == [w.replace("▁", "_") for w in found.source[:-1]] + ["(end)"]
    assert figure.said == [found.text]


def test_a_given_translation_is_aligned_instead(translator):
    figure = plots.alignment(translator, "ein hund", target="a dog")
    memory = translator.read(translator.source.encode_batch(["ein hund"]))
    ids = torch.tensor([[*translator.target.encode_batch(["a dog"])[0], 2]])
    weights = translator.decode(memory, ids).attention[0, :-1]
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.allclose(shown, weights.detach().numpy())


def test_what_can_not_be_aligned(translator):
    with pytest.raises(UsageError, match="nothing to translate"):
        plots.alignment(translator, " ")
    with pytest.raises(UsageError, match="nothing to align"):
        plots.alignment(translator, "ein hund", target="")
    blind = make_model(attention=None)
    with pytest.raises(ValueError, match="without attention"):
        plots.alignment(blind, "ein hund")
    with pytest.raises(UsageError, match="without attention"):
        plots.alignment(blind, "ein hund", target="a dog")
    many = ["▁x"] * 200
    found = Translated("", 0.0, 0.0, many, many, torch.ones(200, 200))
    with pytest.raises(UsageError, match="room for 120 subwords"):
        draw_alignment(found)


def test_a_subword_is_a_label_whatever_is_in_it():
    odd = ["▁$x^$", "a\nb", "x" * 90, "</s>"]
    found = Translated("$x$", 0.0, 0.0, odd, odd, torch.full((4, 4), 0.25))
    figure = draw_alignment(found)
    figure.canvas.draw()  # mathematics is not read as such: `$x^$` would be an error
    assert "_$x^$" in texts(figure)
    assert max(len(text) for text in texts(figure)) <= 18


@pytest.mark.parametrize("feeding", [True, False])
def test_the_gate_is_that_of_each_word(data, feeding):
    model = make_task(data, input_feeding=feeding).model.eval()
    picture = torch.randint(256, (3, 64, 64), dtype=torch.uint8)
    found, gates = look(model, picture, beam_size=3)
    assert len(gates) == len(found.words)
    ids = [
        next(n for n in range(model.vocabulary.size) if model.vocabulary.symbols([n]) == [word])
        for word in found.words
    ]
    seen = []
    attention = model.decoder.attention
    attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, 1)))
    with torch.inference_mode():
        model.decode(model.read([picture]), torch.tensor([ids]))
        wanted = torch.sigmoid(attention.gate(torch.cat(seen)))[:, 0]
    assert torch.allclose(torch.tensor(gates), wanted, atol=1e-6)
    plain = make_task(data, attention=AdditiveAttention).model.eval()
    assert look(plain, picture)[1] is None


def test_a_panel_for_each_word_on_one_scale():
    picture = torch.randint(256, (3, 64, 64), dtype=torch.uint8)
    attention = torch.full((3, 4, 4), 0.4 / 15)
    attention[0, 0, 3] = attention[1, 2, 1] = attention[2, 0, 0] = 0.6
    attention[1] = attention[1] * 0.1 + 0.9 / 16  # hardly looks anywhere
    found = Written("a star", 0.0, 0.0, ["a", "star", "</s>"], attention, [4, 5, 2])
    figure = draw(picture, found, [0.2, 0.9, 0.5])
    panels = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(panels) == 3  # the picture, and the words; the end is none
    assert "</s>" not in texts(figure)
    pixels = picture.permute(1, 2, 0).numpy()
    assert (panels[0] == pixels).all()
    assert (panels[1] == heated(pixels, attention[0].numpy() * 16, 9.6)).all()
    assert (panels[2] == heated(pixels, attention[1].numpy() * 16, 9.6)).all()
    bars = [axes.patches[1].get_width() for axes in figure.axes if len(axes.patches) == 2]
    assert bars == [0.2, 0.9]


def test_warm_where_it_looked_and_the_picture_can_be_seen():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    grey = np.full((64, 64, 3), 100, np.uint8)
    weights = np.full((4, 4), 0.2)
    weights[1, 2] = 9.0
    warmth = heated(grey, weights, 9.0).astype(int).sum(2)
    row, column = np.unravel_index(warmth.argmax(), warmth.shape)
    assert (row // 16, column // 16) == (1, 2)
    seen = heated(pixels, weights, 9.0)
    for place in (np.s_[16:32, 32:48], np.s_[48:, :16]):  # where it looked, and where not
        both = np.corrcoef(seen[place].mean(2).ravel(), pixels[place].mean(2).ravel())
        assert both[0, 1] > 0.6


def test_warmth_lies_where_the_encoder_looks(data):
    """Of each vector the middle of the pixels that it depends on, as its gradient says."""
    model = make_task(data).model.double().eval()
    side, (high, wide) = model.image_size, model.encoder.grid(64, 64)
    assert side == 64
    pixels = torch.full((1, 3, side, side), 128.0, dtype=torch.float64, requires_grad=True)
    convolutions = torch.nn.Sequential(
        *(part for part in model.encoder.modules() if isinstance(part, torch.nn.Conv2d))
    )
    x = pixels
    for layer in convolutions:
        x = torch.nn.functional.conv2d(
            x, torch.ones_like(layer.weight)[:, : x.shape[1]], None, layer.stride, layer.padding
        )
    x[0, 0, high // 2, wide // 2].backward()
    seen = pixels.grad[0, 0].sum(0)
    middle = float((seen * torch.arange(side)).sum() / seen.sum())
    drawn = (wide // 2 + 0.5) * side / wide - 0.5
    assert shift_of(model) == pytest.approx((middle - drawn) / side, abs=0.02)
    grey = np.full((64, 64, 3), 100, np.uint8)
    weights = np.zeros((8, 8))
    weights[4, 5] = 1.0
    warmth = heated(grey, weights, 1.0, -1 / 16).astype(float).sum(2)
    warmth -= warmth.min()
    rows, columns = warmth.sum(1), warmth.sum(0)
    assert (rows @ np.arange(64)) / rows.sum() == pytest.approx(4 * 8 - 0.5, abs=1)
    assert (columns @ np.arange(64)) / columns.sum() == pytest.approx(5 * 8 - 0.5, abs=1)


def test_an_image_that_is_none(data):
    with pytest.raises(DataError, match=r"none\.png"):
        plots.attention(make_task(data).model, "none.png")


def test_a_caption_of_an_image_file(data, tmp_path):
    from PIL import Image

    Image.fromarray(np.full((50, 90, 3), 80, np.uint8)).save(tmp_path / "a.png")
    model = partial(make_task, data)(max_length=5).model
    figure = plots.attention(model, tmp_path / "a.png", beam_size=2)
    assert figure.said == [model.caption(tmp_path / "a.png", beam_size=2) or "(nothing)"]
