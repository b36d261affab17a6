"""Several labels a frame, weights of rare classes, the focal loss, and what is told of them."""

from __future__ import annotations

import math

import pytest
import torch
import unrolled
from corpora import lights
from lightning.pytorch import Trainer
from torch.nn import functional
from unrolled.data import VideoData
from unrolled.data.video.clips.module import write_video
from unrolled.errors import DataError
from unrolled.tasks.averaging import EMA
from unrolled.tasks.learning import Doubts, Variety, one_class
from unrolled.tasks.metrics import FrameF1, SeveralLabels
from unrolled.tasks.metrics.frames import ClassCounts, best_threshold
from unrolled.tasks.video.losses import (
    balanced,
    frame_loss,
    read_weights,
    several,
    several_jumps,
)
from unrolled.tasks.video.postprocess import label_several
from video_models import CLASSES, PICTURES, SPEC, batch_of, make_task


class TestLoss:
    def test_one_label_is_torchs_weighted_cross_entropy(self):
        logits, target = torch.randn(50, 4), torch.randint(4, (50,))
        target[::7] = -100
        weights = torch.tensor([0.5, 1.0, 2.0, 8.0])
        for given in (None, weights):
            total, count = frame_loss(logits, target, weights=given)
            expected = functional.cross_entropy(logits, target, weight=given, ignore_index=-100)
            torch.testing.assert_close(total / count, expected)

    def test_the_focal_loss_is_its_definition(self):
        logits, target = torch.randn(50, 4).double(), torch.randint(4, (50,))
        right = logits.softmax(-1)[torch.arange(50), target]
        total, count = frame_loss(logits, target, gamma=2.0)
        assert int(count) == 50
        torch.testing.assert_close(total, (-((1 - right) ** 2) * right.log()).sum())
        wanted = torch.randint(2, (50, 4))
        chance = torch.where(wanted == 1, logits.sigmoid(), 1 - logits.sigmoid())
        total, count = frame_loss(logits, wanted, gamma=2.0)
        assert int(count) == 200
        torch.testing.assert_close(total, (-((1 - chance) ** 2) * chance.log()).sum())

    def test_the_focal_loss_has_gradients_where_all_is_sure(self):
        logits = torch.tensor([[60.0, -60.0]], requires_grad=True)
        for target in (torch.tensor([0]), torch.tensor([[1, 0]])):
            (gradient,) = torch.autograd.grad(frame_loss(logits, target, gamma=0.5)[0], logits)
            assert gradient.isfinite().all()

    def test_several_labels_leave_out_what_is_not_known(self):
        logits, target = torch.randn(9, 3), torch.randint(2, (9, 3))
        target[4] = -100
        known = [0, 1, 2, 3, 5, 6, 7, 8]
        total, count = frame_loss(logits, target)
        expected = functional.binary_cross_entropy_with_logits(logits[known], target[known].float())
        torch.testing.assert_close(total / count, expected)

    def test_balanced_weights_make_all_classes_count_the_same(self):
        counts = torch.tensor([960, 30, 10, 0])
        weights = balanced(counts)
        torch.testing.assert_close(weights[:3] * counts[:3], torch.full((3,), 1000 / 3))
        assert weights[3] == 1
        torch.testing.assert_close(
            balanced(counts, frames=1000)[:2], torch.tensor([1 / 24, 97 / 3])
        )

    def test_jumps_of_several_labels_are_those_of_each_class(self):
        logits, lengths = torch.randn(2, 6, 3).double(), torch.tensor([6, 4])
        found = several_jumps(logits, lengths, 4.0)
        one = sum(several_jumps(logits[..., [c]], lengths, 4.0) for c in range(3)) / 3
        torch.testing.assert_close(found, one)

    def test_labels_that_are_one_each_are_several_too(self):
        target = torch.tensor([[2, -100], [0, 1]])
        found = several(target, 3, dims=2)
        assert found[0].tolist() == [[0, 0, 1], [-100, -100, -100]]
        assert several(found, 3, dims=2) is found


