"""Features instead of pictures: where they lie, what form they have, what is wrong with them."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from caption_features import COUNT, SIZE, Bomb, made, rows, seen, write_captions
from unrolled.data import CaptionData
from unrolled.errors import DataError, UsageError


def write_files(root: Path, arrays: dict[str, np.ndarray] | None = None) -> None:
    folder = root / "features"
    folder.mkdir()
    for name, array in (arrays or {f"im{n}": rows(n) for n in range(COUNT)}).items():
        np.save(folder / f"{name}.npy", array)


def write_npz(root: Path) -> None:
    np.savez_compressed(root / "features.npz", **{f"im{n}.jpg": rows(n) for n in range(COUNT)})


def write_h5(root: Path) -> None:
    """As detectors' files have it: boxes beside the features."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(root / "features.h5", "w") as file:
        for n in range(COUNT):
            file[f"im{n}_features"], file[f"im{n}_boxes"] = rows(n), np.zeros((1, 4))


@pytest.mark.parametrize("write", [write_files, write_npz, write_h5])
def test_each_image_has_its_own_features(write, tmp_path):
    write_captions(tmp_path)
    write(tmp_path)
    data = made(tmp_path)
    assert data.spec["feature_size"] == SIZE
    assert data.spec["image_size"] == 0
    found = seen(data)
    assert found.keys() == {f"im{number}.jpg" for number in range(COUNT)}
    for number in range(COUNT):
        assert np.array_equal(found[f"im{number}.jpg"].numpy(), rows(number))
    again = pickle.loads(pickle.dumps(data.pictures("train")))  # as workers get it
    assert torch.equal(again.read(0), data.pictures("train").read(0))


def test_grids_and_vectors_become_the_same_rows(tmp_path):
    write_captions(tmp_path)
    grid = np.arange(4 * SIZE, dtype=np.float32).reshape(2, 2, SIZE)
    arrays = {f"im{n}": rows(n) for n in range(COUNT)}
    arrays |= {"im0": grid, "im1": grid.transpose(2, 0, 1)[None], "im2": grid.reshape(4, SIZE)}
    write_files(tmp_path, {**arrays, "im3": rows(0)[0]})
    found = seen(made(tmp_path))
    for number in range(3):
        assert np.array_equal(found[f"im{number}.jpg"].numpy(), grid.reshape(4, SIZE))
    assert found["im3.jpg"].shape == (1, SIZE)


def test_numbers_name_the_features_where_names_do_not(tmp_path):
    images = [{"id": 40 + n, "file_name": f"COCO_{n}.jpg"} for n in range(COUNT)]
    said = [{"image_id": 40 + n, "caption": f"thing {n}"} for n in range(COUNT)]
    content = {"images": images, "annotations": said}
    (tmp_path / "captions.json").write_text(json.dumps(content))
    write_files(tmp_path, {str(40 + n): rows(n) for n in range(COUNT)})
    found = seen(made(tmp_path))
    assert [float(found[f"COCO_{n}.jpg"][0, 0]) for n in range(COUNT)] == list(range(COUNT))


def test_what_is_missing_or_wrong_is_counted_and_named(tmp_path):
    write_captions(tmp_path)
    arrays = {f"im{n}": rows(n) for n in range(1, COUNT)}
    arrays["im3"] = np.zeros((2, SIZE + 1), np.float32)
    arrays["im4"] = np.zeros((2, 2, 2, 2, SIZE), np.float32)
    write_files(tmp_path, arrays)
    with pytest.raises(DataError, match="3 of the 8 images") as caught:
        made(tmp_path).references("train")
    for said in ("'im0.jpg': has no features", "'im3.jpg': has 7 features", "'im4.jpg': has the"):
        assert said in str(caught.value)
    with pytest.warns(UserWarning, match="3 of the 8 images"):
        assert len(seen(made(tmp_path, missing="skip"))) == COUNT - 3


@pytest.mark.parametrize("whole", [False, True])
def test_objects_are_not_unpickled(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_captions(tmp_path)
    objects = np.array([Bomb()], dtype=object)
    if whole:
        np.savez(tmp_path / "features.npz", im0=objects, im1=rows(1))
    else:
        write_files(tmp_path, {"im0": rows(0), "im1": objects})
    with pytest.raises(DataError, match="of the 8 images"):
        made(tmp_path).references("train")
    assert not (tmp_path / "exploded").exists()


def test_a_claim_of_too_many_numbers_is_refused_before_they_are_read(tmp_path):
    write_captions(tmp_path)
    with zipfile.ZipFile(tmp_path / "features.npz", "w") as file, file.open("im0.npy", "w") as one:
        fields = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, SIZE)}
        np.lib.format.write_array_header_1_0(one, fields)
    with pytest.raises(DataError, match="claims 6,597,069,766,656 numbers"):
        made(tmp_path).references("train")


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    write_captions(tmp_path)
    arrays = {f"im{n}": rows(n) for n in range(COUNT)}
    arrays["im5"][0, 1] = np.nan
    write_files(tmp_path, arrays)
    with pytest.raises(DataError, match="'im5' has a feature that is not finite"):
        seen(made(tmp_path))


def test_a_model_of_the_other_kind_is_refused(tmp_path):
    write_captions(tmp_path)
    write_files(tmp_path)
    spec = made(tmp_path).spec
    with pytest.raises(UsageError, match="takes features, and these data are pictures"):
        CaptionData(str(tmp_path), spec=spec)
    with pytest.raises(UsageError, match="takes pictures, and these data are features"):
        made(tmp_path, spec={"vocabulary": spec["vocabulary"], "image_size": 8})


def test_two_places_of_features_are_named(tmp_path):
    write_captions(tmp_path)
    write_files(tmp_path)
    write_npz(tmp_path)
    with pytest.raises(UsageError, match=r"features, features.npz. Name them with --data.features"):
        made(tmp_path).references("train")
    assert made(tmp_path, features=str(tmp_path / "features.npz")).spec["feature_size"] == SIZE
