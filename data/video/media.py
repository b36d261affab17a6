"""Which files and folders are videos, by their names, and which are left out."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DataError, some
from ..images import is_image
from .opening import open_video

_VIDEOS = """
3g2 3gp amv asf avi cine dav divx dv dvr-ms evo f4v flv gif gxf h264 h265 hevc ivf m1v m2t m2ts m2v
m4v mj2 mjpeg mjpg mk3d mkv mod mov mp4 mpe mpeg mpg mpv mts mxf nsv nut ogm ogv ogx qt rm rmvb ser
tod ts vob webm wmv wtv xvid y4m
"""
_PICTURES = "bmp jfif jpe jpeg jpg pgm png ppm tif tiff webp"
# what lies beside videos, and is no video that was forgotten
_OTHERS = """
csv tsv txt json jsonl eaf pfsx boris xml yaml yml md pdf npy npz h5 hdf5 srt vtt sums log html docx
xlsx ods mat pickle pkl slp doc rtf ini db
"""
VIDEO_SUFFIXES, PICTURE_SUFFIXES, _BESIDE = (
    frozenset(f".{name}" for name in names.split()) for names in (_VIDEOS, _PICTURES, _OTHERS)
)


class Media(NamedTuple):
    """What a folder holds.

    Attributes:
        videos: Video files, and folders of pictures that stand for one.
        beside: Files of kinds that lie beside videos, as their labels do.
        left_out: Files that are neither: pictures beside videos, and what is of no known kind.
    """

    videos: list[Path]
    beside: list[Path]
    left_out: list[Path]

    def told(self, root: Path) -> str:
        """Return what was left out, counted and named; empty for nothing.

        Args:
            root: The folder.
        """
        if not self.left_out:
            return ""
        names = some(path.relative_to(root).as_posix() for path in self.left_out)
        return f"{len(self.left_out)} file(s) in '{root}' are no videos and left out: {names}"


def media_in(folder: Path) -> Media:
    """Return the videos of a folder and of those in it, in the order of the numbers in their names.

    A folder with pictures stands for a video where no videos are in it. Hidden files are left
    alone, and links are followed, each folder once.

    Args:
        folder: The folder.

    Raises:
        DataError: It can't be read.
    """
    found = Media([], [], [])
    try:
        _look(folder, found, set())
    except OSError as error:
        raise DataError(f"'{folder}' can't be read: {error.strerror or error}.") from error
    for paths in found:
        paths.sort(key=lambda path: natural(str(path.relative_to(folder))))
    return found


def _look(folder: Path, found: Media, seen: set[str]) -> None:
    if (real := os.path.realpath(folder)) in seen:
        return
    seen.add(real)
    with os.scandir(folder) as there:
        entries = sorted(
            (entry for entry in there if not entry.name.startswith(".")),
            key=lambda entry: entry.name,
        )
    files = [Path(entry.path) for entry in entries if entry.is_file()]
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    before = len(found.videos)
    known = VIDEO_SUFFIXES | PICTURE_SUFFIXES | _BESIDE
    for file in files:
        if (suffix := file.suffix.lower()) in VIDEO_SUFFIXES:
            found.videos.append(file)
        elif suffix not in known:
            (found.videos if _is_video(file) else found.left_out).append(file)
    for entry in entries:
        if entry.is_dir():
            _look(Path(entry.path), found, seen)
    if pictures and len(found.videos) == before:
        found.videos.append(folder)
    else:
        found.left_out.extend(pictures)
    found.beside.extend(file for file in files if file.suffix.lower() in _BESIDE)


def _is_video(path: Path) -> bool:
    """Say whether a file whose name says nothing is a video of a kind that is read."""
    if is_image(path):
        return False
    try:
        with open_video(path, whole=False):
            return True
    except DataError:
        return False


def is_pictures(folder: Path) -> bool:
    """Say whether a folder stands for a video: it holds pictures and no videos.

    Args:
        folder: The folder.
    """
    return media_in(folder).videos == [folder]


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder in the order of their numbers: 2.png before 10.png.

    Args:
        folder: The folder.

    Raises:
        DataError: There is none.
    """
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != "."
    ]
    if not found:
        raise DataError(f"'{folder}' holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))}).")
    return sorted(found, key=lambda path: natural(path.name))


def natural(name: str) -> list[Any]:
    """Return a key that sorts names by the numbers in them.

    Args:
        name: The name.
    """
    found: list[Any] = []
    for text, digits in re.findall(r"([^0-9]+)|([0-9]+)", name):
        number = digits.lstrip("0")
        # by their length first, as numbers are: int() refuses thousands of digits
        found.append((1, 0, text) if text else (0, len(number), number))
    return found
