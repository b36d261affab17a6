from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from corpora import CLASSES, write_ms_tcn
from unrolled.data import SegmentationData
from unrolled.data.video.sampler import WindowSampler
from unrolled.errors import DataError, UsageError

LENGTHS = {"a": 9, "b": 4, "c": 11, "d": 6, "e": 7, "f": 5}


def write(
    root: Path, lengths: dict[str, int] = LENGTHS, *, time_first: bool = False, test: str = "f"
) -> Path:
    """Write videos of 5 features; the number in a feature says video, frame and feature."""
    videos = {}
    for video, (name, frames) in enumerate(lengths.items()):
        features = 1000 * video + 10 * np.arange(frames)[:, None] + np.arange(5)
        videos[name] = features, [(frame // 3 + video) % 3 for frame in range(frames)]
    return write_ms_tcn(root, videos, test=test, time_first=time_first)


@pytest.fixture
def root(tmp_path) -> Path:
    return write(tmp_path)


def rows(batch, stride: int = 1):
    """Name, frames and labels of each row that has frames."""
    frames = batch.input.split(batch.lengths.tolist())
    for row, name in enumerate(batch.name):
        if name:
            yield name, frames[row], batch.target[row, : len(frames[row]) * stride]


@pytest.mark.parametrize("time_first", [False, True])
@pytest.mark.parametrize("layout", ["auto", "told"])
def test_features_and_labels_are_read_in_either_layout(tmp_path, time_first, layout):
    root = write(tmp_path, time_first=time_first)
    told = "time_first" if time_first else "features_first"
    data = SegmentationData(
        str(root), layout=told if layout == "told" else "auto", batch_size=2, background=["rest"]
    )
    assert data.spec == {
        "classes": CLASSES,
        "background": ["rest"],
        "feature_size": 5,
        "image_size": 0,
        "stride": 1,
    }
    seen = {}
    for batch in data.loader("train"):
        for name, frames, labels in rows(batch):
            seen[name] = frames
            video = list(LENGTHS).index(name)
            expected = 1000 * video + 10 * torch.arange(LENGTHS[name])[:, None] + torch.arange(5)
            assert torch.equal(frames, expected.float())
            assert labels.tolist() == [(frame // 3 + video) % 3 for frame in range(LENGTHS[name])]
    assert set(seen) == set(data.parts["train"])


def test_where_all_videos_are_of_one_length_the_labels_say_which_axis_is_time(tmp_path):
    root = write(tmp_path, dict.fromkeys("abcdef", 7), time_first=True)
    assert SegmentationData(str(root)).spec["feature_size"] == 5
    square = write(tmp_path / "square", dict.fromkeys("abcdef", 5))
    assert SegmentationData(str(square)).transposed  # nothing decides: MS-TCN's own layout


def test_validation_is_carved_from_training_only(root):
    data = SegmentationData(str(root), val_fraction=0.4)
    parts = data.parts
    assert parts["test"] == ["f"]
    assert len(parts["val"]) == 2
    assert set(parts["train"]) | set(parts["val"]) == set("abcde")
    assert not set(parts["train"]) & set(parts["val"])
    # the run's seed changes nothing
    assert SegmentationData(str(root), val_fraction=0.4, seed=7).parts == parts
    others = [
        SegmentationData(str(root), val_fraction=0.4, val_seed=seed).parts["val"]
        for seed in range(20)
    ]
    assert any(other != parts["val"] for other in others)
    assert SegmentationData(str(root), val_fraction=0.01).parts["val"]  # at least one
    none = SegmentationData(str(root), val_fraction=0)
    assert none.parts["val"] == []
    assert none.loader("val") is None


def test_a_stride_reads_some_frames_and_keeps_all_labels(root):
    data = SegmentationData(str(root), stride=2, batch_size=6)
    (batch,) = data.loader("test")
    (row,) = rows(batch, stride=2)
    assert row[1][:, 0].tolist() == [5000, 5020, 5040]
    assert row[2].tolist() == [2, 2, 2, 0, 0, -100]
    assert data.spec["stride"] == 2


@pytest.mark.parametrize("world_size", [1, 2])
def test_chunks_follow_each_other_in_their_rows(root, world_size, monkeypatch):
    monkeypatch.setattr(SegmentationData, "world_size", world_size)
    for rank in range(world_size):
        monkeypatch.setattr(SegmentationData, "rank", rank)
        loader = SegmentationData(str(root), batch_size=2 // world_size, chunk_length=4).loader(
            "train"
        )
        under_way: dict[int, str] = {}
        for batch in loader:
            for row, (name, length) in enumerate(
                zip(batch.name, batch.lengths.tolist(), strict=True)
            ):
                if length:
                    assert bool(batch.first[row]) == (under_way.get(row) is None)
                    assert under_way.get(row) in (None, name)
                    under_way[row] = None if batch.last[row] else name
        assert not any(under_way.values())


def test_windows_lie_anywhere_and_start_anew(root):
    data = SegmentationData(str(root), batch_size=3, chunk_length=4, windows=True, val_fraction=0)
    loader = data.loader("train")
    begins = set()
    for _ in range(30):
        for batch in loader:
            assert batch.first.all()
            assert batch.last.all()
            assert max(batch.lengths) <= 4
            begins |= {(name, float(frames[0, 0]) % 1000 // 10) for name, frames, _ in rows(batch)}
    assert {begin for name, begin in begins if name == "c"} == set(range(8))


@pytest.mark.parametrize("windows", [False, True])
def test_two_processes_share_what_one_sees(root, monkeypatch, windows):
    def batches(world_size: int, rank: int) -> list[list[tuple]]:
        monkeypatch.setattr(SegmentationData, "world_size", world_size)
        monkeypatch.setattr(SegmentationData, "rank", rank)
        data = SegmentationData(
            str(root), batch_size=4 // world_size, chunk_length=3, windows=windows
        )
        return [
            [(name, frames.flatten().tolist()) for name, frames, _ in rows(batch)]
            for batch in data.loader("train")
        ]

    one, halves = batches(1, 0), [batches(2, 0), batches(2, 1)]
    assert [first + second for first, second in zip(*halves, strict=True)] == one


def test_windows_are_as_many_rows_in_every_process(monkeypatch):
    sampler = partial(WindowSampler, [4] * 7, batch_size=2, length=4)
    (*_, one), *halves = (
        sampler(batch_size=4).batches(0),
        *(sampler(rank=r, world_size=2).batches(0) for r in (0, 1)),
    )
    last = [list(half)[-1] for half in halves]
    # 3 windows: a checkpoint's rows are gathered from all processes
    assert [len(rows) for rows in last] == [2, 2]
    assert [piece for rows in last for piece in rows if piece] == list(one)


def test_normalisation_comes_from_the_training_part_alone(root):
    data = SegmentationData(str(root), normalize=True)
    train = torch.cat([batch.input for batch in data.loader("train")]).double()
    assert data.spec["feature_mean"] == pytest.approx(train.mean(0).tolist())
    assert data.spec["feature_deviation"] == pytest.approx(train.std(0, correction=0).tolist())


def test_a_checkpoints_spec_says_classes_features_and_stride(root):
    spec = {**SegmentationData(str(root), stride=2).spec, "classes": ["mix", "cut", "rest"]}
    data = SegmentationData(str(root), spec=spec)
    assert data.spec == spec
    (batch,) = data.loader("test")
    assert batch.target[0].tolist() == [0, 0, 0, 2, 2, -100]
    assert SegmentationData(str(root), spec=spec, background=["mix"]).spec["background"] == ["mix"]
    with pytest.raises(
        DataError, match=r"a\.npy: 5 features a frame; the checkpoint's model takes 7"
    ):
        SegmentationData(str(root), spec={**spec, "feature_size": 7}).setup("fit")
    with pytest.raises(UsageError, match="reads pictures, not features"):
        SegmentationData(str(root), spec={**spec, "feature_size": 0, "image_size": 48})


class TestMistakesAreNamed:
    def wrong(self, root, message, **settings):
        with pytest.raises(DataError, match=message):
            SegmentationData(str(root), **settings).setup("fit")

    def test_a_missing_feature_file(self, root):
        (root / "features" / "c.npy").unlink()
        self.wrong(root, r"Video c has no features: there is no .*c\.npy")

    def test_features_of_the_wrong_width(self, root):
        np.save(root / "features" / "c.npy", np.zeros((4, 11)))
        self.wrong(root, r"c\.npy: 4 features a frame; the other files have 5")

    def test_features_that_are_no_numbers(self, root):
        features = np.load(root / "features" / "c.npy").astype(np.float32)
        features[2, 6] = np.nan
        np.save(root / "features" / "c.npy", features)
        self.wrong(root, r"c\.npy: frame 6 .* not finite")

    @pytest.mark.parametrize("labels", [10, 12])
    def test_labels_of_another_number_than_frames(self, root, labels):
        (root / "groundTruth" / "c.txt").write_text("cut\n" * labels)
        self.wrong(root, rf"c: 11 frames of features in .*c\.npy, {labels} labels in")

    def test_names_that_the_mapping_lacks(self, root):
        (root / "groundTruth" / "c.txt").write_text("cut\npeel\npeel\nwash\n")
        self.wrong(
            root, r"c\.txt, line 2: no such class in mapping\.txt: 'peel' \(2 x\), 'wash' \(1 x\)"
        )

    def test_a_split_that_names_unknown_videos_lists_them_all(self, root):
        with (root / "splits" / "train.split1.bundle").open("a") as file:
            file.write("x.txt\ny.txt\n")
        self.wrong(root, r"names 2 video\(s\) without a file in .*groundTruth: x, y\.")

    def test_a_video_in_train_and_test(self, root):
        (root / "splits" / "test.split1.bundle").write_text("f.txt\na.txt\n")
        self.wrong(root, r"has 1 video\(s\) in both train and test: a\.")

    def test_a_video_that_is_named_twice(self, root):
        (root / "splits" / "test.split1.bundle").write_text("f.txt\nf.txt\n")
        self.wrong(root, r"test\.split1\.bundle names 1 video\(s\) more than once: f\.")

    def test_a_split_that_is_not_there(self, root):
        self.wrong(root, r"there are: train\.split1\.bundle\. Choose with --data\.split", split=3)

    def test_a_file_that_is_no_array(self, root):
        (root / "features" / "c.npy").write_text("no array")
        self.wrong(root, r"c\.npy is no \.npy file: ")
        np.save(root / "features" / "c.npy", np.zeros(3))
        self.wrong(root, r"c\.npy holds float64 \(3,\); it has to be numbers, frames by features")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("rest\ncut\n", r"line 1: 'rest' is not a class number and a name"),
            (
                "0 rest\n0 cut\n",
                r"line 2: '0 cut' names a class number or a class for the second time",
            ),
            ("² rest\n", r"line 1: '² rest' is not a class number and a name"),
            ("0 rest\n2 cut\n", r"the class numbers are \[0, 2\]; they have to be 0 to 1"),
        ],
    )
    def test_a_mapping_that_is_none(self, root, text, message):
        (root / "mapping.txt").write_text(text)
        self.wrong(root, message)

    def test_no_folder_at_all(self, tmp_path):
        self.wrong(
            tmp_path / "nowhere",
            r"There is no .*mapping\.txt; the folder has to be in the layout of MS-TCN",
        )

    def test_settings_out_of_range(self, root):
        for settings, message in (
            ({"val_fraction": 1.0}, "val_fraction is 1.0"),
            ({"stride": 0}, "stride is 0"),
            ({"windows": True}, "give --data.chunk_length too"),
            ({"batch_size": 0}, "batch_size is 0"),
        ):
            with pytest.raises(UsageError, match=message):
                SegmentationData(str(root), **settings)
        with pytest.raises(UsageError, match=r"there is no class 'res'\. Did you mean 'rest'"):
            _ = SegmentationData(str(root), background=["res"]).spec
