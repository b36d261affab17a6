"""Labels of other programs: ActivityNet's JSON is read, of others it is said how to bring them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....errors import DataError, quoted
from .segments import Annotation, LabelSegment

_TABLE = "Write a table with a row a segment: start,end,label (and video)."
_SUBTITLES = re.compile(r"\d\d:\d\d[,.]\d{3} --> ")
_SECONDS = re.compile(r"\d+(\.\d+)?")


def refuse_stranger(path: Path, lines: list[str]) -> None:
    """Say of a text file of a kind that is known, and not read, what to do.

    Args:
        path: The file.
        lines: Its lines.

    Raises:
        DataError: It is of such a kind.
    """
    head = [line.strip() for line in lines[:8] if line.strip()]
    said = " ".join(head)
    what = remedy = ""
    if "ooTextFile" in said:
        what = "a file of Praat"
        remedy = (
            "Write its tier as a table (Down to Table..., Save as comma-separated file...) and say "
            "--data.columns start=tmin,end=tmax,label=text."
        )
    elif said.startswith("WEBVTT") or _SUBTITLES.search(said):
        what, remedy = "a file of subtitles", _TABLE
    elif said.startswith("<"):
        what, remedy = "XML of a kind that is not read (ELAN's is, named .eaf)", _TABLE
    elif re.search(r"\bactions\b", said) and re.search(r"\bc\d{3} \d", said):
        what = "a table of Charades, whose column 'actions' holds several segments"
        remedy = _TABLE
    elif head and all(map(_is_thumos, head)):
        what = "a list of one class's segments, as THUMOS has them: video, start, end"
        remedy = f"{_TABLE} The class is the file's name."
    if what:
        raise DataError(f"'{path}' is {what}.\n{remedy}")


def _is_thumos(line: str) -> bool:
    video, *times = line.split(maxsplit=3)
    if len(times) != 2 or video.isdecimal():
        return False
    return all(_SECONDS.fullmatch(time) for time in times)


def unknown_project(path: Path, content: Any) -> DataError:
    """Return the error of a JSON file that is not read.

    Args:
        path: The file.
        content: What it holds.
    """
    first = content[0] if isinstance(content, list) and content else content
    keys = set(first) if isinstance(first, Mapping) else set[Any]()
    if {"annotations", "data"} <= keys or {"predictions", "data"} <= keys:
        what = "an export of Label Studio, which is not read"
    elif "shapes" in keys and "imagePath" in keys:
        what = "a file of LabelMe about one image, which is not read"
    elif {"images", "annotations"} <= keys:
        what = "a file of COCO about images"
    elif "_via_img_metadata" in keys or {"filename", "regions", "file_attributes"} <= keys:
        what = "a project of VIA 2, about regions of images; VIA 3 labels times of videos"
    else:
        return DataError(f"'{path}' is a project neither of BORIS nor of VIA, nor ActivityNet's.")
    return DataError(f"'{path}' is {what}.\n{_TABLE}")


def is_activitynet(content: Any) -> bool:
    """Say whether JSON is as ActivityNet has it.

    Args:
        content: What a file holds.
    """
    return isinstance(content, Mapping) and isinstance(content.get("database"), Mapping)


def read_activitynet(path: Path, content: Mapping[str, Any]) -> list[Annotation]:
    """Read ActivityNet's JSON: segments in seconds of many videos.

    Args:
        path: The file.
        content: What it holds.

    Returns:
        One for each video.

    Raises:
        DataError: A segment is none.
    """
    found = []
    for name, video in content["database"].items():
        segments = []
        annotations = video.get("annotations") if isinstance(video, Mapping) else None
        for number, one in enumerate(annotations if isinstance(annotations, list) else [None]):
            segment = one.get("segment") if isinstance(one, Mapping) else None
            label = one.get("label") if isinstance(one, Mapping) else None
            times = segment if isinstance(segment, list) and len(segment) == 2 else []
            if not times or not isinstance(label, str) or not all(map(_is_time, times)):
                raise DataError(
                    f"'{path}', video '{quoted(name)}', annotation {number}: expected "
                    f"segment: [start, end] and a label, got {quoted(one)}."
                )
            if not times[0] < times[1]:
                raise DataError(
                    f"'{path}', video '{quoted(name)}': no time lies in {times[0]} to {times[1]}."
                )
            segments.append(LabelSegment(float(times[0]), float(times[1]), label, number + 1))
        if segments:
            form = "ActivityNet's segments"
            found.append(Annotation(path, form, "seconds", sorted(segments), video=str(name)))
    if not found:
        raise DataError(f"'{path}' holds no labels.")
    return found


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e9
