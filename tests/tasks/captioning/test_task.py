"""The training of captioning: losses by their definition, an image encoded once, honest scores."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import unrolled
from caption_models import CORE, first_batch, make_data
from caption_models import make_task as made
from torch import nn
from torch.nn import functional
from torchmetrics.text import BLEUScore
from unrolled.core import (
    GRU,
    AdditiveAttention,
    Bidirectional,
    ImageEncoder,
    TorchvisionBackbone,
)
from unrolled.data import ScenesData
from unrolled.tasks import CaptioningModel
from unrolled.tasks.captioning.blind import Blindness, Said, best_constant, shuffled
from unrolled.tasks.captioning.self_critical import Reward, advantages, policy_loss

FROZEN = partial(
    ImageEncoder, backbone=partial(TorchvisionBackbone, name="squeezenet1_1"), output_size=6
)
NORMED = partial(
    ImageEncoder, backbone=partial(TorchvisionBackbone, name="mobilenet_v3_small"), output_size=6
)


@pytest.fixture
def data(tmp_path):
    return make_data(str(tmp_path / "cache"))


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
        task, batch = made(data, **settings).double(), first_batch(data)
        assert len(batch.lengths) > len(batch.number)
        loss, nats = task.loss(batch)
        total = penalty = 0.0
        for caption, length, image in zip(
            batch.caption, batch.lengths.tolist(), batch.image_of, strict=True
        ):
            words = caption[None, :length]
            decoded, _ = task.model(
                batch.image[image : image + 1], words, torch.zeros(1, dtype=torch.int64)
            )
            total += functional.cross_entropy(
                task.model.decoder.head(decoded.output)[0],
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
        task, batch = made(data, doubly_stochastic=0.7).double(), first_batch(data)
        seen = []
        task.model.decoder.embedding.register_forward_pre_hook(
            lambda module, inputs: seen.append(inputs[0].shape)
        )
        loss, _ = task.loss(batch)
        assert len(seen) > 1
        assert sum(rows for rows, _ in seen) == len(batch.lengths)
        assert sum(rows * steps for rows, steps in seen) < 0.9 * batch.caption.numel()
        decoded, _ = task.model(batch.image, batch.caption, batch.image_of)
        nats = task.cross_entropy(decoded, batch.caption, batch.lengths)
        valid = torch.arange(batch.caption.shape[1]) < batch.lengths[:, None]
        uneven = (1 - (decoded.attention * valid.unsqueeze(2)).sum(1)).square().sum()
        torch.testing.assert_close(loss, nats + 0.7 * uneven, rtol=1e-10, atol=1e-10)

    def test_every_image_is_encoded_once(self, data):
        task, batch = made(data), first_batch(data)
        seen = []
        task.model.encoder.backbone.register_forward_pre_hook(
            lambda module, inputs: seen.append(len(inputs[0]))
        )
        task.loss(batch)
        assert seen == [len(batch.number)]

    def test_every_parameter_learns(self, data, trainer):
        task = made(
            data, tie_weights=True, dropout=0.1, doubly_stochastic=0.5, scheduled_sampling=0.5
        )
        before = {name: parameter.detach().clone() for name, parameter in task.named_parameters()}
        trainer(max_epochs=3, limit_val_batches=0).fit(task, data)
        for name, parameter in task.named_parameters():
            assert not torch.equal(parameter, before[name]), name

    def test_a_batch_without_images_teaches_nothing(self, data):
        task, batch = made(data), first_batch(data)
        none = batch._replace(
            image=batch.image[:0],
            caption=batch.caption[:0],
            lengths=batch.lengths[:0],
            image_of=batch.image_of[:0],
            number=batch.number[:0],
            references=(),
        )
        task.training_step(none, 0).backward()
        assert all(parameter.grad.abs().sum() == 0 for parameter in task.parameters())
        task.eval().evaluate(none, "val")
        assert task.metrics["loss"].update_called
        assert task._said == []

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
            task = made(data, FROZEN)
            seen = []
            task.model.encoder.backbone.register_forward_pre_hook(
                lambda module, inputs, seen=seen: seen.append(1)
            )
            run = trainer(max_epochs=4)
            run.fit(task, data)
            losses.append(float(run.callback_metrics["val/loss"]))
            assert len(seen) == (2 if cached else 4 * 3 + 4 * 2 + 2)
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)

    def test_it_learns_from_its_epoch_on_and_batch_normalisation_never(self, data, trainer):
        task = made(data, NORMED, unfreeze_epoch=1)
        backbone = task.model.encoder.backbone
        before = {name: value.clone() for name, value in backbone.state_dict().items()}
        trainer(max_epochs=1, limit_val_batches=0).fit(task, data)
        assert all(
            torch.equal(before[name], value) for name, value in backbone.state_dict().items()
        )
        task = made(data, NORMED, unfreeze_epoch=1)
        trainer(max_epochs=2, limit_val_batches=1).fit(task, data)
        parameters = dict(task.model.encoder.backbone.named_parameters())
        for name, value in task.model.encoder.backbone.state_dict().items():
            assert torch.equal(before[name], value) is (name not in parameters), name


class TestScores:
    def test_a_test_shows_the_scores_and_the_blind_ones_beside_them(self, data, trainer):
        task = made(data)
        scores = trainer().test(task, data, verbose=False)[0]
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
            nats += task.loss(batch)[1].item()
            words += int(batch.lengths.sum())
        assert scores["test/loss"] == pytest.approx(nats / words, rel=1e-5)

    def test_a_metric_of_the_configuration_is_given_texts_and_references(self, data, trainer):
        task = made(data, metrics={"bleu": BLEUScore})
        scores = trainer().test(task, data, verbose=False)[0]
        assert "test/bleu" in scores
        assert task.metrics["bleu"].preds_len > 0

    def test_exact_is_what_the_data_judge(self, data, trainer, monkeypatch):
        texts = iter(texts[0] for texts in data.references("test"))
        task = made(data)
        decode = task.model.vocabulary.decode
        monkeypatch.setattr(
            task.model.vocabulary, "decode", lambda ids: next(texts, None) or decode(ids)
        )
        scores = trainer().test(task, data, verbose=False)[0]
        assert scores["test/exact"] == scores["test/bleu4"] == 1.0
        assert scores["test/shuffled_exact"] < 0.5

    def test_the_blind_ones_are_of_the_whole_part_on_every_process(self, data, monkeypatch):
        task = made(data)
        said = [Said(number, f"{number}", ("a cat",)) for number in range(5)]
        task._said = [said[0], said[3], said[4]]
        task._trainer = SimpleNamespace(world_size=2)

        def gather(shares, mine):
            shares[:] = [mine, [said[1], said[2], said[4]]]

        monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
        assert task._everyones_said() == said

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
        task = made(data, self_critical=4, optimizer=partial(torch.optim.Adam, lr=0.01))
        before = {name: parameter.detach().clone() for name, parameter in task.named_parameters()}
        run = trainer(max_epochs=2, limit_val_batches=0)
        run.fit(task, data)
        assert run.callback_metrics["train/reward"] >= 0
        assert not torch.equal(task.model.decoder.head.weight, before["model.decoder.head.weight"])


def test_a_checkpoint_is_plain_and_needs_no_weights_from_elsewhere(data, tmp_path, trainer):
    backbone = TorchvisionBackbone("squeezenet1_1")
    model = torch.nn.Module()
    model.features = backbone.network.features
    torch.save(backbone.network.state_dict(), tmp_path / "weights.pt")
    backbone = partial(
        TorchvisionBackbone, name="squeezenet1_1", weights=str(tmp_path / "weights.pt")
    )
    encoder = partial(ImageEncoder, backbone=backbone)
    task = made(
        data,
        encoder,
        partial(GRU, hidden_size=9),
        attention=partial(AdditiveAttention, attention_size=5),
    )
    run = trainer(max_steps=1, limit_val_batches=0)
    run.fit(task, data)
    run.save_checkpoint(tmp_path / "model.ckpt")
    (tmp_path / "weights.pt").unlink()
    torch.manual_seed(5)
    again = unrolled.load(tmp_path / "model.ckpt")
    assert isinstance(again, CaptioningModel)
    assert again.encoder.backbone.frozen
    for name, value in task.model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    images = list(first_batch(data).image)
    assert again.caption(images) == task.model.caption(images)
    assert isinstance(again.decoder.embedding, nn.Embedding)


class TestBackboneRate:
    def test_the_backbone_learns_at_its_own_rate(self, data, trainer):
        learning = partial(torch.optim.SGD, lr=0.1)
        task = made(data, optimizer=learning, backbone_lr=0.0)
        before = {name: value.clone() for name, value in task.model.named_parameters()}
        trainer(max_steps=2, limit_val_batches=0).fit(task, data)
        for name, value in task.model.named_parameters():
            still = torch.equal(value, before[name])
            assert still == name.startswith("encoder.backbone."), name

    def test_one_rate_is_as_before(self, data, trainer):
        found = []
        for settings in ({}, {"backbone_lr": 0.05}):
            task = made(data, optimizer=partial(torch.optim.SGD, lr=0.05), **settings)
            trainer(max_steps=3, limit_val_batches=0).fit(task, data)
            found.append(task.model.state_dict())
        for name, value in found[0].items():
            torch.testing.assert_close(value, found[1][name], msg=name)

    def test_a_backbone_that_never_learns_has_none(self, data):
        with pytest.raises(ValueError, match="frozen and learns nothing"):
            made(data, FROZEN, backbone_lr=1e-5)
        made(data, FROZEN, backbone_lr=1e-5, unfreeze_epoch=1)
        with pytest.raises(ValueError, match="must be at least 0"):
            made(data, backbone_lr=-1.0)


DOGS = [(f"a dog number {n}", "a dog on grass") for n in range(30)]


class TestBlindness:
    def doubts(self, captions: list[str]) -> list[tuple[str, str]]:
        said = list(map(Said, range(30), captions, DOGS))
        return Blindness().doubts(said, [("a dog on grass", "a cat")])

    def test_captions_worse_than_a_constant_one_are_told(self):
        [(kind, sentence)] = self.doubts(["a cat"] * 30)
        assert kind == "blind"
        assert "'a dog on grass' said of every image" in sentence
        assert self.doubts(["a dog on grass"] * 30)  # no better than it

    def test_captions_that_look_are_not(self):
        assert not self.doubts([f"a dog number {n}" for n in range(30)])
        assert not Blindness().doubts([Said(0, "a", ["b"])], [])  # too few

    def test_it_is_told_after_validation(self, tmp_path, trainer, capsys, caplog):
        data = ScenesData(12, 24, test_size=0, batch_size=4, cache_dir=str(tmp_path))
        task = made(data, optimizer=partial(torch.optim.SGD, lr=0.0))
        with caplog.at_level("INFO", logger="lightning.pytorch.utilities.rank_zero"):
            trainer(max_epochs=1).fit(task, data)
        assert "said of every image" in caplog.text
