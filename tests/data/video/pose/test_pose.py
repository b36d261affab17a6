"""Tables of poses: read as they are written, features that know neither place nor size."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from pose_files import PARTS, deeplabcut, deeplabcut_fixed, deeplabcut_table, poses, sleap
from unrolled.cli import main
from unrolled.data import PoseData
from unrolled.data.formats.hdf5 import ArrayStore
from unrolled.data.video.pose.tables import Pose, features_of, read_pose
from unrolled.errors import DataError
from video_models import save_model

h5py = pytest.importorskip("h5py", reason="SLEAP's files need h5py: pip install -e '.[hdf5]'")


@pytest.mark.parametrize("people", [1, 2])
@pytest.mark.parametrize("write", [deeplabcut, deeplabcut_table, deeplabcut_fixed, sleap])
def test_a_table_gives_the_points_that_were_written(tmp_path, write, people):
    points = poses(people=people)
    found = read_pose(write(tmp_path / f"a.{'csv' if write is deeplabcut else 'h5'}", points))
    np.testing.assert_allclose(found.points, points)
    assert found.parts == PARTS
    assert (found.sure == 1).all()


def test_features_know_neither_place_nor_size():
    points = poses(people=2)
    sure = np.ones(points.shape[:3])
    expected = features_of(Pose(points, sure, PARTS))
    assert expected.shape == (12, 2 * (2 * 3 + 3))
    np.testing.assert_allclose(
        features_of(Pose(3.7 * points + [500, -80], sure, PARTS)), expected, atol=1e-4
    )
    centred = features_of(Pose(points, sure, PARTS), center="back")
    assert (centred[:, 2:4] == 0).all()
    pixels = features_of(Pose(points, sure, PARTS), scale=False)
    np.testing.assert_allclose(pixels[1:, 6:8], np.diff(points[:, 0].mean(1), axis=0), atol=1e-3)
    with pytest.raises(DataError, match="there is no part 'ear'; there are nose, back, tail"):
        features_of(Pose(points, sure, PARTS), center="ear")


def test_a_part_that_is_not_sure_is_where_it_was_last():
    points, sure = poses(), np.ones((12, 1, 3))
    sure[5:8, 0, 1] = 0.1
    sure[0, 0, 2] = 0.1
    moved = points.copy()
    moved[5:8, 0, 1] = moved[4, 0, 1]
    moved[0, 0, 2] = moved[1, 0, 2]
    found = features_of(Pose(points, sure, PARTS))
    np.testing.assert_allclose(found, features_of(Pose(moved, np.ones_like(sure), PARTS)))
    points[:, 0, 1] = np.nan  # never seen
    assert np.isfinite(features_of(Pose(points, np.isfinite(points).all(-1) * 1.0, PARTS))).all()


def test_what_is_wrong_is_named(tmp_path, monkeypatch):
    path = deeplabcut(tmp_path / "a.csv", poses())
    path.write_text(path.read_text().replace("\n3,", "\n3,left"))
    with pytest.raises(DataError, match="line 7: expected numbers, got left"):
        read_pose(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="is no table of DeepLabCut"):
        read_pose(path)
    (tmp_path / "a.h5").write_bytes(b"no HDF5" * 99)
    with pytest.raises(DataError, match="is no whole HDF5 file"):
        read_pose(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_group("df_with_missing")
    with pytest.raises(DataError, match="is neither SLEAP's nor DeepLabCut's: it holds df_with"):
        read_pose(tmp_path / "b.h5")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:  # a few kilobytes that claim terabytes
        file.create_dataset("tracks", (1000, 2, 1000, 10**6), "f8", chunks=(1, 2, 8, 8))
        file["node_names"] = np.array([b"a"])
    with pytest.raises(DataError, match=r"claims 2,000,000,000,000 numbers"):
        read_pose(tmp_path / "bomb.h5")


class Payload:
    def __reduce__(self):
        return open, ("ran", "w")


@pytest.mark.parametrize(
    "kind",
    [
        pickle.dumps([("net", Payload(), "x")], 0),
        pickle.dumps([("net", Payload(), "x")], 4),
        b"cos\nsystem\n(S'touch ran'\ntR.",
        b"(lp0\n(Va\np1\nVb\np2\ntp3\na",  # cut short
        b"(lp0\ng0\na.",  # a list in itself
        b"g99999999999\n.",
        b"a.",
        b"",
    ],
)
def test_names_that_are_more_than_text_are_refused(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = deeplabcut_table(tmp_path / "a.h5", poses(), kind)
    with pytest.raises(DataError, match=r"'.*a\.h5'.* (columns|HDF5)"):
        read_pose(path)
    assert not Path("ran").exists()


def test_deeplabcut_writes_a_table_twice_and_it_is_read_once(tmp_path):
    for number in range(3):
        name = f"v{number}DLC_net"
        deeplabcut(tmp_path / f"{name}.csv", poses(20, seed=number))
        deeplabcut_table(tmp_path / f"{name}.h5", poses(20, seed=number))
        (tmp_path / f"v{number}.csv").write_text("start,end,label\n0,9,walk\n9,20,rest\n")
    data = PoseData(str(tmp_path), val_fraction=0, test_fraction=0)
    assert list(data.found) == [f"v{number}DLC_net.csv" for number in range(3)]


def test_poses_and_labels_make_batches_and_a_model_labels_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        deeplabcut(tmp_path / f"v{number}DLC_resnet50.csv", poses(20, seed=number))
        Path(f"v{number}.csv").write_text("start (s),end (s),label\n0,1,walk\n1,1.5,rest\n")
    data = PoseData(".", fps=10, val_fraction=0.25, test_fraction=0.25, unlabelled="none")
    assert data.spec["classes"] == ["none", "rest", "walk"]
    assert data.spec["feature_size"] == 9
    (video, _) = data.videos("train")
    assert video.labels.tolist() == [2] * 10 + [1] * 5 + [0] * 5
    batch = next(iter(data.train_dataloader()))
    assert batch.input.shape == (40, 9)
    save_model(tmp_path / "a.ckpt", data.spec)
    assert main(["label", "a.ckpt", "v0DLC_resnet50.csv", "--out", "out"]) == 0
    assert len(Path("out/v0DLC_resnet50.csv").read_text().splitlines()) == 21
    Path("v3.csv").unlink()
    with pytest.raises(DataError, match=r"1 table\(s\) of poses in '.' have no labels: v3DLC"):
        _ = PoseData(".").spec


@pytest.mark.parametrize("kind", ["link", "link to a link"])
def test_links_to_other_files_are_not_followed(tmp_path, kind):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["tracks"], file["node_names"] = np.ones((1, 2, 2, 5)), [b"a", b"b"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        place = file if kind == "link" else file.create_group("g")
        for name in ("tracks", "node_names"):
            place[name] = h5py.ExternalLink(str(tmp_path / "secret.h5"), name)
            if place is not file:
                file[name] = h5py.SoftLink(f"/g/{name}")
    with pytest.raises(DataError, match="other files, which are not read"):
        read_pose(tmp_path / "a.h5")
    store = ArrayStore(tmp_path / "a.h5", 1000)
    assert store.names == []
    with pytest.raises(DataError, match="other files, which are not read"):
        store.read("tracks")
