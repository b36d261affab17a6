"""Writes labels as BORIS and ELAN read them, so that they can be corrected there."""

from __future__ import annotations

import datetime
import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

_KEYS = string.ascii_lowercase + string.digits
_TIER = "labels"


class Stretch(NamedTuple):
    """A stretch of a video with one label.

    Attributes:
        start: When it begins, in seconds.
        end: When it ends.
        label: The name of the class.
    """

    start: float
    end: float
    label: str


def write_boris(
    path: Path, video: Path, stretches: Sequence[Stretch], classes: Sequence[str], fps: float
) -> None:
    """Write a project of BORIS (Open project): an observation of the video, and its ethogram.

    Args:
        path: The file, `.boris`.
        video: The video.
        stretches: Its labels; those of one class don't overlap.
        classes: The behaviours.
        fps: Frames a second, as the project says them.
    """
    place = str(video.absolute())
    events: list[list[Any]] = []
    for stretch in stretches:
        for at in (stretch.start, stretch.end):
            events.append([round(at, 4), "", stretch.label, "", "", round(at * fps)])
    events.sort(key=lambda event: float(event[0]))
    now = datetime.datetime.now().isoformat(timespec="seconds")
    observation = {
        "file": {str(player): [place] if player == 1 else [] for player in range(1, 9)},
        "type": "MEDIA",
        "date": now,
        "description": "labelled by unrolled",
        "time offset": 0.0,
        "events": events,
        "observation time interval": [0, 0],
        "independent_variables": {},
        "time offset second player": 0.0,
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "media_creation_date_as_offset": False,
        "scan_sampling_time": 0,
        "image_display_duration": 1,
        "media_info": {
            "length": {place: max((stretch.end for stretch in stretches), default=0.0)},
            "fps": {place: fps},
            "hasVideo": {place: True},
            "hasAudio": {place: False},
            "offset": {"1": 0.0},
        },
    }
    behaviours = {
        str(number): {
            "type": "State event",
            "key": _KEYS[number % len(_KEYS)],
            "code": name,
            "description": "",
            "color": "",
            "category": "",
            "modifiers": {},
            "excluded": "",
            "coding map": "",
        }
        for number, name in enumerate(classes)
    }
    project = {
        "time_format": "hh:mm:ss",
        "project_date": now,
        "project_name": video.stem,
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": {},
        "behaviors_conf": behaviours,
        "observations": {video.stem: observation},
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    path.write_text(json.dumps(project, ensure_ascii=False, indent=1), encoding="utf-8")


def write_eaf(path: Path, video: Path, stretches: Sequence[Stretch], tiers: Sequence[str]) -> None:
    """Write an .eaf of ELAN: the video, and a tier with its labels.

    Args:
        path: The file, `.eaf`.
        video: The video.
        stretches: Its labels.
        tiers: The classes, each with a tier of its own where labels overlap; none: one tier.
    """
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "unrolled",
            "DATE": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    ElementTree.SubElement(
        header,
        "MEDIA_DESCRIPTOR",
        MEDIA_URL=video.absolute().as_uri(),
        MIME_TYPE="video/mp4" if video.suffix.lower() == ".mp4" else "video/*",
    )
    order = ElementTree.SubElement(root, "TIME_ORDER")
    nodes = {
        name: ElementTree.SubElement(root, "TIER", LINGUISTIC_TYPE_REF="default-lt", TIER_ID=name)
        for name in (tiers or [_TIER])
    }
    for number, stretch in enumerate(stretches, 1):
        slots = {}
        for role, at in ((1, stretch.start), (2, stretch.end)):
            slots[f"TIME_SLOT_REF{role}"] = name = f"ts{2 * number - 2 + role}"
            value = str(round(1000 * at))
            ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=name, TIME_VALUE=value)
        tier = nodes[stretch.label if tiers else _TIER]
        annotation = ElementTree.SubElement(
            ElementTree.SubElement(tier, "ANNOTATION"),
            "ALIGNABLE_ANNOTATION",
            {"ANNOTATION_ID": f"a{number}", **slots},
        )
        ElementTree.SubElement(annotation, "ANNOTATION_VALUE").text = stretch.label
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID="default-lt",
        TIME_ALIGNABLE="true",
    )
    ElementTree.indent(root)
    path.write_bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))
