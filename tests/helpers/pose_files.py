"""Tables of poses as DeepLabCut and SLEAP write them; HDF5 as pandas stores it."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np

PARTS = ["nose", "back", "tail"]
COORDS = ("x", "y", "likelihood")


def poses(frames: int = 12, people: int = 1, seed: int = 0) -> np.ndarray:
    """Points (T, I, K, 2)."""
    return np.random.default_rng(seed).normal(200, 30, (frames, people, 3, 2)).cumsum(0) / 10


def _columns(people: int) -> list[tuple[str, ...]]:
    names = [f"mouse{number}" for number in range(people)]
    if people == 1:
        return list(itertools.product(["net"], PARTS, COORDS))
    return list(itertools.product(["net"], names, PARTS, COORDS))


def _values(points: np.ndarray, sure: np.ndarray | None) -> np.ndarray:
    sure = np.ones(points.shape[:3]) if sure is None else sure
    return np.concatenate((points, sure[..., None]), -1).reshape(len(points), -1)


def deeplabcut(path: Path, points: np.ndarray, sure: np.ndarray | None = None) -> Path:
    columns = list(zip(*_columns(points.shape[1]), strict=True))
    heads = ["scorer", "individuals", "bodyparts", "coords"]
    if len(columns) == 3:
        heads.remove("individuals")
    lines = [[head, *names] for head, names in zip(heads, columns, strict=True)]
    lines += [
        [str(number), *map(repr, map(float, row))]
        for number, row in enumerate(_values(points, sure))
    ]
    path.write_text("".join(",".join(line) + "\n" for line in lines))
    return path


def deeplabcut_table(path: Path, points: np.ndarray, kind: bytes | None = None) -> Path:
    """As `DataFrame.to_hdf(format="table")`: the names are a pickle of protocol 0."""
    import h5py

    values = _values(points, None)
    rows = np.zeros(len(values), [("index", "<i8"), ("values_block_0", "<f8", values.shape[1])])
    rows["values_block_0"] = values
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        group["table"] = rows
        kind = pickle.dumps(_columns(points.shape[1]), 0) if kind is None else kind
        group["table"].attrs["values_block_0_kind"] = np.bytes_(kind)
    return path


def deeplabcut_fixed(path: Path, points: np.ndarray) -> Path:
    """As `DataFrame.to_hdf()`: names and numbers are arrays."""
    import h5py

    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame")
        group.attrs["nblocks"] = 1
        columns = list(zip(*_columns(points.shape[1]), strict=True))
        group.attrs["block0_items_nlevels"] = len(columns)
        for level, names in enumerate(columns):
            known = sorted(set(names))
            group[f"block0_items_level{level}"] = np.array([name.encode() for name in known])
            places = [known.index(name) for name in names]
            group[f"block0_items_label{level}"] = np.array(places, np.int8)
        group["block0_values"] = _values(points, None)
    return path


def sleap(path: Path, points: np.ndarray) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        file["tracks"] = points.transpose(1, 3, 2, 0)
        file["node_names"] = np.array([name.encode() for name in PARTS])
        file["point_scores"] = np.ones((points.shape[1], 3, len(points)))
    return path
