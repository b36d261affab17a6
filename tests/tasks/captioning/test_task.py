"""Captioning: losses by their definition, an image encoded once, captions that are their own image's."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import unrolled
from torch import nn
from torch.nn import functional
from unrolled.core import (
    GRU,
    LSTM,
    AdditiveAttention,
    Bidirectional,
    ImageEncoder,
    SmallCNN,
    TorchvisionBackbone,
)
from unrolled.data import ScenesData
from unrolled.data.tokenizer import Subwords
from unrolled.tasks import Captioning
from unrolled.tasks.captioning.blind import Said, best_constant, shuffled
from unrolled.tasks.captioning.self_critical import Reward, advantages, policy_loss

SMALL = partial(ImageEncoder, backbone=partial(SmallCNN, channels=[4, 6, 8, 8]))
FROZEN = partial(
    ImageEncoder, backbone=partial(TorchvisionBackbone, name="squeezenet1_1"), output_size=6
)
NORMED = partial(
    ImageEncoder, backbone=partial(TorchvisionBackbone, name="mobilenet_v3_small"), output_size=6
)
CORE = partial(LSTM, hidden_size=10)


@pytest.fixture
def data(tmp_path):
    return ScenesData(12, 5, test_size=6, batch_size=4, cache_dir=str(tmp_path / "cache"))


def made(data, encoder=SMALL, decoder=CORE, **settings) -> Captioning:
    torch.manual_seed(0)
    return Captioning(data.spec, encoder, decoder, embedding_size=6, **settings)


def first_batch(data, part="train"):
    return next(iter(data.loader(part)))


class TestLoss:
    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"input_feeding": False},
            {"attention": None},
            {"doubly_stochastic": 0.7, "label_smoothing": 0.1},
        ],
    )
    def test_it_is_that_of_every_caption_alone_with_its_image(self, data, settings):
        model, batch = made(data, **settings).double(), first_batch(data)
        assert len(batch.lengths) > len(batch.number)
        loss, nats = model.loss(batch)
        total = penalty = 0.0
        for caption, length, image in zip(
            batch.caption, batch.lengths.tolist(), batch.image_of, strict=True
        ):
            words = caption[None, :length]
            decoded, _ = model(
                batch.image[image : image + 1], words, torch.zeros(1, dtype=torch.int64)
            )
            total += functional.cross_entropy(
                model.decoder.head(decoded.output)[0],
                words[0],
                reduction="sum",
                label_smoothing=settings.get("label_smoothing", 0.0),
            )
            penalty += (1 - decoded.attention[0].sum(0)).square().sum()
        torch.testing.assert_close(nats, total, rtol=1e-10, atol=1e-10)
        expected = total + settings.get("doubly_stochastic", 0.0) * penalty
        torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)

    def test_captions_of_similar_length_go_together(self, tmp_path):
        data = ScenesData(14, 0, test_size=0, batch_size=14, cache_dir=str(tmp_path))
        model, batch = made(data, doubly_stochastic=0.7).double(), first_batch(data)
        seen = []
        model.decoder.embedding.register_forward_pre_hook(
            lambda module, inputs: seen.append(inputs[0].shape)
        )
        loss, _ = model.loss(batch)
        assert len(seen) > 1
        assert sum(rows for rows, _ in seen) == len(batch.lengths)
        assert sum(rows * steps for rows, steps in seen) < 0.9 * batch.caption.numel()
        decoded, _ = model(batch.image, batch.caption, batch.image_of)
        nats = model.cross_entropy(decoded, batch.caption, batch.lengths)
        valid = torch.arange(batch.caption.shape[1]) < batch.lengths[:, None]
        uneven = (1 - (decoded.attention * valid.unsqueeze(2)).sum(1)).square().sum()
        torch.testing.assert_close(loss, nats + 0.7 * uneven, rtol=1e-10, atol=1e-10)

    def test_every_image_is_encoded_once(self, data):
        model, batch = made(data), first_batch(data)
        seen = []
        model.encoder.backbone.register_forward_pre_hook(
            lambda module, inputs: seen.append(len(inputs[0]))
        )
        model.loss(batch)
        assert seen == [len(batch.number)]

    def test_every_parameter_learns(self, data, trainer):
        model = made(
            data, tie_weights=True, dropout=0.1, doubly_stochastic=0.5, scheduled_sampling=0.5
        )
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        trainer(max_epochs=3, limit_val_batches=0).fit(model, data)
        for name, parameter in model.named_parameters():
            assert not torch.equal(parameter, before[name]), name

    def test_a_batch_without_images_teaches_nothing(self, data):
        model, batch = made(data), first_batch(data)
        none = batch._replace(
            image=batch.image[:0],
            caption=batch.caption[:0],
            lengths=batch.lengths[:0],
            image_of=batch.image_of[:0],
            number=batch.number[:0],
            references=(),
        )
        model.training_step(none, 0).backward()
        assert all(parameter.grad.abs().sum() == 0 for parameter in model.parameters())

    def test_settings_are_checked(self, data):
        for settings, message in (
            ({"dropout": 1.5}, "p is 1.5"),
            ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
            ({"beam_size": 0}, "beam_size=0: must be at least 1"),
            ({"self_critical": 1}, "at least 2 captions to compare"),
            ({"doubly_stochastic": 1.0, "attention": None}, "0 without attention"),
            ({"unfreeze_epoch": 1}, "this backbone is not frozen"),
        ):
            with pytest.raises(ValueError, match=message):
                made(data, **settings)
        with pytest.raises(ValueError, match="Bidirectional is not causal"):
            made(data, decoder=partial(Bidirectional, core=CORE))


class TestFrozen:
    def test_cached_features_train_as_the_images_do(self, data, tmp_path, trainer):
        losses = []
        for cached in (False, True):
            data = ScenesData(
                12, 5, test_size=0, batch_size=4, cache_dir=str(tmp_path), cache_features=cached
            )
            model = made(data, FROZEN)
            seen = []
            model.encoder.backbone.register_forward_pre_hook(
                lambda module, inputs, seen=seen: seen.append(1)
            )
            run = trainer(max_epochs=4)
            run.fit(model, data)
            losses.append(float(run.callback_metrics["val/loss"]))
            assert len(seen) == (2 if cached else 4 * 3 + 4 * 2 + 2)
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)

    def test_it_learns_from_its_epoch_on_and_batch_normalisation_never(self, data, trainer):
        model = made(data, NORMED, unfreeze_epoch=1)
        backbone = model.encoder.backbone
        before = {name: value.clone() for name, value in backbone.state_dict().items()}
        trainer(max_epochs=1, limit_val_batches=0).fit(model, data)
        assert all(
            torch.equal(before[name], value) for name, value in backbone.state_dict().items()
        )
        model = made(data, NORMED, unfreeze_epoch=1)
        trainer(max_epochs=2, limit_val_batches=1).fit(model, data)
        parameters = dict(model.encoder.backbone.named_parameters())
        for name, value in model.encoder.backbone.state_dict().items():
            assert torch.equal(before[name], value) is (name not in parameters), name


class TestSearch:
    def test_a_batch_is_captioned_as_each_image_alone(self, data):
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

    def test_log_probability_and_attention_are_those_of_reading_the_caption(self, data):
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

    def test_one_image_is_answered_with_one_caption(self, data, tmp_path):
        from PIL import Image

        model, picture = made(data, beam_size=2), first_batch(data).image[0]
        image = Image.fromarray(picture.permute(1, 2, 0).numpy())
        image.save(tmp_path / "scene.png")
        caption = model.caption(picture)
        assert isinstance(caption, str)
        assert (
            model.caption([image, str(tmp_path / "scene.png"), tmp_path / "scene.png"])
            == [caption] * 3
        )
        assert model.caption([]) == []

    def test_drawing_repeats_with_a_seed(self, data):
        model, image = made(data), first_batch(data).image[0]
        drawn = [model.caption(image, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
        assert drawn[0] == drawn[1] != drawn[2]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"num_hypotheses": 4, "beam_size": 3}, "num_hypotheses=4: must be"),
            ({"batch_size": 0}, "batch_size=0: must be"),
            ({"temperature": 1.0, "num_hypotheses": 2}, "does not go with num_hypotheses"),
            ({"attention": True}, "made without attention"),
        ],
    )
    def test_settings_are_checked(self, data, settings, message):
        model, image = made(data, attention=None), first_batch(data).image[0]
        with pytest.raises(ValueError, match=message):
            model.captions([image], **settings)

    def test_a_tensor_has_to_be_a_picture_of_the_models_size(self, data):
        with pytest.raises(
            ValueError,
            match=r"an image is uint8 \(3, 32, 64\); a tensor must be uint8 \(3, 64, 64\)",
        ):
            made(data).caption(torch.zeros(3, 32, 64, dtype=torch.uint8))


class TestScores:
    def test_a_test_shows_the_scores_and_the_blind_ones_beside_them(self, data, trainer):
        model = made(data)
        scores = trainer().test(model, data, verbose=False)[0]
        assert {
            "test/loss",
            "test/cider_d",
            "test/bleu4",
            "test/rouge_l",
            "test/distinct",
            "test/exact",
        } < set(scores)
        assert {"test/shuffled_cider_d", "test/constant_cider_d", "test/constant_exact"} < set(
            scores
        )
        assert scores["test/constant_distinct"] == pytest.approx(1 / 6)
        nats = words = 0.0
        for batch in data.loader("test"):
            nats += model.loss(batch)[1].item()
            words += int(batch.lengths.sum())
        assert scores["test/loss"] == pytest.approx(nats / words, rel=1e-5)

    def test_exact_is_what_the_data_judge(self, data, trainer, monkeypatch):
        texts = iter(texts[0] for texts in data.references("test"))
        model = made(data)
        decode = model.vocabulary.decode
        monkeypatch.setattr(
            model.vocabulary, "decode", lambda ids: next(texts, None) or decode(ids)
        )
        scores = trainer().test(model, data, verbose=False)[0]
        assert scores["test/exact"] == scores["test/bleu4"] == 1.0
        assert scores["test/shuffled_exact"] < 0.5

    def test_the_blind_ones_are_of_the_whole_part_on_every_process(self, data, monkeypatch):
        model = made(data)
        said = [Said(number, f"{number}", ("a cat",)) for number in range(5)]
        model._said = [said[0], said[3], said[4]]
        model._trainer = SimpleNamespace(world_size=2)

        def gather(shares, mine):
            shares[:] = [mine, [said[1], said[2], said[4]]]

        monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
        assert model._everyones_said() == said

    def test_the_best_constant_is_common_and_the_shuffled_are_others(self):
        said = [Said(number, f"{number}", (f"a cat {number}", "a dog runs")) for number in range(3)]
        assert best_constant([("a cow",), ("a cow", "a dog runs")], said) in ("a cow", "a dog runs")
        assert best_constant([], []) == ""
        assert [one.caption for one in shuffled(said)] == ["1", "2", "0"]
        assert [one.references for one in shuffled(said)] == [one.references for one in said]


class TestSelfCritical:
    def test_each_caption_is_compared_with_the_others_of_its_image(self):
        rewards = torch.tensor([[1.0, 2.0, 6.0], [3.0, 3.0, 3.0]])
        assert advantages(rewards).tolist() == [[-3.0, -1.5, 4.5], [0.0, 0.0, 0.0]]

    def test_the_loss_has_reinforces_gradient(self):
        torch.manual_seed(0)
        logits = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
        caption, advantage = torch.tensor([[1, 2, 3], [4, 2, 0]]), torch.tensor([2.0, -1.0])
        policy_loss(logits, caption, torch.tensor([3, 2]), advantage).backward()
        expected = torch.zeros_like(logits)
        for row, length in enumerate((3, 2)):
            for t in range(length):
                chosen = functional.one_hot(caption[row, t], 5)
                expected[row, t] = -advantage[row] * (chosen - logits[row, t].detach().softmax(0))
        torch.testing.assert_close(logits.grad, expected)

    def test_a_caption_that_breaks_off_is_worth_less(self):
        references = [("a red circle above a star",), ("a blue star",)]
        reward = Reward(references)
        whole, broken = reward(["a red circle above a star"] * 2, [True, False], references[:1] * 2)
        assert whole > broken > 0

    def test_it_learns_what_is_rewarded(self, data, trainer):
        model = made(data, self_critical=4, optimizer=partial(torch.optim.Adam, lr=0.01))
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        run = trainer(max_epochs=2, limit_val_batches=0)
        run.fit(model, data)
        assert run.callback_metrics["train/reward"] >= 0
        assert not torch.equal(model.decoder.head.weight, before["decoder.head.weight"])


def test_a_checkpoint_is_plain_and_needs_no_weights_from_elsewhere(data, tmp_path, trainer):
    backbone = TorchvisionBackbone("squeezenet1_1")
    model = torch.nn.Module()
    model.features = backbone.network.features
    torch.save(backbone.network.state_dict(), tmp_path / "weights.pt")
    backbone = partial(
        TorchvisionBackbone, name="squeezenet1_1", weights=str(tmp_path / "weights.pt")
    )
    encoder = partial(ImageEncoder, backbone=backbone)
    model = made(
        data,
        encoder,
        partial(GRU, hidden_size=9),
        attention=partial(AdditiveAttention, attention_size=5),
    )
    run = trainer(max_steps=1, limit_val_batches=0)
    run.fit(model, data)
    run.save_checkpoint(tmp_path / "model.ckpt")
    (tmp_path / "weights.pt").unlink()
    torch.manual_seed(5)
    again = unrolled.load(tmp_path / "model.ckpt")
    assert isinstance(again, Captioning)
    assert again.encoder.backbone.frozen
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    images = list(first_batch(data).image)
    assert again.caption(images) == model.caption(images)
    assert isinstance(again.decoder.embedding, nn.Embedding)