class TestWeightsOfAFile:
    def test_each_class_has_its_weight(self, tmp_path):
        path = tmp_path / "weights.csv"
        for text in ("class,weight\nb,2\na,0.5\n", "a\t0.5\nb\t2\n", '"b";2\n\n"a";0.5\n'):
            path.write_text(text)
            assert read_weights(path, ["a", "b"]).tolist() == [0.5, 2]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a,1\n", r"gives no weight for 1 class\(es\): b"),
            ("a,1\nc,1\n", "line 2: there is no class 'c'"),
            ("a,heavy\n", "line 1: expected a class and a weight"),
            ("a,-1\n", "line 1: expected a class and a weight"),
            ("a,nan\n", "line 1: expected a class and a weight"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, text, message):
        (tmp_path / "w.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            read_weights(tmp_path / "w.csv", ["a", "b"])
        with pytest.raises(DataError, match="no file of class weights"):
            read_weights(tmp_path / "none.csv", ["a", "b"])


class TestMetrics:
    def test_f1_of_each_class(self):
        metric = FrameF1(3)
        metric.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, -100]))
        assert metric.compute()["f1"] == pytest.approx((200 / 3 + 200 / 3) / 2)
        assert metric.counts.true.tolist() == [1, 2, 0]
        assert "b          100.0    50.0   66.7         2" in metric.counts.table(["a", "b", "c"])

    def test_a_perfect_ranking_of_several_labels(self):
        true = torch.tensor([[1, 0], [1, 1], [0, 1], [-100, 0]])
        scores = torch.tensor([[0.3, 0.1], [0.4, 0.7], [0.2, 0.8], [0.9, 0.2]])
        metric = SeveralLabels(2)
        metric.update(scores[:2], true[:2])
        metric.update(scores[2:], true[2:])
        assert {name: float(value) for name, value in metric.compute().items()} == {
            "map": 100,
            "f1": 100,
            "f1_micro": 100,
        }
        torch.testing.assert_close(metric.thresholds, torch.tensor([0.25, 0.45]))
        metric.given = torch.tensor([0.5, 0.5])
        metric._computed = None
        assert metric.compute()["f1"] == 50

    def test_the_best_threshold_is_the_best_of_all(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            scores = torch.randint(6, (30,), generator=generator) / 5
            there = torch.rand(30, generator=generator) < 0.4
            if not there.any():
                continue

            def f1(limit: float, scores=scores, there=there) -> float:
                found = scores >= limit
                return float(2 * (found & there).sum() / (found.sum() + there.sum()))

            best = max(f1(limit) for limit in scores.tolist())
            assert f1(float(best_threshold(scores, there))) == pytest.approx(best)

    def test_nothing_counted_is_no_warning(self):
        metric = SeveralLabels(2)
        metric.update(torch.zeros(0, 2), torch.zeros(0, 2).long())
        assert [float(value) for value in metric.compute().values()] == [0, 0, 0]


def test_post_processing_of_several_labels_goes_by_class():
    scores = torch.tensor([[0.9, 0.1]] * 5 + [[0.1, 0.1]] + [[0.9, 0.9]] * 4)
    there = label_several(scores, torch.tensor([0.5, 0.5]), min_length=2)
    assert there[:, 0].all()
    assert there[:, 1].tolist() == [False] * 6 + [True] * 4


@pytest.mark.parametrize("multilabel", [False, True])
def test_rare_frames_count_more(multilabel):
    batch = batch_of(6, 4)
    task = make_task(multilabel=multilabel, smoothing=0.0)
    plain = task.loss(batch)[0]
    task.weights = torch.ones(4)
    torch.testing.assert_close(task.loss(batch)[0], plain)
    task.weights = torch.tensor([1.0, 50.0, 1.0, 1.0])
    assert not torch.allclose(task.loss(batch)[0], plain)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Videos of light and dark halves, in which two labels overlap; one of them is rare."""
    root = tmp_path_factory.mktemp("several")
    for number in range(6):
        pictures = lights(24, number)
        pictures[:] = 30
        pictures[4:20] = 120
        pictures[10:14] = 250
        write_video(root / f"{number}.mp4", pictures)
        rows = "4,20,walk\n10,14,sniff\n"
        (root / f"{number}.csv").write_text(f"start,end,label\n{rows}")
    return root


def test_several_labels_are_learnt_and_kept_with_their_thresholds(root, tmp_path):
    from functools import partial

    from unrolled.core import FrameEncoder, SmallCNN

    encoder = partial(FrameEncoder, backbone=partial(SmallCNN, channels=[4, 8]))
    data = VideoData(
        str(root),
        image_size=16,
        cache_dir=str(tmp_path),
        batch_size=1,
        val_fraction=0.2,
        test_fraction=0.2,
    )
    with pytest.raises(DataError, match=r"frame 10 has a label already(.|\n)*multilabel true"):
        data.prepare_data()
    task = make_task(
        spec=data.spec,
        encoder=encoder,
        multilabel=True,
        class_weights="balanced",
        optimizer=partial(torch.optim.AdamW, lr=0.02),
    )
    trainer = Trainer(
        max_epochs=12,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EMA(0.5)],
    )
    trainer.fit(task, datamodule=data)
    scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert scores["val/map"] > 90
    assert scores["val/f1"] > 80
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    model = unrolled.load(tmp_path / "a.ckpt")
    torch.testing.assert_close(model.thresholds, task.model.thresholds)
    assert not torch.allclose(model.thresholds, torch.tensor(0.5))
    video = data.videos("test")[0]
    labels = model.label(list(video.read(0, 24)))
    assert labels[12].names == ("sniff", "walk")
    (tested,) = trainer.test(task, datamodule=data, verbose=False)
    assert set(tested) == {f"test/{name}" for name in ("loss", "map", "f1", "f1_micro")}


class TestDoubts:
    def test_one_class_for_nearly_all_frames(self):
        def counts(*each: list[int]) -> ClassCounts:
            return ClassCounts(*map(torch.tensor, each))

        names = ["rest", "jump"]
        ((_, sentence),) = one_class(counts([958, 0], [1000, 0], [958, 42]), names)
        assert "100.0 % of the frames are taken for 'rest' (95.8 % are): " in sentence
        assert "accuracy is 95.8, and the mean F1 of the other 1 class(es) 0.0" in sentence
        assert one_class(counts([950, 30], [962, 38], [958, 42]), names) == []
        assert one_class(counts([10, 0], [10, 0], [10, 0]), names) == []

    def test_texts_that_are_nearly_all_the_same(self):
        variety = Variety("captions", "images")
        references = [[f"a dog {number}", "more"] for number in range(100)]
        variety.add(["a man"] * 60 + [f"a {n}" for n in range(40)], references)
        ((_, sentence),) = variety.doubts()
        assert "the captions of 100 images are nearly all the same: 41 different ones" in sentence
        assert "'a man' 60 x" in sentence
        variety.reset()
        variety.add([f"a {n}" for n in range(100)], references)
        assert variety.doubts() == []
        variety.reset()  # the right ones are the same, too
        variety.add(["yes"] * 100, ["yes"] * 100)
        assert variety.doubts() == []
        variety.reset()
        variety.add(["a"] * 5, ["b", "c", "d", "e", "f"])  # too few to say
        assert variety.doubts() == []

    def test_said_when_it_lasts(self, capfd, caplog):
        doubts = Doubts()
        with caplog.at_level("INFO"):
            doubts.tell([("same", "all alike")], last=False)
            assert not caplog.messages
            doubts.tell([("same", "all alike")], last=False)
            assert caplog.messages == ["Warning: all alike"]
            doubts.tell([], last=False)
            doubts.tell([("same", "all alike")], last=True)
        assert len(caplog.messages) == 2


def test_thresholds_are_part_of_the_model_only_where_it_has_them():
    assert "model.thresholds" not in make_task().state_dict()
    assert make_task(multilabel=True).state_dict()["model.thresholds"].tolist() == [0.5] * 4
    assert math.isclose(float(make_task(multilabel=True).model.thresholds[0]), 0.5)
    assert len(CLASSES) == len(SPEC["classes"]) == len(PICTURES["classes"])
