"""Which labelled videos a folder holds: each with a CSV, or in folders named after classes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from lightning.pytorch.utilities import rank_zero_warn

from ...errors import DataError, did_you_mean, some
from ..tables import read_lines
from .frames import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from .labels import FrameLabels, read_frame_labels
from .media import media_in

_PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


class LabelledFile(NamedTuple):
    """A video and where its labels are.

    Attributes:
        name: Its path within the root.
        path: The video file, or the folder of pictures.
        labels: What its CSV says; None where its folder's name is its class.
        label: The class of all its frames then.
    """

    name: str
    path: Path
    labels: FrameLabels | None
    label: str

    def names(self) -> set[str]:
        """Return the names of the classes that occur."""
        return self.labels.names() if self.labels else {self.label}

    def numbers(self, classes: dict[str, int], frames: int) -> npt.NDArray[np.int64]:
        """Return the class of every frame (frames,), -100 where it has none.

        Args:
            classes: Numbers by name.
            frames: How many frames the video has.

        Raises:
            DataError: The labels don't fit the frames, or name an unknown class.
        """
        if self.labels:
            return self.labels.numbers(classes, frames)
        if self.label not in classes:
            raise DataError(
                f"'{self.path}': there is no class "
                f"'{self.label}'.{did_you_mean(self.label, classes)}"
            )
        return np.full(frames, classes[self.label], dtype=np.int64)


def find_videos(root: Path) -> tuple[list[LabelledFile], dict[str, str]]:
    """Return the labelled videos of a folder, in the order of the numbers in their names.

    Three layouts are told apart: `clip.mp4` with `clip.csv` beside it; a folder `clip/` of pictures
    with `clip.csv` beside it or `labels.csv` in it; and, where there is no CSV at all,
    `CLASS/clip.avi`, every frame of which is of the class (UCF101 and HMDB51).

    Args:
        root: The folder. Sub-folders `train`, `val` and `test`, where there are any, are the parts.

    Returns:
        The videos, and the part of each by its name; empty where there are no such sub-folders.

    Raises:
        DataError: There is no video, or some lack their labels (all of them are named at once), or
            a CSV is wrong.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder '{root}'.")
    media, left = media_in(root)
    if stray := [path for path in left if path.suffix.lower() in PICTURE_SUFFIXES]:
        strays = some(path.relative_to(root).as_posix() for path in stray)
        rank_zero_warn(f"{len(stray)} picture(s) beside videos are left out: {strays}.")
    if not media:
        raise DataError(
            f"'{root}' holds no videos ({', '.join(VIDEO_SUFFIXES)}) and no folders of pictures."
        )
    tables = {path: _table(path) for path in media}
    names = {path: path.relative_to(root).as_posix() for path in media}
    parts = {
        names[path]: _PARTS[first]
        for path in media
        if (first := path.relative_to(root).parts[0]) in _PARTS
    }
    if parts and len(parts) < len(media):
        outside = [names[path] for path in media if names[path] not in parts]
        raise DataError(
            f"'{root}' has folders for its parts, and {len(outside)} video(s) in none: "
            f"{some(outside)}."
        )
    if any(tables.values()):
        _check_tables(root, media, tables)
        videos = [
            LabelledFile(names[path], path, read_frame_labels(table), "")
            for path, table in tables.items()
            if table
        ]
        return videos, parts
    loose = [names[path] for path in media if len(path.relative_to(root).parts) < 2 + bool(parts)]
    if loose:
        raise DataError(
            f"{len(loose)} video(s) in '{root}' have no labels: {some(loose)}.\n"
            "Put a CSV with the columns frame,label (or start,end,label) beside each: clip.csv for "
            "clip.mp4; or sort the videos into folders named after their classes."
        )
    return [LabelledFile(names[path], path, None, path.parent.name) for path in media], parts


def _table(path: Path) -> Path | None:
    """Return the CSV with a video's labels, where there is one."""
    places = (
        [path / "labels.csv", path.parent / f"{path.name}.csv"]
        if path.is_dir()
        else [path.with_suffix(".csv")]
    )
    return next((place for place in places if place.is_file()), None)


def _check_tables(root: Path, media: list[Path], tables: dict[Path, Path | None]) -> None:
    """Refuse videos without a CSV where others have one, and CSVs without a video, all at once."""
    bare = [path.relative_to(root).as_posix() for path in media if tables[path] is None]
    used = set(tables.values())
    idle = [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*.csv"))
        if path not in used
    ]
    problems = []
    if bare:
        problems.append(f"{len(bare)} video(s) have no CSV of labels: {some(bare)}")
    if idle:
        problems.append(f"{len(idle)} CSV(s) have no video: {some(idle)}")
    if problems:
        raise DataError(
            f"'{root}': {'; '.join(problems)}.\n"
            "Every video needs a CSV of its own name: clip.mp4, clip.csv."
        )


def read_list(path: Path, videos: list[LabelledFile]) -> list[str]:
    """Return the names that a list of videos gives: the first word of each line.

    Its suffix may be left out. UCF101's `trainlist01.txt` is such a list. Paths that hold a space
    need quotes.

    Args:
        path: The list.
        videos: All there are.

    Raises:
        DataError: There is no such list, it is empty, or it names videos that are not there (all
            are told at once).
    """
    lines = read_lines(path, missing=f"There is no list of videos '{path}'.")
    known = {video.name: video.name for video in videos} | {
        os.path.splitext(video.name)[0]: video.name for video in videos
    }
    # white space in front would hide a quote
    wanted = [
        line.split('"')[1] if line.startswith('"') else line.split()[0]
        for line in map(str.strip, lines)
        if line
    ]
    if not wanted:
        raise DataError(f"'{path}' names no videos.")
    if unknown := [
        name for name in wanted if name not in known and os.path.splitext(name)[0] not in known
    ]:
        raise DataError(
            f"'{path}' names {len(unknown)} video(s) that are not there: {some(unknown)}."
        )
    return [known.get(name) or known[os.path.splitext(name)[0]] for name in wanted]
