"""Labels as the VGG Image Annotator writes them: its projects (JSON) and its CSV export.

Dutta and Zisserman 2019, https://www.robots.ox.ac.uk/~vgg/software/via/. Times are seconds.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from ....errors import DataError, quoted
from ...tables import json_value
from .segments import Annotation, LabelSegment
from .tables import Rows

_COLUMNS = ["metadata_id", "file_list", "flags", "temporal_coordinates", "spatial_coordinates"]


def is_via(rows: Rows) -> bool:
    """Say whether a table is VIA's: six columns, of which several hold JSON.

    Args:
        rows: The rows; VIA's header is a comment, and not among them.
    """
    if not rows:
        return False
    row = rows[0][1]
    named = [name.lower() for name in row[:5]] == _COLUMNS
    return named or (len(row) == 6 and [row[n][:1] for n in (1, 3, 4, 5)] == ["[", "[", "[", "{"])


def read_csv(path: Path, rows: Rows) -> list[Annotation]:
    """Return what an export says of each of its videos.

    Args:
        path: The file.
        rows: Its rows.

    Raises:
        DataError: A cell is no JSON, or there is no segment.
    """
    found: dict[str, list[LabelSegment]] = defaultdict(list)
    points: dict[str, list[str]] = defaultdict(list)
    for line, row in rows:
        if [name.lower() for name in row[:5]] == _COLUMNS:
            continue
        label = f"'{path}', line {line}"
        try:
            files, times, said = (json_value(row[n], label) for n in (1, 3, 5))
            _add(found, points, [str(files[0])], times, said, {}, line)
        except (
            IndexError,
            TypeError,
            KeyError,
            AttributeError,
            ValueError,
            OverflowError,
        ) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{label}: expected a row of VIA, got {quoted(str(row), 80)}."
            ) from None
    return _annotations(path, "VIA, exported", found, points)


def read_project(path: Path, project: Any) -> list[Annotation]:
    """Return what a project says of each of its videos.

    Args:
        path: The file.
        project: Its JSON.

    Raises:
        DataError: It is no such project, or has no segment.
    """
    found: dict[str, list[LabelSegment]] = defaultdict(list)
    points: dict[str, list[str]] = defaultdict(list)
    try:
        options = {
            str(key): {
                **{str(k): str(v) for k, v in (attribute.get("options") or {}).items()},
                "": str(attribute.get("aname", key)),
            }
            for key, attribute in (project.get("attribute") or {}).items()
        }
        names = {
            str(view): [str(project["file"][str(key)]["fname"]) for key in content["fid_list"]]
            for view, content in project["view"].items()
        }
        for each in project["metadata"].values():
            _add(found, points, names[str(each["vid"])], each["z"], each["av"], options, 0)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise DataError(f"'{path}' is no project of VIA: {quoted(repr(error), 100)}.") from error
    return _annotations(path, "VIA, a project", found, points)


def _add(
    found: dict[str, list[LabelSegment]],
    points: dict[str, list[str]],
    files: list[str],
    times: Any,
    said: Any,
    options: dict[str, dict[str, str]],
    line: int,
) -> None:
    for attribute, value in said.items():
        known = options.get(str(attribute), {})
        for part in str(value).split(",") if known else [str(value)]:
            label = known.get(part, part).strip()
            if not label:
                continue
            if len(times) < 2 or float(times[1]) <= float(times[0]):
                points[files[0]].append(label)
                continue
            tier = known.get("", str(attribute))
            start, end = float(times[0]), float(times[1])
            found[files[0]].append(LabelSegment(start, end, label, line, tier))


def _annotations(
    path: Path, form: str, found: dict[str, list[LabelSegment]], points: dict[str, list[str]]
) -> list[Annotation]:
    if not found:
        raise DataError(f"'{path}' holds no segment with a label.")
    return [
        Annotation(path, form, "seconds", sorted(its), video=video, points=tuple(points[video]))
        for video, its in found.items()
    ]
