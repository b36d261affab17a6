from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import unrolled
from corpora import learnable_videos, write_ms_tcn
from torch.nn import functional
from unrolled.core import (
    GRU,
    LSTM,
    Bidirectional,
    MinGRU,
    RecurrentCore,
    Stacked,
    WeightDrop,
    Zoneout,
    discover_cores,
)
from unrolled.core.seq2seq.losses import truncated_smoothness
from unrolled.core.state import leaves
from unrolled.data import SegmentationData
from unrolled.data.batch import VideoBatch
from unrolled.tasks import VideoLabelling
from unrolled.tasks.metrics import SegmentationScores
from unrolled.tasks.video.postprocess import label_video, running_median, without_short_segments

CLASSES = ["rest", "cut", "mix", "pour"]
SPEC = {"classes": CLASSES, "background": ["rest"], "feature_size": 5, "image_size": 0, "stride": 1}
PICTURES = {**SPEC, "feature_size": 0, "image_size": 8}
SMALL = partial(GRU, hidden_size=7)
BOTH_WAYS = partial(Bidirectional, core=SMALL)


def plain_cores() -> list[str]:
    return [
        name
        for name, cls in discover_cores().items()
        if "core" not in inspect.signature(cls).parameters
    ]


def factory(name: str) -> partial[RecurrentCore]:
    compositions = {
        "Stacked": partial(
            Stacked, core=partial(LSTM, hidden_size=8), num_layers=2, residual=True, norm=True
        ),
        "WeightDrop": partial(WeightDrop, core=SMALL),
        "Zoneout": partial(Zoneout, core=SMALL),
    }
    return compositions.get(name) or partial(discover_cores()[name], hidden_size=8)


CAUSAL = [*plain_cores(), "Stacked", "WeightDrop", "Zoneout"]


def make(core=SMALL, spec=SPEC, **settings) -> VideoLabelling:
    torch.manual_seed(0)
    return VideoLabelling(spec, core, **settings).eval()


def batch_of(*lengths: int, first: bool = True, last: bool = True, seed: int = 0) -> VideoBatch:
    generator = torch.Generator().manual_seed(seed)
    target = torch.full((len(lengths), max(lengths)), -100)
    for row, length in enumerate(lengths):
        target[row, :length] = torch.randint(len(CLASSES), (length,), generator=generator)
    return VideoBatch(
        input=torch.randn(sum(lengths), 5, generator=generator),
        target=target,
        lengths=torch.tensor(lengths),
        first=torch.full((len(lengths),), first),
        last=torch.full((len(lengths),), last),
        name=tuple(f"video{row}" for row in range(len(lengths))),
    )


