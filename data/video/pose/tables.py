"""Tables of poses: DeepLabCut's (.csv, .h5) and SLEAP's analysis files (.h5).

Shapes: T frames, I individuals, K parts of a body.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ....errors import DataError, quoted, some
from ...formats.hdf5 import open_file, whole_array
from ...tables import csv_rows, read_lines
from .pandas_files import is_pandas, read_blocks

MAX_NUMBERS = 1 << 28
"""Numbers of a table at most: 2 GB of them."""

_FAR = 1e7  # pixels: no picture is as large
_HEADER = ("scorer", "individuals", "bodyparts", "coords")


class Pose(NamedTuple):
    """Where the parts of bodies are.

    Attributes:
        points: x and y in pixels (T, I, K, 2), NaN where a part was not found.
        sure: How sure that is, 0 to 1 (T, I, K).
        parts: The names of the parts.
    """

    points: npt.NDArray[np.float64]
    sure: npt.NDArray[np.float64]
    parts: list[str]


def read_pose(path: Path) -> Pose:
    """Read a table of poses.

    Args:
        path: The file: DeepLabCut's `.csv` or `.h5`, or SLEAP's analysis `.h5`.

    Raises:
        DataError: It is missing, damaged, too large, or of another kind.
        SetupError: An `.h5` needs h5py, which is not installed.
    """
    if not path.is_file():
        raise DataError(f"There is no table of poses '{path}'.")
    pose = (_read_hdf5 if path.suffix.lower() in (".h5", ".hdf5") else _read_csv)(path)
    if pose.points.size and (far := np.nanmax(np.abs(pose.points), initial=0)) > _FAR:
        raise DataError(f"'{path}' has a part {far:.3g} pixels away: it is damaged.")
    return pose


def _read_csv(path: Path) -> Pose:
    """Read rows of scorer, (individuals,) bodyparts and coords, then a row a frame."""
    rows = csv_rows(read_lines(path), f"'{path}'")
    header: dict[str, list[str]] = {}
    body: list[tuple[int, list[str]]] = []
    for line, row in rows:
        name = row[0].strip().lower() if row else ""
        if name in _HEADER and not body:
            header[name] = [value.strip() for value in row[1:]]
        elif row:
            body.append((line, row))
    if "bodyparts" not in header or "coords" not in header or not body:
        raise DataError(
            f"'{path}' is no table of DeepLabCut: expected rows scorer, bodyparts and coords, then "
            "a row a frame."
        )
    everybody = header.get("individuals") or ["single"] * len(header["bodyparts"])
    columns = list(zip(everybody, header["bodyparts"], header["coords"], strict=False))
    _check(path, len(body) * len(columns))
    values = np.full((len(body), len(columns)), np.nan)
    for number, (line, row) in enumerate(body):
        for place, value in enumerate(row[1 : len(columns) + 1]):
            if not value.strip():
                continue
            try:
                values[number, place] = float(value)
            except ValueError:
                raise DataError(
                    f"'{path}', line {line}: expected numbers, got {quoted(value)}."
                ) from None
    return _of_columns(path, columns, values)


def _of_columns(
    path: Path, columns: Sequence[tuple[str, str, str]], values: npt.NDArray[np.float64]
) -> Pose:
    """Put columns of (individual, part, what) in their places.

    Parts that belong to no animal, as corners of a box do, are of an individual `single`: they are
    left out where there are others.
    """
    parts = list(dict.fromkeys(part for _, part, _ in columns))
    everybody = list(dict.fromkeys(person for person, _, _ in columns))
    individuals = [name for name in everybody if name != "single"] or everybody
    shape = (len(values), len(individuals), len(parts))
    _check(path, 3 * int(np.prod(shape, dtype=object)))
    found = {name: np.full(shape, np.nan) for name in ("x", "y", "likelihood")}
    for (person, part, what), column in zip(columns, values.T, strict=True):
        if person in individuals and what in found:
            found[what][:, individuals.index(person), parts.index(part)] = column
    sure: npt.NDArray[np.float64] = np.asarray(np.nan_to_num(found["likelihood"], nan=0.0))
    if np.isnan(found["likelihood"]).all():
        sure = np.isfinite(found["x"]).astype(np.float64)
    return Pose(np.stack((found["x"], found["y"]), -1), sure, parts)


def _read_hdf5(path: Path) -> Pose:
    """Read what SLEAP or DeepLabCut wrote; nothing is executed."""
    with open_file(path) as file:
        if is_pandas(file):
            blocks = read_blocks(path, file, partial(_array, path))
            columns = [_three(path, column) for names, _ in blocks for column in names]
            return _of_columns(path, columns, np.concatenate([b[1] for b in blocks], 1))
        if "tracks" not in file or "node_names" not in file:
            raise DataError(
                f"'{path}' is neither SLEAP's nor DeepLabCut's: it holds {some(file.keys())}."
            )
        return _of_sleap(path, file)


def _three(path: Path, column: tuple[str, ...]) -> tuple[str, str, str]:
    """Return (individual, part, what) of DeepLabCut's names, the scorer before them."""
    if len(column) == 3:
        return "single", column[1], column[2]
    if len(column) == 4:
        return column[1], column[2], column[3]
    raise DataError(
        f"'{path}' is no table of DeepLabCut: its columns have {len(column)} names, not 3 or 4."
    )


