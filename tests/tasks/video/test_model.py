from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from unrolled.core import MinGRU
from unrolled.core.state import leaves
from unrolled.tasks.video.postprocess import label_video
from video_models import BOTH_WAYS, CAUSAL, CLASSES, PICTURES, SMALL, SPEC, Means, factory
from video_models import make_model as make


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
            "state",
            "_waiting",
            "_label",
        }

    def test_a_core_that_reads_backwards_labels_no_stream(self):
        model = make(BOTH_WAYS)
        with pytest.raises(
            ValueError, match="Bidirectional is not causal: it reads the frames to come"
        ):
            model.stream()


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
        ({"projection_size": -1}, "projection_size=-1: must be at least 0"),
        ({"background": ["peel"]}, r"background=\['peel'\]: no such classes"),
        ({"encoder": Means}, "leave the encoder out"),
        ({"spec": PICTURES}, "give an encoder"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**settings)
