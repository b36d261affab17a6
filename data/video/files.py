"""Which labelled videos a folder holds: each with its labels, or in folders named after classes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import DataError, did_you_mean, some
from ..tables import read_lines
from .annotations.reading import STRONG, WEAK, AnnotationReading, read_annotations
from .annotations.segments import Annotation, Timing
from .media import VIDEO_SUFFIXES, Media, media_in

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
        labels: What its file of labels says; None where its folder's name is its class.
        label: The class of all its frames then.
    """

    name: str
    path: Path
    labels: Annotation | None
    label: str

    def names(self) -> set[str]:
        """Return the names of the classes that occur."""
        return self.labels.names() if self.labels else {self.label}

    def goes_beyond(self, timing: Timing) -> bool:
        """Say whether there are labels after the video's last frame.

        Args:
            timing: The video's frames.
        """
        return bool(self.labels and self.labels.go_beyond(timing))

    def numbers(
        self,
        classes: dict[str, int],
        timing: Timing,
        *,
        several: bool = False,
        unlabelled: str | None = None,
    ) -> npt.NDArray[np.int64]:
        """Return the class of every frame (T,), -100 where it has none.

        Args:
            classes: Numbers by name.
            timing: The video's frames.
            several: Return which classes each frame has instead, (T, C).
            unlabelled: The class of frames that no label is for; None: none.

        Raises:
            DataError: The labels don't fit the frames, or name an unknown class.
        """
        if self.labels and several:
            return self.labels.several_labels(classes, timing)
        if self.labels:
            return self.labels.one_label(classes, timing, unlabelled=unlabelled)
        if self.label not in classes:
            raise DataError(
                f"'{self.path}': there is no class "
                f"'{self.label}'.{did_you_mean(self.label, classes)}"
            )
        number = classes[self.label]
        if several:
            return np.tile(np.arange(len(classes)) == number, (timing.frames, 1)).astype(np.int64)
        return np.full(timing.frames, number, dtype=np.int64)


class Found(NamedTuple):
    """The labelled videos of a folder.

    Attributes:
        videos: The videos.
        parts: The part of each by its name; empty where no sub-folders say so.
        media: What the folder holds.
    """

    videos: list[LabelledFile]
    parts: dict[str, str]
    media: Media


