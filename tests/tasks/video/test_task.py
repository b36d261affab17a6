from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import unrolled
from torch.nn import functional
from unrolled.core import Stacked
from unrolled.core.seq2seq.losses import truncated_smoothness
from unrolled.core.state import leaves
from unrolled.data import SegmentationData
from unrolled.data.batch import VideoBatch
from unrolled.tasks import VideoLabelling
from unrolled.tasks.metrics import SegmentationScores
from video_models import BOTH_WAYS, CLASSES, SMALL, batch_of, write_videos
from video_models import make_task as make


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    write_videos(tmp_path)
    return tmp_path


class TestLoss:
    def test_is_the_mean_over_labelled_frames_and_the_smoothing_over_steps(self):
        task = make(smoothing=0.5, smoothing_threshold=0.3).double()
        batch = batch_of(6, 3, 5)
        batch.target[0, 2] = -100
        batch = batch._replace(input=batch.input.double())
        loss, _ = task.loss(batch)
        nats, jumps, labelled = 0.0, 0.0, 0
        for row, frames in enumerate(batch.input.split(batch.lengths.tolist())):
            logits, _ = task.model(frames, torch.tensor([len(frames)]))
            logs = logits[0].log_softmax(-1)
            for t, label in enumerate(batch.target[row, : len(frames)].tolist()):
                if label >= 0:
                    nats, labelled = nats - logs[t, label], labelled + 1
                if t:
                    jumps += (logs[t] - logs[t - 1]).abs().clamp(max=0.3).square().mean()
        torch.testing.assert_close(loss, nats / labelled + 0.5 * jumps / (6 + 3 + 5 - 3))

    def test_smoothing_has_no_gradient_through_the_step_before(self):
        logits = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
        truncated_smoothness(logits, torch.tensor([2])).backward()
        assert not logits.grad[0, 0].any()
        assert logits.grad[0, 1].any()

    def test_last_frames_alone(self):
        task = make(last_frames=2, smoothing=0.0)
        batch = batch_of(6, 1)
        logits, _ = task.model(batch.input, batch.lengths)
        chosen = torch.stack([logits[0, 4], logits[0, 5], logits[1, 0]])
        labels = torch.stack([batch.target[0, 4], batch.target[0, 5], batch.target[1, 0]])
        torch.testing.assert_close(task.loss(batch)[0], functional.cross_entropy(chosen, labels))

    def test_a_batch_without_labels_or_frames_costs_nothing(self):
        task = make()
        batch = batch_of(3)
        unlabelled = batch._replace(target=torch.full_like(batch.target, -100))
        assert task.loss(unlabelled)[0].isfinite()
        empty = VideoBatch(
            batch.input[:0], unlabelled.target[:, :1], torch.tensor([0]), *unlabelled[3:]
        )
        loss, _ = task.loss(empty)
        loss.backward()
        assert loss == 0
        assert all(parameter.grad is not None for parameter in task.parameters())

    def test_finer_labels_than_frames(self):
        task = make(smoothing=0.0)
        batch = batch_of(4, 2)
        fine = torch.full((2, 12), -100)
        fine[:, ::3] = batch.target
        fine[:, 1::3] = 1
        torch.testing.assert_close(task.loss(batch._replace(target=fine))[0], task.loss(batch)[0])


class TestScores:
    def test_chunks_give_the_scores_of_whole_videos(self, videos, trainer):
        task = make()
        whole = SegmentationData(str(videos), val_fraction=0.4, batch_size=2)
        chunks = SegmentationData(str(videos), val_fraction=0.4, batch_size=2, eval_chunk_length=3)
        expected = trainer().validate(task, whole, verbose=False)[0]
        found = trainer().validate(task, chunks, verbose=False)[0]
        assert found == pytest.approx(expected, rel=1e-5)
        assert set(found) == {
            f"val/{name}"
            for name in (
                "loss",
                "accuracy",
                "mean_accuracy",
                "edit",
                "f1@10",
                "f1@25",
                "f1@50",
                "map",
                "f1",
            )
        }

    @pytest.mark.parametrize("stride", [1, 3])
    def test_scores_are_those_of_each_video_at_the_full_rate(self, videos, trainer, stride, caplog):
        data = SegmentationData(str(videos), stride=stride, batch_size=2, background=["rest"])
        task = make(BOTH_WAYS, data.spec, median=3, min_length=2)
        with caplog.at_level("INFO"):
            found = trainer().test(task, data, verbose=False)[0]
        metric = SegmentationScores(4, [0])
        for name in ("v5", "v6"):
            features = np.load(videos / "features" / f"{name}.npy").T
            labels = [
                CLASSES.index(line)
                for line in (videos / "groundTruth" / f"{name}.txt").read_text().split()
            ]
            pred = [CLASSES.index(label.name) for label in task.model.label(features)]
            metric.update(torch.tensor(pred), torch.tensor(labels))
        for name, value in metric.compute().items():
            logged = {"acc": "accuracy", "acc_mean": "mean_accuracy"}.get(name, name)
            assert found[f"test/{logged}"] == pytest.approx(value, rel=1e-6)
        assert (
            "Scores over 2 videos: edit and F1 leave out rest; accuracy and F1 are pooled over "
            "videos" in caplog.text
        )
        assert "post-processed with a running median over 3 frames" in caplog.text

    def test_videos_of_all_processes_are_counted(self, videos, trainer, monkeypatch, caplog):
        runner = trainer()
        # as of two alike
        monkeypatch.setattr(runner.strategy, "reduce", lambda tensor, *args, **kwargs: 2 * tensor)
        data = SegmentationData(str(videos))
        with caplog.at_level("INFO"):
            runner.test(make(spec=data.spec), data, verbose=False)
        assert "Scores over 4 videos" in caplog.text

    def test_rows_without_frames_are_no_videos(self):
        task = make()
        task.on_validation_epoch_start()
        task.validation_step(batch_of(5, 4), 0)
        scores = task.segments.compute()
        empty = VideoBatch(
            torch.zeros(0, 5), torch.full((2, 1), -100), torch.zeros(2).long(), *batch_of(1, 1)[3:]
        )
        task.validation_step(empty, 1)
        assert task.segments.compute() == scores
        assert int(task.segments.videos) == 2


