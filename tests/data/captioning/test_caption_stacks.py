"""Features in databases, and in one array for all images."""

from __future__ import annotations

import io
import json
import pickle
import sys

import numpy as np
import pytest
from caption_features import COUNT, SIZE, Bomb, made, rows, seen, write_captions
from unrolled.data.captioning.features import open_source
from unrolled.errors import DataError, SetupError

STACK = np.arange(COUNT * 2 * SIZE, dtype=np.float32).reshape(COUNT, 2, SIZE)  # (N, R, D)
ORDER = [3, 1, 0, 2, *range(4, COUNT)]
NAMES = [f"im{number}.jpg" for number in ORDER]


def npy(array: np.ndarray) -> bytes:
    np.save(file := io.BytesIO(), array)
    return file.getvalue()


def npz(array: np.ndarray) -> bytes:
    np.savez_compressed(file := io.BytesIO(), features=array, norm_bb=np.zeros((1, 7)))
    return file.getvalue()


def packed(array: np.ndarray) -> bytes:
    """As msgpack-numpy writes it, beside the places of the regions."""
    one = {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape}
    msgpack = pytest.importorskip("msgpack")
    return msgpack.packb({"features": {**one, b"data": array.tobytes()}, "norm_bb": [1, 2]})


def write_database(path, values: dict[str, bytes], **settings) -> None:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), map_size=1 << 26, **settings) as file, file.begin(write=True) as into:
        for key, value in values.items():
            into.put(key.encode(), value)


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("value", [npy, npz, packed])
def test_each_image_has_its_own_value_of_a_database(value, folder, tmp_path):
    write_captions(tmp_path)
    values = {f"im{n}.npz": value(rows(n)) for n in range(COUNT)}
    values["__keys__"] = pickle.dumps(list(values))
    write_database(tmp_path / "features.lmdb", values, subdir=folder)
    found = seen(made(tmp_path))
    assert len(found) == COUNT
    for number in range(COUNT):
        assert np.array_equal(found[f"im{number}.jpg"].numpy(), rows(number))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (pickle.dumps({"features": Bomb()}), "it is a pickle, which is not read"),
        (b"\x04\x22\x4d\x18" + bytes(9), "compressed by lz4"),
        (rows(0).tobytes(), "it is no .npy, .npz or msgpack; save values as .npy"),
        (b"", "it is empty"),
        (npy(np.array([Bomb()], dtype=object)), "it holds Python objects"),
        (npy(rows(0))[:90], "can't be read"),
    ],
)
def test_values_that_are_not_read_are_told(value, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_captions(tmp_path)
    write_database(tmp_path / "features.lmdb", {f"im{n}": value for n in range(COUNT)})
    with pytest.raises(DataError, match=said) as caught:
        made(tmp_path).references("train")
    assert str(caught.value).count("\n") <= 1
    assert not (tmp_path / "exploded").exists()


def test_what_reads_msgpack_is_named(tmp_path, monkeypatch):
    write_database(tmp_path / "a.lmdb", {"im0": packed(rows(0))})
    monkeypatch.setitem(sys.modules, "msgpack", None)
    arrays, name = open_source(tmp_path / "a.lmdb").arrays["im0"]
    with pytest.raises(SetupError, match=r"needs msgpack, .*\s+Try: pip install msgpack"):
        arrays.read(name)


def write_txt(root):
    np.save(root / "features.npy", STACK)
    (root / "features_ids.txt").write_text("\n".join(NAMES) + "\n\n", encoding="utf-8-sig")


def write_json(root):
    """One array alone in a folder, and the rows by number."""
    (root / "features").mkdir()
    np.save(root / "features/clip.npy", STACK)
    rows_of = {name: row for row, name in enumerate(NAMES)}
    (root / "features/ids.json").write_text(json.dumps(dict(sorted(rows_of.items()))))


def write_ids(root):
    np.save(root / "features.npy", STACK)
    np.save(root / "ids.npy", np.array([f"D:\\images\\{name}" for name in NAMES]))


def write_npz(root):
    np.savez(root / "features.npz", image_features=STACK, image_ids=np.array(NAMES))


def write_h5(root):
    h5py = pytest.importorskip("h5py")
    with h5py.File(root / "features.h5", "w") as file:
        file["features"], file["boxes"] = STACK, np.zeros((COUNT, 2, 4))
        file["ids"] = NAMES


@pytest.mark.parametrize("write", [write_txt, write_json, write_ids, write_npz, write_h5])
def test_each_image_has_its_row_of_an_array(write, tmp_path):
    write_captions(tmp_path)
    write(tmp_path)
    data = made(tmp_path)
    found = seen(data)
    assert len(found) == COUNT
    for row, number in enumerate(ORDER):
        assert np.array_equal(found[f"im{number}.jpg"].numpy(), STACK[row])
    again = pickle.loads(pickle.dumps(data.pictures("train")))  # as workers get it
    assert np.array_equal(again.read(0), data.pictures("train").read(0))


def test_one_row_an_image_is_one_region(tmp_path):
    write_captions(tmp_path)
    np.save(tmp_path / "features.npy", STACK[:, 0])
    (tmp_path / "features.txt").write_text("\n".join(NAMES))
    assert seen(made(tmp_path))["im3.jpg"].tolist() == [STACK[0, 0].tolist()]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (None, "nothing says whose its rows are: write the images' names into 'features_ids.txt'"),
        (NAMES[1:], "has 8 rows, and .* names 7 images"),
        ([*NAMES[1:], NAMES[1]], "names 'im1.jpg' twice"),
    ],
)
def test_rows_and_names_that_do_not_agree(names, said, tmp_path):
    write_captions(tmp_path)
    np.save(tmp_path / "features.npy", STACK)
    if names is not None:
        (tmp_path / "ids.txt").write_text("\n".join(names))
    with pytest.raises(DataError, match=said):
        made(tmp_path).references("train")