class Means(torch.nn.Module):
    """An encoder that notes how many pictures it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.output_size = 3
        self.seen = 0

    def forward(self, frames):
        assert frames.dtype == torch.uint8
        self.seen += len(frames)
        return frames.float().mean((2, 3)) / 255


@pytest.fixture
def videos(tmp_path) -> Path:
    """Seven learnable videos in the layout of MS-TCN."""
    drawn = learnable_videos(7, segments=6, longest=5, features=5, noise=0.3, classes=CLASSES)
    return write_ms_tcn(tmp_path, drawn, test=["v5", "v6"], classes=CLASSES)


class TestSequence:
    def test_padding_never_enters_the_encoder_nor_changes_a_row(self):
        encoder = Means()
        model = make(BOTH_WAYS, PICTURES, encoder=lambda: encoder)
        frames = torch.randint(256, (9, 3, 8, 8), dtype=torch.uint8)
        together, _ = model(frames, torch.tensor([2, 7]))
        assert encoder.seen == 9
        for begin, end, row in ((0, 2, 0), (2, 9, 1)):
            alone, _ = model(frames[begin:end], torch.tensor([end - begin]))
            torch.testing.assert_close(together[row, : end - begin], alone[0])

    @pytest.mark.parametrize("name", CAUSAL)
    def test_streaming_equals_the_whole_video(self, name):
        model = make(factory(name), projection_size=6)
        features = torch.randn(30, 5)
        with torch.inference_mode():
            logits, _ = model(features, torch.tensor([30]))
        expected = logits[0].softmax(-1)
        stream = model.stream()
        for frame, scores in zip(features, expected, strict=True):
            label = stream(frame)
            assert label.probability == pytest.approx(float(scores.max()), abs=1e-5)
            assert scores[CLASSES.index(label.name)] == pytest.approx(float(scores.max()), abs=1e-5)

    @pytest.mark.parametrize("name", CAUSAL)
    def test_step_by_step_and_in_chunks_equals_the_whole(self, name):
        model = make(factory(name))
        features = torch.randn(2, 12, 5)
        with torch.inference_mode():
            whole, _ = model(features.flatten(0, 1), torch.tensor([12, 12]))
            state, chunks = None, []
            for begin, end in ((0, 5), (5, 6), (6, 12)):
                piece = features[:, begin:end].flatten(0, 1)
                logits, state = model(piece, torch.tensor([end - begin] * 2), state)
                chunks.append(logits)
            torch.testing.assert_close(torch.cat(chunks, 1), whole, rtol=1e-5, atol=1e-5)
            state = model.core.initial_state(2)
            for t in range(12):
                logits, state = model.step(features[:, t], state)
                torch.testing.assert_close(logits, whole[:, t], rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("frames", [1000, pytest.param(100_000, marks=pytest.mark.slow)])
    def test_a_long_stream_keeps_one_state(self, frames):
        stream = make(partial(MinGRU, hidden_size=2)).stream()
        before = [leaf.shape for leaf in leaves(stream.state)]
        frame = torch.zeros(5)
        for _ in range(frames):
            stream(frame)
        assert [leaf.shape for leaf in leaves(stream.state)] == before
        assert all(leaf.grad_fn is None and leaf._base is None for leaf in leaves(stream.state))
        assert set(vars(stream)) == {
            "model",
            "_step",
            "_weight",
            "_bias",
            "state",
            "_waiting",
            "_label",
        }

    def test_a_core_that_reads_backwards_labels_no_stream_and_no_chunks(self):
        model = make(BOTH_WAYS)
        with pytest.raises(
            ValueError, match="Bidirectional is not causal: it reads the frames to come"
        ):
            model.stream()
        with pytest.raises(
            ValueError, match=r"Bidirectional is not causal and needs whole videos.*chunk_length"
        ):
            model.training_step(batch_of(4, 3, last=False), 0)


class TestLoss:
    def test_is_the_mean_over_labelled_frames_and_the_smoothing_over_steps(self):
        model = make(smoothing=0.5, smoothing_threshold=0.3).double()
        batch = batch_of(6, 3, 5)
        batch.target[0, 2] = -100
        batch = batch._replace(input=batch.input.double())
        loss, _ = model.loss(batch)
        nats, jumps, labelled = 0.0, 0.0, 0
        for row, frames in enumerate(batch.input.split(batch.lengths.tolist())):
            logits, _ = model(frames, torch.tensor([len(frames)]))
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
        model = make(last_frames=2, smoothing=0.0)
        batch = batch_of(6, 1)
        logits, _ = model(batch.input, batch.lengths)
        chosen = torch.stack([logits[0, 4], logits[0, 5], logits[1, 0]])
        labels = torch.stack([batch.target[0, 4], batch.target[0, 5], batch.target[1, 0]])
        torch.testing.assert_close(model.loss(batch)[0], functional.cross_entropy(chosen, labels))

    def test_a_batch_without_labels_or_frames_costs_nothing(self):
        model = make()
        batch = batch_of(3)
        unlabelled = batch._replace(target=torch.full_like(batch.target, -100))
        assert model.loss(unlabelled)[0].isfinite()
        empty = VideoBatch(
            batch.input[:0], unlabelled.target[:, :1], torch.tensor([0]), *unlabelled[3:]
        )
        loss, _ = model.loss(empty)
        loss.backward()
        assert loss == 0
        assert all(parameter.grad is not None for parameter in model.parameters())

    def test_finer_labels_than_frames(self):
        model = make(smoothing=0.0)
        batch = batch_of(4, 2)
        fine = torch.full((2, 12), -100)
        fine[:, ::3] = batch.target
        fine[:, 1::3] = 1
        torch.testing.assert_close(model.loss(batch._replace(target=fine))[0], model.loss(batch)[0])


class TestScores:
    def test_chunks_give_the_scores_of_whole_videos(self, videos, trainer):
        model = make()
        whole = SegmentationData(str(videos), val_fraction=0.4, batch_size=2)
        chunks = SegmentationData(str(videos), val_fraction=0.4, batch_size=2, eval_chunk_length=3)
        expected = trainer().validate(model, whole, verbose=False)[0]
        found = trainer().validate(model, chunks, verbose=False)[0]
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
            )
        }

    @pytest.mark.parametrize("stride", [1, 3])
    def test_scores_are_those_of_each_video_at_the_full_rate(self, videos, trainer, stride, caplog):
        data = SegmentationData(str(videos), stride=stride, batch_size=2, background=["rest"])
        model = make(BOTH_WAYS, data.spec, median=3, min_length=2)
        with caplog.at_level("INFO"):
            found = trainer().test(model, data, verbose=False)[0]
        metric = SegmentationScores(4, [0])
        for name in ("v5", "v6"):
            features = np.load(videos / "features" / f"{name}.npy").T
            labels = [
                CLASSES.index(line)
                for line in (videos / "groundTruth" / f"{name}.txt").read_text().split()
            ]
            pred = [CLASSES.index(label.name) for label in model.label(features)]
            metric.update(torch.tensor(pred), torch.tensor(labels))
        for name, value in metric.compute().items():
            logged = {"acc": "accuracy", "acc_mean": "mean_accuracy"}.get(name, name)
            assert found[f"test/{logged}"] == pytest.approx(value, rel=1e-6)
        assert (
            "Scores over 2 videos: edit and F1 leave out rest; accuracy and F1 are pooled over videos"
            in caplog.text
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
        model = make()
        model.on_validation_epoch_start()
        model.validation_step(batch_of(5, 4), 0)
        scores = model.scores.compute()
        empty = VideoBatch(
            torch.zeros(0, 5), torch.full((2, 1), -100), torch.zeros(2).long(), *batch_of(1, 1)[3:]
        )
        model.validation_step(empty, 1)
        assert model.scores.compute() == scores
        assert int(model.scores.videos) == 2


class TestTraining:
    def test_learns_what_can_be_learnt(self, videos, trainer):
        torch.manual_seed(0)
        data = SegmentationData(str(videos), batch_size=2)
        optimizer = partial(torch.optim.AdamW, lr=0.03)
        model = VideoLabelling(data.spec, BOTH_WAYS, optimizer=optimizer)
        trainer(max_epochs=25, limit_val_batches=0).fit(model, data)
        assert trainer().test(model, data, verbose=False)[0]["test/accuracy"] > 90

    def test_the_state_is_carried_from_chunk_to_chunk_without_its_gradient(self, videos, trainer):
        torch.manual_seed(0)
        data = SegmentationData(str(videos), batch_size=2, chunk_length=4, val_fraction=0)
        model = VideoLabelling(data.spec, SMALL, optimizer=partial(torch.optim.SGD, lr=0.0))
        trainer(max_epochs=1, limit_val_batches=0).fit(model, data)
        expected = None
        for batch in data.loader("train"):
            expected = model(batch.input, batch.lengths, model._carried(expected, batch))[1]
        rows = [
            list(row) for row in zip(*(batch.name for batch in data.loader("train")), strict=True)
        ]
        # each row ends in the state after the whole of its last video
        for row, names in enumerate(rows):
            name = [name for name in names if name][-1]
            features = torch.from_numpy(np.load(videos / "features" / f"{name}.npy").T)
            with torch.inference_mode():
                alone = model(features, torch.tensor([len(features)]))[1]
            for carried, whole, other in zip(
                leaves(model.training_state), leaves(alone), leaves(expected), strict=True
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
        model = VideoLabelling(data.spec, core, projection_size=6, **noise)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        trainer(max_epochs=3, limit_val_batches=0).fit(model, data)
        for name, parameter in model.named_parameters():
            assert not torch.equal(parameter, before[name]), name

    def test_a_checkpoint_is_plain_and_streams(self, videos, trainer, tmp_path):
        data = SegmentationData(str(videos), batch_size=2, normalize=True)
        model = VideoLabelling(data.spec, SMALL)
        run = trainer(max_epochs=1, limit_val_batches=0)
        run.fit(model, data)
        run.save_checkpoint(tmp_path / "model.ckpt")
        again = unrolled.load(tmp_path / "model.ckpt")
        features = np.load(videos / "features" / "v6.npy").T
        assert again.spec == data.spec
        assert again.label(features) == model.eval().label(features)
        stream = again.stream()
        assert [stream(frame).name for frame in features] == [
            label.name for label in again.label(features)
        ]


class TestLabels:
    @pytest.mark.parametrize("core", [SMALL, BOTH_WAYS])
    @pytest.mark.parametrize("stride", [1, 3])
    @pytest.mark.parametrize("processing", [{}, {"median": 3, "min_length": 2}])
    def test_one_for_each_frame_whatever_the_chunk(self, core, stride, processing):
        model = make(core, {**SPEC, "stride": stride}, **processing)
        features = torch.randn(20, 5)
        with torch.inference_mode():
            scores = model(features[::stride], torch.tensor([-(-20 // stride)]))[0][0].softmax(-1)
        expected = label_video(scores.repeat_interleave(stride, 0)[:20], **processing).tolist()
        for chunk in (1, 4, 64):
            labels = list(model.label_frames(iter(features), chunk=chunk))
            assert [CLASSES.index(label.name) for label in labels] == expected
        assert list(model.label_frames([])) == []
        if model.causal and not processing:
            stream = model.stream()
            assert [CLASSES.index(stream(frame).name) for frame in features] == expected

    def test_frames_between_those_that_are_read_are_not_looked_at(self):
        model = make(spec={**SPEC, "stride": 2})
        stream = model.stream()
        label = stream(torch.ones(5))
        assert stream(None) == label
        assert len(model.label([torch.ones(5), None, torch.ones(5)])) == 3

    def test_memory_is_that_of_a_chunk(self):
        given = []
        labels = make().label_frames(
            (given.append(t) or torch.zeros(5) for t in range(100)), chunk=8
        )
        next(labels)
        assert len(given) <= 9

    def test_every_kind_of_picture(self):
        from PIL import Image

        model = make(spec=PICTURES, encoder=Means)
        picture = torch.randint(256, (8, 8, 3), dtype=torch.uint8).numpy()
        stored = picture.copy()
        stored.flags.writeable = False
        kinds = [
            picture,
            stored,
            Image.fromarray(picture),
            torch.from_numpy(picture).movedim(-1, 0),
        ]
        labels = {model.stream()(kind) for kind in kinds}
        assert len(labels) == 1
        assert model.stream()(picture[:, ::-1]).name in CLASSES  # a mirrored view
        large = np.full((30, 50, 3), 77, dtype=np.uint8)
        assert model.stream()(large) == model.stream()(np.full((8, 8, 3), 77, dtype=np.uint8))

    def test_frames_of_another_kind_are_refused(self):
        pictures, features = make(spec=PICTURES, encoder=Means), make()
        for frame in (
            np.zeros((8, 8, 3), dtype=np.float32),
            torch.zeros(8, 8, 3, dtype=torch.uint8),
            np.zeros(5),
            np.zeros((0, 0, 3), dtype=np.uint8),
            torch.zeros(3, 0, 8, dtype=torch.uint8),
            None,
        ):
            with pytest.raises(
                ValueError, match=r"this model reads pictures: numpy \(H, W, 3\) uint8"
            ):
                pictures.stream()(frame)
        with pytest.raises(
            ValueError, match=r"a frame has the shape \(4,\); this model reads \(5,\) features"
        ):
            features.stream()(np.zeros(4))
        for frame in ("picture.png", None, np.zeros(5, dtype=">f4")):
            with pytest.raises(
                ValueError, match=r"a frame is no numbers \(.+\); this model reads \(5,\) features"
            ):
                features.stream()(frame)
        with pytest.raises(ValueError, match="not finite"):
            features.stream()([0.0, 1.0, float("nan"), 0.0, 0.0])

    def test_a_refused_frame_leaves_no_label_to_repeat(self):
        stream = make(spec={**SPEC, "stride": 3}).stream()
        with pytest.raises(ValueError, match="this model reads"):
            stream(np.zeros(4))
        assert stream(np.zeros(5)).name in CLASSES


def test_settings_out_of_range_are_named():
    for settings, message in (
        ({"median": 2}, "median=2: must be an odd number"),
        ({"min_length": 0}, "min_length=0: must be at least 1"),
        ({"last_frames": -1}, "last_frames=-1: must be at least 0"),
        ({"background": ["peel"]}, r"background=\['peel'\]: no such classes"),
        ({"encoder": Means}, "leave the encoder out"),
        ({"spec": PICTURES}, "give an encoder"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**settings)


class TestPostprocessing:
    def test_running_median_is_numpys(self):
        scores = torch.rand(11, 3)
        padded = np.pad(scores.numpy(), ((2, 2), (0, 0)), mode="edge")
        expected = np.stack([np.median(padded[t : t + 5], 0) for t in range(11)])
        np.testing.assert_allclose(running_median(scores, 5), expected)
        assert torch.equal(running_median(scores, 1), scores)
        assert running_median(scores[:2], 5).shape == (2, 3)  # a video shorter than the window
        assert len(running_median(scores[:0], 5)) == 0

    def test_short_segments_go_to_the_likelier_neighbour(self):
        labels = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2])
        scores = torch.zeros(8, 3)
        scores[3, 2] = 0.4
        assert without_short_segments(labels, scores, 2).tolist() == [0, 0, 0, 2, 2, 2, 2, 2]
        scores[3, 0] = 0.5
        assert without_short_segments(labels, scores, 2).tolist() == [0, 0, 0, 0, 2, 2, 2, 2]
        assert without_short_segments(labels, scores, 1).tolist() == labels.tolist()
        assert without_short_segments(labels, scores, 9).tolist() == [2] * 8

    def test_what_remains_is_long_enough(self):
        torch.manual_seed(0)
        scores = torch.rand(200, 4)
        labels = label_video(scores, median=3, min_length=5)
        _, counts = torch.unique_consecutive(labels, return_counts=True)
        assert int(counts.min()) >= 5
        assert len(label_video(scores[:0], median=3, min_length=5)) == 0
