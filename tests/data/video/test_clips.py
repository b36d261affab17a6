"""Built-in clips: what is drawn is what the labels say, the files are real, batches are exact."""

from __future__ import annotations

import copy
import pickle

import av
import numpy as np
import pytest
import torch
from unrolled.data import ClipsData, VideoData
from unrolled.data.video.clips.drawing import CLASSES, draw_clip, plan
from unrolled.data.video.clips.module import write_video
from unrolled.data.video.labels import read_frame_labels
from unrolled.errors import DataError, UsageError

SMALL = {"image_size": 16, "train_clips": 5, "val_clips": 2, "test_clips": 3}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def make(cache):
    return lambda **settings: ClipsData(**{**SMALL, "cache_dir": cache, **settings})


def rows_of(loader) -> dict[str, list]:
    """Return of each clip its pictures, its labels, and what pieces were its first and its last."""
    found: dict[str, list] = {}
    for batch in loader:
        begin = 0
        for row, length in enumerate(batch.lengths.tolist()):
            if not length:
                assert batch.name[row] == ""
                continue
            pictures = batch.input[begin : begin + length]
            labels = batch.target[row][batch.target[row] >= 0]
            found.setdefault(batch.name[row], []).append(
                (pictures, labels, bool(batch.first[row]), bool(batch.last[row]))
            )
            begin += length
        assert begin == len(batch.input)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_labels_say_what_changes_and_the_shape_stays_inside(seed):
    motion = plan(np.random.default_rng(seed), frames=300)
    assert len(motion.labels) == 300
    assert motion.labels[0] == 0
    right, down = np.diff(motion.x), np.diff(motion.y)
    growth, light = np.diff(motion.radius), np.diff(motion.brightness)
    does = {CLASSES[number]: motion.labels[1:] == number for number in np.unique(motion.labels)}
    for name, frames in does.items():
        for change, less, more in (
            (right, "left", "right"),
            (down, "up", "down"),
            (growth, "shrink", "grow"),
        ):
            assert (change[frames] < 0).all() == (name == less)
            assert (change[frames] > 0).all() == (name == more)
            assert (change[frames] == 0).all() == (name not in (less, more))
    dark = motion.brightness < 1
    assert (motion.labels[dark] == CLASSES.index("blink")).all()
    assert (light != 0).any() == (np.unique(motion.labels[:-2]) == CLASSES.index("blink")).any()
    for place in (motion.x, motion.y):
        assert (place - motion.radius).min() > 0
        assert (place + motion.radius).max() < 1


def test_no_frame_alone_tells_a_move(make):
    # the same shape at the same place is at rest in one clip and moves in another
    random = np.random.default_rng(0)
    motions = [plan(random, frames=100) for _ in range(200)]
    for name in ("left", "right", "up", "down"):
        places = np.concatenate(
            [motion.x[motion.labels == CLASSES.index(name)] for motion in motions]
        )
        resting = np.concatenate([motion.x[motion.labels == 0] for motion in motions])
        assert np.quantile(resting, 0.2) < np.median(places) < np.quantile(resting, 0.8)


def test_every_class_is_in_every_part():
    for part in range(3):
        labels = [
            draw_clip(np.random.default_rng([0, part, clip]), frames=96, size=16)[1]
            for clip in range(20)
        ]
        assert set(np.concatenate(labels).tolist()) == set(range(len(CLASSES)))


def test_files_are_h264_and_hold_what_was_drawn(make):
    data = make(image_size=32, train_clips=1)
    with av.open(str(data.folder / "train" / "0000.mp4")) as file:
        assert file.streams.video[0].codec_context.name == "h264"
    random = np.random.default_rng([0, 0, 0])
    frames = int(random.integers(48, 81))
    pictures, labels = draw_clip(random, frames=frames, size=32)
    (clip,) = data.videos("train")
    assert len(clip.labels) == frames == clip.pictures.timing.frames
    assert np.array_equal(clip.labels, labels)
    read = clip.read(0, frames).permute(0, 2, 3, 1).float()
    drawn = torch.from_numpy(pictures).float()
    # H.264 loses some, mostly of the noise and the colour
    assert (read.mean(-1) - drawn.mean(-1)).abs().mean() < 5
    assert (clip.read(5, 7) == clip.read(0, 7)[5:]).all()


