"""Finds out what kind of file labels are in, and reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ....errors import DataError
from ...formats.packed import kind_of, read_blocks
from ...tables import check_size, json_value
from . import boris, elan, via
from .plain import read_plain
from .segments import Annotation
from .strangers import is_activitynet, read_activitynet, unknown_project
from .tables import read_rows

STRONG = (".csv", ".tsv", ".eaf", ".boris", "_labels.csv")
"""How the names of files of labels end; what comes before is the video's name."""

WEAK = (".txt", ".json")
"""The same of files that may be something else: they count where no other is there."""


class AnnotationReading(NamedTuple):
    """How files of labels are to be read.

    Attributes:
        columns: Names of columns by what they are for: start, end, duration, label, frame, video.
        unit: Of start and end in plain tables; `auto`: what header or numbers say.
        ends: Whether a segment's last frame belongs to it, in plain tables of frames.
        tiers: The tiers, subjects or attributes that count; None: all.
    """

    columns: Mapping[str, str] | None = None
    unit: Literal["auto", "frames", "seconds"] = "auto"
    ends: Literal["auto", "excluded", "included"] = "auto"
    tiers: list[str] | None = None


_AS_IT_IS = AnnotationReading()


def read_annotations(path: Path, how: AnnotationReading = _AS_IT_IS) -> list[Annotation]:
    """Return what a file of labels says: one for each video that it is about.

    Args:
        path: The file.
        how: How to read it.

    Raises:
        DataError: It is missing, of no kind that is read, or its rows contradict each other; the
            line is named.
    """
    suffix = kind_of(path)
    if suffix == ".eaf":
        found = [elan.read_eaf(path)]
    elif suffix in (".json", ".boris"):
        found = _read_json(path)
    else:
        rows = read_rows(path)
        if how.columns is None and (header := boris.header_of(rows)) is not None:
            found = boris.read_boris(path, rows, header)
        elif how.columns is None and via.is_via(rows):
            found = via.read_csv(path, rows)
        elif how.columns is None and elan.is_elan(rows):
            found = [elan.read_export(path, rows)]
        else:
            found = read_plain(path, rows, columns=how.columns, unit=how.unit, ends=how.ends)
    return [annotation.of_tiers(how.tiers) for annotation in found]


def read_frame_labels(path: Path) -> Annotation:
    """Return what a file of labels of one video says; segments' ends are not included.

    Args:
        path: The file.

    Raises:
        DataError: As for `read_annotations`, or it is about several videos.
    """
    found = read_annotations(path, AnnotationReading(ends="excluded"))
    if len(found) > 1:
        raise DataError(f"'{path}' is about {len(found)} videos, not about one.")
    return found[0]


def _read_json(path: Path) -> list[Annotation]:
    try:
        check_size(path)
        content: Any = json_value(b"".join(read_blocks(path, f"'{path}'")), f"'{path}'")
    except FileNotFoundError as error:
        raise DataError(f"There is no file of labels '{path}'.") from error
    except OSError as error:
        raise DataError(f"'{path}' can't be read: {error.strerror or error}.") from error
    if isinstance(content, dict) and "behaviors_conf" in content:
        return boris.read_project(path, content)
    if isinstance(content, dict) and {"metadata", "view", "file"} <= content.keys():
        return via.read_project(path, content)
    if is_activitynet(content):
        return read_activitynet(path, content)
    raise unknown_project(path, content)