def _of_sleap(path: Path, file: Any) -> Pose:
    """Read `tracks` (I, 2, K, T), `node_names` and `point_scores`."""
    tracks = _array(path, file["tracks"], 4)
    names = _array(path, file["node_names"], 1)
    scores = _array(path, file["point_scores"], 3) if "point_scores" in file else None
    parts = [
        name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names
    ]
    points = tracks.transpose(3, 0, 2, 1).astype(np.float64)  # (T, I, K, 2)
    if points.shape[2:] != (len(parts), 2):
        raise DataError(f"'{path}': tracks are {tracks.shape}, and there are {len(parts)} nodes.")
    sure: npt.NDArray[np.float64] = np.asarray(np.isfinite(points).all(-1), dtype=np.float64)
    if scores is not None and scores.shape == (*tracks.shape[:1], *tracks.shape[2:]):
        sure = np.asarray(np.nan_to_num(scores.transpose(2, 0, 1).astype(np.float64)))
    return Pose(points, sure, parts)


def _array(path: Path, data: Any, dims: int = 0) -> npt.NDArray[Any]:
    """Return a data set of an HDF5 file whose size was looked at first."""
    shape = getattr(data, "shape", None)
    if shape is None or (dims and len(shape) != dims):
        raise DataError(
            f"'{path}': {data.name} has {shape} numbers, expected {dims or 'some'} axes."
        )
    return whole_array(path, data, MAX_NUMBERS)


def _check(path: Path, numbers: int) -> None:
    if numbers > MAX_NUMBERS:
        raise DataError(
            f"'{path}' claims {numbers:,} numbers; more than {MAX_NUMBERS:,} are not read."
        )


def features_of(
    pose: Pose, *, center: str | None = None, scale: bool = True, least: float = 0.6
) -> npt.NDArray[np.float32]:
    """Return a frame's features: every part's x and y around the body's middle, in body lengths.

    A part that is not sure is where it lay last (or next, before the first time that it is). Each
    body's middle and length come first: where it moves, and how it stretches.

    Args:
        pose: The pose.
        center: The part that is the middle; None: the mean of all.
        scale: Divide by the body's length: the median over frames of the largest distance between
            two parts, so that cameras and animals of all sizes give the same.
        least: What is less sure was not found.

    Returns:
        (T, I (2 K + 3)) float32: of each individual its parts, its middle's step since the frame
        before, and its length now.

    Raises:
        DataError: There is no such part, or nothing was found.
    """
    if center is not None and center not in pose.parts:
        raise DataError(f"center: there is no part '{center}'; there are {some(pose.parts)}.")
    points = np.where((pose.sure >= least)[..., None], pose.points, np.nan)
    frames, people, parts, _ = points.shape
    rows = []
    for person in range(people):
        body = _filled(points[:, person].reshape(frames, 2 * parts)).reshape(frames, parts, 2)
        middle = body.mean(1) if center is None else body[:, pose.parts.index(center)]  # (T, 2)
        apart = np.linalg.norm(body[:, :, None] - body[:, None], axis=-1)  # (T, K, K)
        length = apart.reshape(frames, -1).max(1)  # (T,)
        unit = float(np.median(length)) if scale else 1.0
        unit = unit if unit > 0 else 1.0
        step = np.diff(middle, axis=0, prepend=middle[:1])  # (T, 2)
        around = (body - middle[:, None]).reshape(frames, 2 * parts)
        rows.append(np.concatenate((around, step, length[:, None]), 1) / unit)
    return np.concatenate(rows, 1).astype(np.float32)


def _filled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Put the last number where there is none; before the first the next one; else 0."""
    known = np.isfinite(values)
    last = np.where(known, np.arange(len(values))[:, None], -1)
    last = np.maximum.accumulate(last, 0)
    first = np.where(known.any(0), known.argmax(0), 0)
    last = np.where(last < 0, first, last)
    return np.nan_to_num(np.take_along_axis(values, last, 0), posinf=0.0, neginf=0.0)