def find_videos(
    root: Path,
    how: AnnotationReading = AnnotationReading(),  # noqa: B008
    *,
    skip: bool = False,
) -> Found:
    """Return the labelled videos of a folder, in the order of the numbers in their names.

    Told apart are: `clip.mp4` with a file of labels beside it (`clip.csv`, `clip.eaf`, ...); a
    folder `clip/` of pictures with one beside it or `labels.csv` in it; a file that names the
    videos whose labels it has; and, where there are no labels at all, `CLASS/clip.avi`, every frame
    of which is of the class (UCF101 and HMDB51).

    Args:
        root: The folder. Sub-folders `train`, `val` and `test`, where there are any, are the parts.
        how: How files of labels are to be read.
        skip: Leave out, with a warning, videos without labels where others have some, and labels
            without a video.

    Raises:
        DataError: There is no video, or some lack their labels (all of them are named at once), or
            a file of labels is wrong.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder '{root}'.")
    there = media_in(root)
    media = [path for path in there.videos if path != root]
    if not media:
        what = "pictures, which need a folder for each video" if there.videos else "no videos"
        raise DataError(
            f"'{root}' holds {what}: no file whose name ends as a video's ({some(_common())}, ...) "
            "and no folder of pictures."
        )
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
    written = _Written()
    own = {path: table for path in media if (table := _table(path, written))}
    labels = {path: _of_one(path, read_annotations(table, how)) for path, table in own.items()}
    idle, unread = _share_out(there, set(own.values()), labels, media, root, how)
    if labels or idle:
        bare = [path for path in media if path not in labels]
        if bare and unread:  # it may be what they lack
            raise next(iter(unread.values()))
        idle += [path.relative_to(root).as_posix() for path in unread]
        _check(root, [names[path] for path in bare], idle, skip and bool(labels))
        known = [path for path in media if path in labels]
        videos = [LabelledFile(names[path], path, labels[path], "") for path in known]
        left = {video.name for video in videos}
        return Found(videos, {name: part for name, part in parts.items() if name in left}, there)
    there.left_out.extend(unread)
    loose = [names[path] for path in media if len(path.relative_to(root).parts) < 2 + bool(parts)]
    if loose:
        raise DataError(
            f"{len(loose)} video(s) in '{root}' have no labels: {some(loose)}.\n"
            "Put a CSV with the columns frame,label (or start,end,label) beside each: clip.csv for "
            "clip.mp4, or what BORIS, ELAN or VIA write; or sort the videos into folders named "
            "after their classes."
        )
    videos = [LabelledFile(names[path], path, None, path.parent.name) for path in media]
    return Found(videos, parts, there)


def _common() -> list[str]:
    return [suffix for suffix in (".mp4", ".mov", ".avi", ".mkv") if suffix in VIDEO_SUFFIXES]


class _Written(dict[Path, list[Path]]):
    """The files of folders, each folder listed once."""

    def __missing__(self, folder: Path) -> list[Path]:
        with os.scandir(folder) as entries:
            self[folder] = found = [Path(entry.path) for entry in entries if entry.is_file()]
        return found

    def as_written(self, place: Path) -> list[Path]:
        """Return a file as its suffix is written: `clip.CSV` is `clip.csv`."""
        suffix = place.suffix.lower()
        return [
            path
            for path in self[place.parent]
            if path.stem == place.stem and path.suffix.lower() == suffix
        ]


def _table(path: Path, written: _Written) -> Path | None:
    """Return the file with a video's labels, where there is one.

    Raises:
        DataError: There are several.
    """
    stems = [path.parent / path.name] if path.is_dir() else [path.with_suffix(""), path]
    for suffixes in (STRONG, WEAK):
        places = [stem.with_name(stem.name + suffix) for stem in stems for suffix in suffixes]
        if path.is_dir():
            places = [*(path / f"labels{suffix}" for suffix in suffixes), *places]
        there = [found for place in dict.fromkeys(places) for found in written.as_written(place)]
        if suffixes is WEAK:  # a text beside a video may be anything
            there = [place for place in there if _reads(place)]
        if len(there) > 1:
            raise DataError(
                f"'{path}' has {len(there)} files of labels: {some(p.name for p in there)}; leave "
                "one there."
            )
        if there:
            return there[0]
    return None


def _reads(path: Path) -> bool:
    try:
        return bool(read_annotations(path))
    except DataError:
        return False


def _of_one(path: Path, found: list[Annotation]) -> Annotation:
    """Return what a file beside a video says of it."""
    if len(found) == 1:
        return found[0]
    fitting = [annotation for annotation in found if _same(annotation.video, path)]
    if len(fitting) != 1:
        raise DataError(
            f"'{found[0].path}' is about {len(found)} videos ("
            f"{some(annotation.video for annotation in found)}), and {len(fitting)} of them are "
            f"'{path.name}'."
        )
    return fitting[0]


def _same(name: str, path: Path) -> bool:
    """Say whether a file of labels means a video: by its name, with or without its suffix."""
    said = name.replace("\\", "/").rpartition("/")[2]
    return said in (path.name, path.stem) or os.path.splitext(said)[0] == path.stem


def _share_out(
    there: Media,
    used: set[Path],
    labels: dict[Path, Annotation],
    media: list[Path],
    root: Path,
    how: AnnotationReading,
) -> tuple[list[str], dict[Path, DataError]]:
    """Give what files say of videos that they name to these.

    Returns:
        Labels that have no video, and files that can't be read.
    """
    idle, unread = [], {}
    for table in there.beside:
        weak = table.suffix.lower() in WEAK
        if table in used or not (weak or table.suffix.lower() in STRONG):
            continue
        try:
            found = read_annotations(table, how)
        except DataError as error:
            if not weak:
                unread[table] = error
            continue
        for annotation in found:
            fitting = [path for path in media if _same(annotation.video, path)]
            longer = [path for path in fitting if _ends_alike(annotation.video, path)]
            fitting = longer if len(longer) == 1 else fitting
            if annotation.video and len(fitting) == 1 and fitting[0] not in labels:
                labels[fitting[0]] = annotation
            elif annotation.video or not weak:
                what = f" ({annotation.video})" if annotation.video else ""
                idle.append(table.relative_to(root).as_posix() + what)
    return idle, unread


def _ends_alike(name: str, path: Path) -> bool:
    parts = name.replace("\\", "/").split("/")
    return path.as_posix().endswith("/".join(parts[-2:])) and len(parts) > 1


def _check(root: Path, bare: list[str], idle: list[str], skip: bool) -> None:
    """Refuse videos without labels where others have some, and labels without a video, at once.

    With `skip` they are counted and named in a warning.
    """
    problems = []
    if bare:
        problems.append(f"{len(bare)} video(s) have no CSV of labels: {some(bare)}")
    if idle:
        problems.append(f"{len(idle)} CSV(s) have no video: {some(idle)}")
    if problems and skip:
        from lightning.pytorch.utilities import rank_zero_warn  # readers of labels need none of it

        rank_zero_warn(f"Skipped in '{root}': {'; '.join(problems)}.")
    elif problems:
        raise DataError(
            f"'{root}': {'; '.join(problems)}.\n"
            "Every video needs a file of labels of its own name (clip.mp4, clip.csv), or a table "
            "that names it; --data.broken skip leaves them out."
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