def test_clips_are_the_same_everywhere_and_differ_between_parts_and_seeds(make, tmp_path):
    first, again = make(), make(cache_dir=str(tmp_path))
    assert first.folder.name == again.folder.name
    files = sorted(path.relative_to(first.folder) for path in first.folder.rglob("*.*"))
    assert len(files) == 2 * (5 + 2 + 3)
    contents = [(first.folder / file).read_bytes() for file in files]
    assert contents == [(again.folder / file).read_bytes() for file in files]
    assert len(set(contents)) == len(contents)
    assert make(clip_seed=1).folder != first.folder


def test_an_interrupted_run_leaves_no_clips(make, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    data = make(cache_dir=str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("unrolled.data.video.clips.module.write_segments", stop)
        with pytest.raises(KeyboardInterrupt):
            _ = data.folder
    assert not [path for path in (tmp_path / "video").iterdir() if path.is_dir()]
    assert data.folder.is_dir()


def test_spec_says_what_the_model_has_to_know(make):
    assert make(stride=2).spec == {
        "classes": list(CLASSES),
        "background": ["none"],
        "feature_size": 0,
        "image_size": 16,
        "stride": 2,
    }
    spec = {**make().spec, "image_size": 24, "stride": 3, "classes": list(CLASSES[::-1])}
    data = make(spec=spec)
    assert data.spec == spec
    (clip, *_), (known, *_) = data.videos("val"), make(image_size=24).videos("val")
    assert clip.read(0, 1).shape == (1, 3, 24, 24)
    assert np.array_equal(clip.labels, len(CLASSES) - 1 - known.labels)
    with pytest.raises(UsageError, match="reads features, not pictures"):
        make(spec={**spec, "image_size": 0, "feature_size": 3})
    with pytest.raises(DataError, match="doesn't know blink, down"):
        make(spec={**spec, "classes": ["none", "left", "right", "up", "grow", "shrink"]}).videos(
            "val"
        )


def test_batches_hold_every_frame_once(make):
    data = make(batch_size=2)
    whole = {video.name: video for video in data.videos("train")}
    for _ in range(2):
        found = rows_of(data.train_dataloader())
        assert found.keys() == whole.keys()
        for name, pieces in found.items():
            ((pictures, labels, first, last),) = pieces
            assert (first, last) == (True, True)
            assert torch.equal(pictures, whole[name].read(0, len(labels)))
            assert np.array_equal(labels.numpy(), whole[name].labels)
    assert [batch.name for batch in data.test_dataloader()] == [
        ("test/0000.mp4", "test/0001.mp4"),
        ("test/0002.mp4", ""),
    ]


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("chunk_length", [7, 40, 1000])
def test_chunks_follow_each_other_and_are_the_whole(make, stride, chunk_length):
    settings = {"batch_size": 2, "stride": stride}
    whole = rows_of(make(**settings).train_dataloader())
    chunked = rows_of(make(**settings, chunk_length=chunk_length).train_dataloader())
    assert chunked.keys() == whole.keys()
    for name, pieces in chunked.items():
        ((pictures, labels, _, _),) = whole[name]
        assert torch.equal(torch.cat([piece[0] for piece in pieces]), pictures)
        assert torch.equal(torch.cat([piece[1] for piece in pieces]), labels)  # at the full rate
        assert [piece[2] for piece in pieces] == [True] + [False] * (len(pieces) - 1)
        assert [piece[3] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert max(len(piece[0]) for piece in pieces) <= chunk_length


def test_epochs_differ_and_have_the_same_number_of_batches(make):
    for settings in ({"batch_size": 2}, {"batch_size": 2, "chunk_length": 30}):
        loader = make(**settings).train_dataloader()
        epochs = [[batch.name for batch in loader] for _ in range(4)]
        assert {len(epoch) for epoch in epochs} == {len(loader)}
        assert len({str(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize("chunk_length", [None, 25])
def test_two_processes_see_together_what_one_sees(make, chunk_length, monkeypatch):
    one = make(batch_size=4, chunk_length=chunk_length)
    together = list(one.loader("train", epoch=1))
    parts = []
    for rank in range(2):
        half = make(batch_size=2, chunk_length=chunk_length)
        monkeypatch.setattr(type(half), "world_size", property(lambda _: 2))
        monkeypatch.setattr(type(half), "rank", property(lambda _, rank=rank: rank))
        parts.append(list(half.loader("train", epoch=1)))
        monkeypatch.undo()
    assert len(parts[0]) == len(parts[1]) == len(together)
    for whole, first, second in zip(together, *parts, strict=True):
        assert whole.name == first.name + second.name
        assert torch.equal(whole.input, torch.cat([first.input, second.input]))
        assert whole.lengths.tolist() == first.lengths.tolist() + second.lengths.tolist()


def test_more_processes_than_clips(make, monkeypatch):
    data = make(batch_size=2)
    monkeypatch.setattr(type(data), "world_size", property(lambda _: 3))
    monkeypatch.setattr(type(data), "rank", property(lambda _: 2))
    (batch,) = data.loader("val")
    assert batch.input.shape == (0, 3, 16, 16)
    assert batch.lengths.tolist() == [0]
    assert (batch.target == -100).all()
    assert not batch.first.any()
    assert not batch.last.any()


@pytest.mark.parametrize("workers", [0, 2])
def test_goes_on_in_mid_epoch(make, workers):
    settings = {"batch_size": 2, "chunk_length": 30, "num_workers": workers}
    loader = make(**settings).train_dataloader()
    whole = [
        [batch.name, batch.target.tolist(), int(batch.input.sum())]
        for _ in range(2)
        for batch in loader
    ]
    per_epoch = len(whole) // 2
    for done in (3, per_epoch, per_epoch + 2):
        data = make(**settings)
        loader = data.train_dataloader()
        both = (batch for _ in range(2) for batch in loader)
        for _ in range(done):
            next(both)
        state = copy.deepcopy(data.state_dict())
        data = make(**settings)
        data.load_state_dict(state)
        loader = data.train_dataloader()
        rest = [batch for _ in range(2 - state["loader"]["epoch"]) for batch in loader]
        assert [
            [batch.name, batch.target.tolist(), int(batch.input.sum())] for batch in rest
        ] == whole[done:]


def test_the_folder_is_one_that_video_data_reads(make, cache):
    clips = make()
    videos = VideoData(str(clips.folder), image_size=16, cache_dir=cache, classes=list(CLASSES))
    for part in ("train", "val", "test"):
        for clip, video in zip(clips.videos(part), videos.videos(part), strict=True):
            assert clip.name == video.name
            assert np.array_equal(clip.labels, video.labels)
    labels = read_frame_labels(clips.folder / "train" / "0000.csv")
    assert not labels.every_frame
    assert labels.segments[0].start == 0


def test_videos_travel_to_workers(make):
    video = make().videos("val")[0]
    assert torch.equal(pickle.loads(pickle.dumps(video)).read(3, 5), video.read(3, 5))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_size": 15}, "image_size is 15; clips have an even number"),
        ({"image_size": 8}, "at least 16"),
        ({"val_clips": -1}, "val_clips is -1"),
        ({"clip_seed": -1}, "clip_seed is -1"),
        ({"stride": 0}, "stride is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"chunk_length": 0}, "chunk_length is 0"),
        ({"eval_chunk_length": 0}, "chunk_length is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
    ],
)
def test_wrong_settings(make, settings, words):
    with pytest.raises(UsageError, match=words):
        make(**settings)


def test_a_part_may_be_empty(make):
    data = make(val_clips=0)
    assert data.val_dataloader() == []
    with pytest.raises(DataError, match=r"nothing to train on.*--data.train_clips"):
        make(train_clips=0).train_dataloader()


def test_the_same_pictures_make_the_same_file(tmp_path):
    """An encoder that reads memory which it has not written tells by what was there before."""
    found = set()
    for turn in range(24):
        pictures, _ = draw_clip(np.random.default_rng(0), frames=40, size=32)
        left = [bytes([turn * 37 % 256]) * (16 << power) for power in range(14) for _ in range(20)]
        del left
        write_video(tmp_path / "clip.mp4", pictures)
        found.add((tmp_path / "clip.mp4").read_bytes())
    assert len(found) == 1
