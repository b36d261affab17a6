"""Tables of poses: DeepLabCut's CSV and SLEAP's analysis files (.h5).

Shapes: T frames, I individuals, K parts of a body.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ....errors import DataError, SetupError, quoted, some
from ...tables import csv_rows, read_lines

MAX_NUMBERS = 1 << 28
"""Numbers of a table at most: 2 GB of them."""

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
        path: The file: DeepLabCut's `.csv`, or SLEAP's analysis `.h5`.

    Raises:
        DataError: It is missing, damaged, too large, or of another kind.
        SetupError: An `.h5` needs h5py, which is not installed.
    """
    if not path.is_file():
        raise DataError(f"There is no table of poses '{path}'.")
    if path.suffix.lower() in (".h5", ".hdf5"):
        return _read_sleap(path)
    return _read_deeplabcut(path)


def _read_deeplabcut(path: Path) -> Pose:
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
    parts = list(dict.fromkeys(header["bodyparts"]))
    everybody = header.get("individuals") or ["one"] * len(header["bodyparts"])
    individuals = [name for name in dict.fromkeys(everybody) if name != "single"] or ["single"]
    shape = (len(body), len(individuals), len(parts))
    _check(path, 3 * int(np.prod(shape)))
    found = {name: np.full(shape, np.nan) for name in ("x", "y", "likelihood")}
    places = []
    for person, part, what in zip(everybody, header["bodyparts"], header["coords"], strict=False):
        fits = person in individuals and what in found
        places.append((what, individuals.index(person), parts.index(part)) if fits else None)
    for number, (line, row) in enumerate(body):
        for place, value in zip(places, row[1:], strict=False):
            if place is None or not value.strip():
                continue
            try:
                found[place[0]][number, place[1], place[2]] = float(value)
            except ValueError:
                raise DataError(
                    f"'{path}', line {line}: expected numbers, got {quoted(value)}."
                ) from None
    sure: npt.NDArray[np.float64] = np.asarray(np.nan_to_num(found["likelihood"], nan=0.0))
    if np.isnan(found["likelihood"]).all():
        sure = np.isfinite(found["x"]).astype(np.float64)
    return Pose(np.stack((found["x"], found["y"]), -1), sure, parts)


def _read_sleap(path: Path) -> Pose:
    """Read `tracks` (I, 2, K, T), `node_names` and `point_scores`; nothing is executed."""
    try:
        import h5py
    except ImportError as error:
        raise SetupError(
            f"'{path}' needs h5py to be read: pip install 'unrolled[pose]', or export a CSV."
        ) from error
    try:
        with h5py.File(path, "r") as file:
            if "tracks" not in file or "node_names" not in file:
                raise DataError(
                    f"'{path}' is no analysis file of SLEAP: it holds {some(file.keys())}, not "
                    "tracks and node_names. Of DeepLabCut, take the CSV (save_as_csv=True)."
                )
            tracks = _array(path, file["tracks"], 4)
            names = _array(path, file["node_names"], 1)
            scores = _array(path, file["point_scores"], 3) if "point_scores" in file else None
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"'{path}' is no whole HDF5 file: {quoted(str(error), 100)}.") from error
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


def _array(path: Path, data: Any, dims: int) -> npt.NDArray[Any]:
    """Return a data set of an HDF5 file whose size was looked at first."""
    shape = getattr(data, "shape", None)
    if shape is None or len(shape) != dims:
        raise DataError(f"'{path}': {data.name} has {shape} numbers, expected {dims} axes.")
    _check(path, int(np.prod([int(size) for size in shape], dtype=object)))
    if data.is_virtual or data.external:
        raise DataError(f"'{path}': {data.name} lies in other files, which are not read.")
    return np.asarray(data[()])


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
