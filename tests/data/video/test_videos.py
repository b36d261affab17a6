"""Videos of one's own: three layouts, parts, labels by frame, and all that can be wrong."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import torch
from corpora import ACTIONS, add_folder, add_video, lights
from unrolled.data import VideoData
from unrolled.data.video.clips.module import write_video
from unrolled.data.video.labels import read_frame_labels
from unrolled.errors import DataError, UsageError


@pytest.fixture
def root(tmp_path):
    return tmp_path / "videos"


def some(root: Path, count: int = 10) -> None:
    for number in range(count):
        add_video(root / f"clip{number}.mp4", 10 + number, number)


@pytest.fixture
def make(root, tmp_path):
    return lambda **settings: VideoData(
        str(root), **{"image_size": 16, "cache_dir": str(tmp_path / "c"), **settings}
    )


def names(data: VideoData) -> dict[str, list[str]]:
    return {part: [video.name for video in data.videos(part)] for part in ("train", "val", "test")}


class TestLayouts:
    def test_videos_beside_their_labels(self, root, make):
        expected = {
            f"clip{number}.mp4": add_video(root / f"clip{number}.mp4", 10 + number, number)
            for number in range(4)
        }
        add_video(root / "deep" / "clip.avi", 9)
        data = make(val_fraction=0.2, test_fraction=0.2)
        assert data.spec["classes"] == ["cut", "mix", "none"]
        videos = {
            video.name: video for part in ("train", "val", "test") for video in data.videos(part)
        }
        assert videos.keys() == {*expected, "deep/clip.avi"}
        for name, numbers in expected.items():
            assert [data.spec["classes"][number] for number in videos[name].labels] == [
                ACTIONS[n] for n in numbers
            ]
            assert videos[name].read(0, len(numbers)).shape == (len(numbers), 3, 16, 16)

    def test_folders_of_pictures(self, root, make):
        add_folder(root / "a", 3)
        (root / "a.csv").write_text("frame,label\n0,x\n1,x\n2,y\n")
        add_folder(root / "b", 12)
        (root / "b" / "labels.csv").write_text("start,end,label\n0,4,x\n6,12,y\n")
        data = make(val_fraction=0, test_fraction=0)
        first, second = data.videos("train")
        assert (first.name, first.labels.tolist()) == ("a", [0, 0, 1])
        assert (second.name, second.labels.tolist()) == ("b", [0] * 4 + [-100] * 2 + [1] * 6)
        light = second.read(9, 12).float().mean((1, 2, 3))
        assert torch.allclose(light, torch.tensor(lights(12)[9:, 0, 0, 0]).float())

    def test_folders_named_after_classes(self, root, make):
        for name in ("Jump", "Run", "Sit"):
            for number in range(2):
                add_video(root / name / f"v_{name}_g0{number}.avi", 6 + number, labels=False)
        data = make(val_fraction=0, test_fraction=0)
        assert data.spec["classes"] == ["Jump", "Run", "Sit"]
        assert {
            video.name.split("/")[0]: set(video.labels.tolist()) for video in data.videos("train")
        } == {
            "Jump": {0},
            "Run": {1},
            "Sit": {2},
        }

    def test_hidden_files_and_other_files_are_left_alone(self, root, make):
        some(root, 2)
        (root / ".hidden.mp4").write_bytes(b"no video")
        (root / "readme.txt").write_text("no video")
        assert len(make(val_fraction=0, test_fraction=0).videos("train")) == 2


class TestParts:
    def test_fractions_are_of_videos_and_repeat(self, root, make):
        some(root)
        found = names(make(val_fraction=0.2, test_fraction=0.3))
        assert [len(part) for part in found.values()] == [5, 2, 3]
        assert len({name for part in found.values() for name in part}) == 10
        assert names(make(val_fraction=0.2, test_fraction=0.3)) == found
        assert names(make(val_fraction=0.2, test_fraction=0.3, split_seed=1)) != found

    def test_one_video_at_least_where_a_part_is_asked_for(self, root, make):
        some(root, 3)
        assert [len(part) for part in names(make()).values()] == [1, 1, 1]
        assert make(val_fraction=0).val_dataloader() == []

    @pytest.mark.parametrize("name", ["val", "valid", "validation"])
    def test_folders_are_parts(self, root, make, name):
        for part, count in (("train", 3), (name, 1), ("test", 2)):
            for number in range(count):
                add_video(root / part / f"{number}.mp4", 8)
        assert [len(part) for part in names(make()).values()] == [3, 1, 2]

    def test_validation_is_carved_from_training_where_there_is_no_folder(self, root, make):
        for part, count in (("train", 4), ("test", 2)):
            for number in range(count):
                add_video(root / part / "Class" / f"{number}.mp4", 8, labels=False)
        found = names(make(val_fraction=0.25))
        assert [len(part) for part in found.values()] == [3, 1, 2]
        assert all(name.startswith("train/") for name in found["train"] + found["val"])

    def test_lists_as_of_ucf101(self, root, make, tmp_path):
        for name in ("Jump", "Run"):
            for number in range(3):
                add_video(root / name / f"v{number}.avi", 6, labels=False)
        (tmp_path / "train.txt").write_text(
            "Jump/v0.avi 1\nJump/v1.avi 1\nRun/v0 2\nRun/v1.avi 2\n\n"
        )
        (tmp_path / "test.txt").write_text("Jump/v2.avi\nRun/v2.avi\n")
        lists = {"train_list": str(tmp_path / "train.txt"), "test_list": str(tmp_path / "test.txt")}
        found = names(make(**lists, val_fraction=0.25))
        assert sorted(found["train"] + found["val"]) == [
            "Jump/v0.avi",
            "Jump/v1.avi",
            "Run/v0.avi",
            "Run/v1.avi",
        ]
        assert (len(found["val"]), found["test"]) == (1, ["Jump/v2.avi", "Run/v2.avi"])
        found = names(make(**lists, val_fraction=0))
        assert [len(part) for part in found.values()] == [4, 0, 2]
        (tmp_path / "test.txt").write_text("Jump/v2.avi\nRun/v0.avi\n")
        with pytest.raises(
            DataError, match=r"1 video\(s\) are in two parts, Run/v0.avi in train and test"
        ):
            names(make(**lists, val_fraction=0))
        (tmp_path / "test.txt").write_text("Jump/v9.avi\nHop/v0.avi\nRun/v2.avi\n")
        with pytest.raises(
            DataError, match=r"names 2 video\(s\) that are not there: Jump/v9.avi, Hop/v0.avi"
        ):
            names(make(**lists))
        with pytest.raises(DataError, match="There is no list of videos"):
            names(make(train_list="none.txt"))
        with pytest.raises(UsageError, match="need a train_list"):
            make(test_list="test.txt")


class TestReading:
    def test_keeping_and_decoding_anew_give_the_same_batches(self, root, make):
        some(root, 5)
        for settings in ({"batch_size": 2}, {"batch_size": 2, "chunk_length": 4, "stride": 2}):
            kept, anew = (
                list(make(**settings, keep=keep).train_dataloader()) for keep in (True, False)
            )
            for one, two in zip(kept, anew, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one[:5], two[:5], strict=True))
                assert one.name == two.name

    def test_any_piece_can_be_decoded_in_any_order(self, root, make):
        some(root, 3)
        (kept,), (anew,) = (make(keep=keep, stride=2).videos("train") for keep in (True, False))
        for begin, end in ((0, 2), (2, 4), (3, 5), (0, 1), (4, 5), (4, 4), (1, 4)):
            assert torch.equal(kept.read(begin, end), anew.read(begin, end))

    def test_few_videos_are_open_at_a_time(self, root, make, monkeypatch):
        monkeypatch.setattr("unrolled.data.video.stored._MOST_OPEN", 3)
        some(root, 8)
        kept, anew = (
            make(keep=keep, val_fraction=0, test_fraction=0).videos("train")
            for keep in (True, False)
        )

        def check(begin: int, end: int) -> int:  # as a worker that sees some of the pieces
            assert all(
                torch.equal(one.read(begin, end), two.read(begin, end))
                for one, two in zip(kept, anew, strict=True)
            )
            links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
            return sum(os.path.realpath(link).startswith(str(root.resolve())) for link in links)

        assert check(0, 2) == check(4, 6) == 3
        for one, two in zip(kept, anew, strict=True):
            two.read(6, one.pictures.timing.frames)
        assert check(0, 0) == 0

    def test_a_changed_file_is_decoded_again(self, root, make):
        some(root, 3)
        before = make().videos("train")[0]
        write_video(root / before.name, lights(len(before.labels), seed=99))
        after = make().videos("train")[0]
        assert not torch.equal(before.read(0, 5), after.read(0, 5))

    def test_labels_are_of_every_frame_and_pictures_of_one_in_stride(self, root, make):
        add_video(root / "a.mp4", 11)
        add_video(root / "b.mp4", 11)
        data = make(stride=4, val_fraction=0, test_fraction=0, batch_size=1)
        whole = data.videos("train")[0]
        (batch, _) = data.train_dataloader()
        assert batch.lengths.tolist() == [3]
        assert batch.target.shape == (1, 12)
        assert batch.target[0, 11] == -100
        assert sorted(batch.target[0, :11].tolist()) == sorted(whole.labels.tolist())

    def test_goes_on_in_mid_epoch(self, root, make):
        some(root, 8)
        settings = {"batch_size": 2, "chunk_length": 5, "keep": False}
        whole = [
            [batch.name, int(batch.input.sum())] for batch in make(**settings).train_dataloader()
        ]
        data = make(**settings)
        reader = iter(data.train_dataloader())
        for _ in range(3):
            next(reader)
        state = copy.deepcopy(data.state_dict())
        data = make(**settings)
        data.load_state_dict(state)
        assert [[batch.name, int(batch.input.sum())] for batch in data.train_dataloader()] == whole[
            3:
        ]

    def test_a_checkpoint_says_classes_size_and_stride(self, root, make):
        some(root, 3)
        spec = {
            **make().spec,
            "classes": ["mix", "none", "cut", "more"],
            "image_size": 8,
            "stride": 2,
        }
        data = make(spec=spec)
        assert data.spec == spec
        video, known = data.videos("train")[0], make().videos("train")[0]
        assert video.read(0, 1).shape == (1, 3, 8, 8)
        assert [spec["classes"][n] for n in video.labels] == [
            make().spec["classes"][n] for n in known.labels
        ]
        assert make(spec=spec, background=["none"]).spec["background"] == ["none"]
        with pytest.raises(UsageError, match="reads features, not pictures"):
            make(spec={**spec, "image_size": 0, "feature_size": 3})


class TestLabels:
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (
                "frame,label\n" + "".join(f"{n},x\n" for n in range(9)),
                "clip0.csv' labels 9 frames, too few: the video has 10",
            ),
            (
                "frame,label\n" + "".join(f"{n},x\n" for n in range(12)),
                "labels 12 frames, too many: the video has 10",
            ),
            ("start,end,label\n0,11,x\n", "labels 11 frames, too many: the video has 10"),
            ("frame,label\n0,x\n2,x\n", "has no row for frame 1"),
            (
                "frame,label\n1,y\n" + "".join(f"{n},x\n" for n in range(10)),
                "line [24]: frame 1 has a label already",
            ),
            ("start,end,label\n0,5,x\n4,9,y\n", "line 3: frame 4 has a label already"),
            ("start,end,label\n6,5,x\n", "line 2: no frame lies in 6 to 5"),
            ("start,end,label\n-1,5,x\n", "line 2: no frame lies in -1 to 5"),
            ("start,end,label\n0,five,x\n", "line 2: expected start,end,label, got 0,five,x"),
            (
                "begin,end,colour\n0,5,x\n",
                "has the columns begin, end, colour; expected a first line frame,label or",
            ),
            ("", "is empty: it holds no labels"),
            ("frame,label\n", "holds no labels"),
        ],
    )
    def test_what_is_wrong_with_a_csv(self, root, make, rows, message):
        add_video(root / "clip0.mp4", 10)
        (root / "clip0.csv").write_text(rows)
        with pytest.raises(DataError, match=message):
            make(val_fraction=0, test_fraction=0).videos("train")

    def test_names_that_are_no_class(self, root, make):
        add_video(root / "clip0.mp4", 10)
        (root / "clip0.csv").write_text("start,end,label\n0,5,none\n5,10,cutt\n")
        with pytest.raises(
            DataError, match=r"clip0.csv', line 3: there is no class 'cutt'. Did you mean 'cut'\?"
        ):
            make(val_fraction=0, test_fraction=0, classes=list(ACTIONS)).videos("train")

    def test_other_columns_orders_and_marks_do_no_harm(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_text(
            "\ufeffprobability, Label ,FRAME\r\n0.5,b,1\r\n0.5,,2\r\n0.5,a,0\r\n", newline=""
        )
        labels = read_frame_labels(path)
        assert labels.names() == {"a", "b"}
        assert labels.numbers({"a": 4, "b": 2}, 3).tolist() == [4, 2, -100]
        path.write_bytes(b"frame,label\n0,\xff\n")
        with pytest.raises(DataError, match=r"is not UTF-8: .* at byte 14"):
            read_frame_labels(path)

    def test_background_is_one_of_the_classes(self, root, make):
        some(root, 3)
        assert make(background=["none"]).spec["background"] == ["none"]
        with pytest.raises(UsageError, match=r"no class 'non'. Did you mean 'none'\?"):
            _ = make(background=["non"]).spec


class TestBroken:
    def test_missing_files_are_named_all_at_once(self, root, make):
        some(root, 3)
        (root / "clip0.csv").unlink()
        (root / "clip2.csv").rename(root / "clip3.csv")
        with pytest.raises(DataError) as caught:
            _ = make().spec
        assert "2 video(s) have no CSV of labels: clip0.mp4, clip2.mp4" in str(caught.value)
        assert "1 CSV(s) have no video: clip3.csv" in str(caught.value)
        assert "--data.broken skip" in str(caught.value)

    def test_videos_without_any_label(self, root, make):
        with pytest.raises(DataError, match="There is no folder"):
            _ = make().spec
        root.mkdir()
        with pytest.raises(DataError, match="holds no videos"):
            _ = make().spec
        add_video(root / "a.mp4", labels=False)
        add_video(root / "Class" / "b.mp4", labels=False)
        with pytest.raises(
            DataError, match=r"1 video\(s\) in '.*' have no labels: a.mp4.\nPut a CSV"
        ):
            _ = make().spec
        (root / "train").mkdir()
        (root / "Class").rename(root / "train" / "Class")
        with pytest.raises(
            DataError, match=r"has folders for its parts, and 1 video\(s\) in none: a.mp4"
        ):
            _ = make().spec

    def test_one_is_an_error_and_skipped_only_when_asked_for(self, root, make):
        some(root, 4)
        whole = (root / "clip1.mp4").read_bytes()
        (root / "clip1.mp4").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=r"clip1.mp4' is cut short.*\n.*--data.broken skip"):
            make(val_fraction=0, test_fraction=0).prepare_data()
        data = make(val_fraction=0, test_fraction=0, broken="skip")
        with pytest.warns(
            UserWarning, match=r"Skipped 1 of 4 train videos:\n'.*clip1.mp4' is cut short"
        ):
            data.prepare_data()
        assert names(data)["train"] == ["clip0.mp4", "clip2.mp4", "clip3.mp4"]

    def test_several_are_told_at_once(self, root, make):
        some(root, 4)
        (root / "clip1.mp4").write_bytes(b"")
        add_video(root / "clip2.mp4", 8, labels=False)  # its labels are of 12 frames
        with pytest.raises(DataError) as caught:
            make(val_fraction=0, test_fraction=0).prepare_data()
        lines = str(caught.value).splitlines()
        assert lines[0] == "2 of 4 train videos can't be used:"
        assert "clip1.mp4' is empty" in lines[1]
        assert "clip2.csv' labels 12 frames, too many: the video has 8" in lines[2]
        assert lines[3].startswith("Mend or remove them")

    def test_skipping_all_is_an_error(self, root, make):
        some(root, 2)
        for path in root.glob("*.mp4"):
            path.write_bytes(b"")
        data = make(val_fraction=0, test_fraction=0, broken="skip")
        with pytest.warns(match="Skipped 2 of 2"), pytest.raises(DataError, match="None of the 2"):
            data.prepare_data()

    def test_a_test_part_may_be_skipped_whole(self, root, make):
        some(root)
        data = make(broken="skip")
        data.files["test"][0].path.write_bytes(b"")
        with pytest.warns(UserWarning, match="Skipped 1 of 1 test videos"):
            assert [len(found) for found in names(data).values()] == [8, 1, 0]

    def test_a_video_of_one_frame_is_one(self, root, make):
        add_video(root / "clip0.mp4", 1)
        (batch,) = make(val_fraction=0, test_fraction=0).train_dataloader()
        assert batch.input.shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stride": 0}, "stride is 0"),
        ({"image_size": 4}, "image_size is 4"),
        ({"split_seed": -1}, "split_seed is -1"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "their sum below 1"),
        ({"val_fraction": -0.1}, "at least 0"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_settings(make, settings, words):
    with pytest.raises(UsageError, match=words):
        make(**settings)