class TestTraining:
    def test_learns_what_can_be_learnt(self, videos, trainer):
        torch.manual_seed(0)
        data = SegmentationData(str(videos), batch_size=2)
        optimizer = partial(torch.optim.AdamW, lr=0.03)
        task = VideoLabelling(data.spec, BOTH_WAYS, optimizer=optimizer)
        trainer(max_epochs=25, limit_val_batches=0).fit(task, data)
        assert trainer().test(task, data, verbose=False)[0]["test/accuracy"] > 90

    def test_the_state_is_carried_from_chunk_to_chunk_without_its_gradient(self, videos, trainer):
        torch.manual_seed(0)
        data = SegmentationData(str(videos), batch_size=2, chunk_length=4, val_fraction=0)
        task = VideoLabelling(data.spec, SMALL, optimizer=partial(torch.optim.SGD, lr=0.0))
        trainer(max_epochs=1, limit_val_batches=0).fit(task, data)
        expected = None
        for batch in data.loader("train"):
            expected = task.model(batch.input, batch.lengths, task.state_before(batch, expected))[1]
        rows = [
            list(row) for row in zip(*(batch.name for batch in data.loader("train")), strict=True)
        ]
        # each row ends in the state after the whole of its last video
        for row, names in enumerate(rows):
            name = [name for name in names if name][-1]
            features = torch.from_numpy(np.load(videos / "features" / f"{name}.npy").T)
            with torch.inference_mode():
                alone = task.model(features, torch.tensor([len(features)]))[1]
            for carried, whole, other in zip(
                leaves(task.training_state), leaves(alone), leaves(expected), strict=True
            ):
                torch.testing.assert_close(carried[row], whole[0])
                torch.testing.assert_close(carried, other)
                assert not carried.requires_grad

    @pytest.mark.parametrize("core", [SMALL, partial(Stacked, core=BOTH_WAYS, num_layers=2)])
    def test_every_parameter_learns(self, videos, trainer, core):
        data = SegmentationData(str(videos), batch_size=2)
        noise = {
            "input_noise": 0.1,
            "input_dropout": 0.1,
            "output_dropout": 0.1,
            "label_smoothing": 0.1,
        }
        task = VideoLabelling(data.spec, core, projection_size=6, **noise)
        before = {name: parameter.detach().clone() for name, parameter in task.named_parameters()}
        trainer(max_epochs=3, limit_val_batches=0).fit(task, data)
        for name, parameter in task.named_parameters():
            assert not torch.equal(parameter, before[name]), name

    def test_a_checkpoint_is_plain_and_streams(self, videos, trainer, tmp_path):
        data = SegmentationData(str(videos), batch_size=2, normalize=True)
        task = VideoLabelling(data.spec, SMALL)
        run = trainer(max_epochs=1, limit_val_batches=0)
        run.fit(task, data)
        run.save_checkpoint(tmp_path / "model.ckpt")
        again = unrolled.load(tmp_path / "model.ckpt")
        features = np.load(videos / "features" / "v6.npy").T
        assert again.spec == data.spec
        assert again.label(features) == task.eval().model.label(features)
        stream = again.stream()
        assert [stream(frame).name for frame in features] == [
            label.name for label in again.label(features)
        ]


def test_a_core_that_reads_backwards_learns_from_no_chunks():
    with pytest.raises(
        ValueError, match=r"Bidirectional is not causal and needs whole videos.*chunk_length"
    ):
        make(BOTH_WAYS).training_step(batch_of(4, 3, last=False), 0)


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match="last_frames=-1: must be at least 0"):
        make(last_frames=-1)
