"""Which files and folders are videos: by what is in them, not by what they are called."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ...errors import DataError
from ..formats.folders import files_in
from ..images import is_image
from .frames import PICTURE_SUFFIXES, VIDEO_SUFFIXES, natural, open_video

# what lies beside videos and is none, whatever FFmpeg thinks of it
_TEXT = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".md", ".yaml", ".yml", ".xml", ".eaf", ".npy")


class Media(NamedTuple):
    """What a folder holds.

    Attributes:
        found: Video files, and folders of pictures that stand for videos, in the order of the
            numbers in their names.
        left: Pictures beside videos, and files that are neither.
    """

    found: list[Path]
    left: list[Path]


def media_in(folder: Path) -> Media:
    """Return the videos of a folder and of its folders; hidden ones are left alone.

    A folder stands for a video if it holds pictures, and neither it nor a folder in it holds
    videos: one stray picture hides none.

    Args:
        folder: The folder.
    """
    videos: list[Path] = []
    pictures: dict[Path, list[Path]] = {}
    left: list[Path] = []
    for path in files_in(folder):
        suffix = path.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            videos.append(path)
        elif suffix in PICTURE_SUFFIXES:
            pictures.setdefault(path.parent, []).append(path)
        elif suffix not in _TEXT and not is_image(path) and is_video(path):
            videos.append(path)
        else:
            left.append(path)
    taken = {above for path in videos for above in path.parents}
    taken |= {above for holder in pictures for above in holder.parents}
    for holder, inside in pictures.items():
        if holder in taken:
            left += inside
        else:
            videos.append(holder)
    order = {path: natural(str(path.relative_to(folder))) for path in videos}
    return Media(sorted(videos, key=lambda path: order[path]), left)


def is_video(path: Path) -> bool:
    """Say whether a file is a video of a kind that is read.

    Args:
        path: The file.
    """
    try:
        with open_video(path):
            return True
    except DataError:
        return False
