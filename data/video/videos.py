"""Video files and folders of pictures, with a label for every frame or one for each video.

Shapes: S side of the square pictures, s stride.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from ...errors import DataError, UsageError, at_least, some
from ..cache import cache_folder
from ..formats.folders import refuse_address
from ..spec import VideoSpec
from ..splits import PARTS, Part, draw, shares
from .annotations.reading import AnnotationReading
from .annotations.segments import Annotation, Timing, ends_of
from .annotations.tables import chosen_columns
from .base import VideoLabellingData
from .dataset import LabelledVideo
from .files import Found, LabelledFile, find_videos, read_list
from .media import natural
from .stored import PictureVideo, encoded, open_pictures

_MOST_NAMED = 10  # of many videos that are broken


class VideoData(VideoLabellingData):
    r"""Videos of your own: files with labels beside them, folders of pictures, folders of classes.

    `clip.mp4` has its labels in `clip.csv` beside it, with the columns `frame,label` (a row for
    every frame, from 0) or `start,end,label` (a row for every segment), or as BORIS, ELAN, VIA or
    DeepEthogram write them, or in a file that names the video. A folder `clip/` of pictures has
    them in `clip.csv` beside it or in `labels.csv` in it. Without any, the folder of a video names
    the class of its frames (UCF101, HMDB51). Which it is, is found out and said. A frame's number
    is how many frames the decoder gives before it.

    Pictures are scaled to squares (the whole picture; nothing is cropped), turned as the file says,
    and kept in the cache, 3 S S bytes each. They are decoded again when a file changes.

    Args:
        root: The folder. Its sub-folders train, val and test, where there are any, are the parts.
        image_size: S, the side of the square pictures in pixels.
        stride: s, read one of so many frames. Scores are at the full rate: a label holds until the
            next frame read.
        classes: Names of the classes in the order of their numbers; null: those that occur, sorted.
        background: Names of the classes that edit and F1 leave out; null: none, or the
            checkpoint's.
        train_list: A file that names the training videos, one on each line, as UCF101's
            trainlist01.txt.
        val_list: The same for validation; null with a train_list: a share of its videos,
            `val_fraction`.
        test_list: The same for the test.
        val_fraction: Share of the videos for validation where neither lists nor folders say which;
            0 for none.
        test_fraction: The same for the test.
        split_seed: Start of the pseudo-random numbers that choose those videos.
        columns: Which columns of tables of labels are which, as start=von,label=Verhalten: names,
            or numbers from 1, of start, end, duration, label, frame, video, tier; null: found by
            their names.
        unit: Of start and end in tables: `frames`, `seconds`, or `auto`: what the header says, else
            seconds where there are fractions, else frames.
        ends: Whether a segment's last frame belongs to it, in tables of frames: `excluded`,
            `included`, or `auto`: what the segments say by how they follow each other.
        tiers: The tiers (ELAN), subjects (BORIS) or attributes (VIA) that count; null: all.
        unlabelled: Name of the class of frames that no label is for; null: they have none, and
            count neither in the loss nor in the scores.
        fps: Frames a second of folders of pictures, for labels in seconds.
        broken: What to do about a video that can't be read, or whose labels don't fit it or are
            missing: `error`, or `skip` it, named and counted; `keep` the frames before a damage,
            and skip what has none.
        keep: Keep the pictures in the cache. false: decode them anew in every epoch, for what no
            disk holds.
        cache_features: Keep what a frozen backbone makes of the pictures, in half precision, and
            train on that.
        batch_size: Videos of each process in a batch.
        chunk_length: The most frames of each of them in a batch of the training part, where the
            model's state goes on from batch to batch without its gradient; null: whole videos. A
            core that reads backwards needs whole ones.
        eval_chunk_length: The same for validation and test; only memory depends on it.
        num_workers: Processes that prepare batches ahead; worth it where `keep` is false.
        seed: Start of the pseudo-random numbers that order the training videos.
        cache_dir: Folder for the pictures; null for UNROLLED_CACHE or the user's cache folder.
        spec: A checkpoint's spec: its classes, image size and stride. None for the folder's own.

    Examples:
        >>> from PIL import Image
        >>> video = Path("films/train/one")  # a video as a folder of pictures
        >>> video.mkdir(parents=True)
        >>> for number in range(4):
        ...     Image.new("RGB", (40, 30)).save(video / f"{number}.png")
        >>> _ = Path("films/train/one.csv").write_text("start,end,label\n0,2,still\n2,4,gone\n")
        >>> data = VideoData("films", image_size=16)
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> batch = next(iter(data.train_dataloader()))
        >>> data.spec["classes"], batch.target
        (['gone', 'still'], tensor([[1, 1, 0, 0]]))
    """

    def __init__(
        self,
        root: str,
        *,
        image_size: int = 112,
        stride: int = 1,
        classes: list[str] | None = None,
        background: list[str] | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
        test_list: str | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        columns: str | None = None,
        unit: Literal["auto", "frames", "seconds"] = "auto",
        ends: Literal["auto", "excluded", "included"] = "auto",
        tiers: list[str] | None = None,
        unlabelled: str | None = None,
        fps: float | None = None,
        broken: Literal["error", "skip", "keep"] = "error",
        keep: bool = True,
        cache_features: bool = False,
        batch_size: int = 4,
        chunk_length: int | None = None,
        eval_chunk_length: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        cache_dir: str | None = None,
        spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            stride=stride,
            batch_size=batch_size,
            chunk_length=chunk_length,
            eval_chunk_length=eval_chunk_length,
            num_workers=num_workers,
            seed=seed,
            background=background,
            spec=spec,
        )
        at_least(8, image_size=image_size)
        at_least(0, split_seed=split_seed)
        shares(val_fraction, test_fraction, all_of_it=False)  # checks them
        if (val_list or test_list) and not train_list:
            raise UsageError("val_list and test_list need a train_list beside them.")
        refuse_address(root)
        self.root = Path(root)
        self.image_size = image_size if spec is None else int(spec["image_size"])
        self.classes = classes
        self.lists: dict[Part, str | None] = {
            "train": train_list,
            "val": val_list,
            "test": test_list,
        }
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.split_seed = split_seed
        self.reading = AnnotationReading(chosen_columns(columns), unit, ends, tiers)
        self.unlabelled = unlabelled
        if fps is not None and not 0 < fps < 1e6:
            raise UsageError(f"fps is {fps}; it has to be above 0.")
        self.fps = fps
        self.broken: Literal["error", "skip", "keep"] = broken
        self.keep = keep
        self.cache_dir = cache_dir
        self.cache_features = cache_features
        self._encode: Callable[[Tensor], Tensor] | None = None
        self._encoder_key: Callable[[], str] | None = None
        self._videos: dict[Part, list[PictureVideo]] = {}
        self._labels: dict[str, Annotation] = {}

    @cached_property
    def found(self) -> Found:
        """The videos of the folder and their labels; what was understood of these is said once.

        Raises:
            DataError: Labels or videos are missing, or contradict each other.
        """
        found = find_videos(self.root, self.reading, skip=self.broken != "error")
        labels = [video.labels for video in found.videos if video.labels]
        if not labels:
            return found
        ends, reason = ends_of(labels)
        lines = [self._forms(labels)]
        if any(each.ends == "unsaid" for each in labels):
            lines.append(f"the last frame of a segment is {ends}{f' ({reason})' if reason else ''}")
        if points := Counter(name for each in labels for name in each.points):
            lasting = some(f"{name} {count} x" for name, count in points.items())
            lines.append(f"events that last no time are left out: {lasting}")
        rank_zero_info(f"{self.root}: {'; '.join(lines)}")
        videos = [
            video._replace(labels=video.labels.with_ends(ends)) if video.labels else video
            for video in found.videos
        ]
        return found._replace(videos=videos)

    def _forms(self, labels: list[Annotation]) -> str:
        forms = Counter(f"{each.form}, {each.unit}" for each in labels)
        return "labels as " + "; ".join(f"{form} ({count} x)" for form, count in forms.items())

    @cached_property
    def files(self) -> dict[Part, list[LabelledFile]]:
        """The videos of each part.

        Raises:
            DataError: Labels or videos are missing, or a list names what is not there.
        """
        videos, parts, _ = self.found
        by_name = {video.name: video for video in videos}
        if self.lists["train"]:
            chosen = {
                part: read_list(Path(path), videos) for part, path in self.lists.items() if path
            }
            if not self.lists["val"]:
                chosen["train"], chosen["val"] = self._without_val(chosen["train"])
        elif parts:
            chosen = {part: [name for name in by_name if parts[name] == part] for part in PARTS}
            if not chosen["val"]:
                chosen["train"], chosen["val"] = self._without_val(chosen["train"])
        else:
            rest, test = draw(list(by_name), self.fractions["test"], self.split_seed, 2)
            # of those that are left, as many as val_fraction of all
            train, val = self._without_val(rest, of=1 - self.fractions["test"])
            chosen = {"train": train, "val": val, "test": test}
        seen: dict[str, str] = {}
        for part, names in chosen.items():
            if both := [name for name in names if seen.setdefault(name, part) != part]:
                raise DataError(
                    f"{len(both)} video(s) are in two parts, {both[0]} in {seen[both[0]]} and "
                    f"{part}."
                )
        return {part: [by_name[name] for name in chosen.get(part, [])] for part in PARTS}

    def _without_val(self, names: list[str], of: float = 1.0) -> tuple[list[str], list[str]]:
        """Return the training and the validation videos among some that are this share of all."""
        return draw(names, self.fractions["val"] / of, self.split_seed, 1)

    def own_spec(self) -> dict[str, Any]:
        """Return the classes and the pictures as plain data, a `VideoSpec`."""
        occurring = {
            name for videos in self.files.values() for video in videos for name in video.names()
        }
        if self.unlabelled is not None:
            occurring.add(self.unlabelled)
        return dict(
            VideoSpec(
                classes=self.classes or sorted(occurring, key=natural),
                background=[],
                feature_size=0,
                image_size=self.image_size,
                stride=self.stride,
            )
        )

    def setup(self, stage: str) -> None:
        """Say what there is."""
        rank_zero_info(f"{self.root}: {self.told()}; {len(self.spec['classes'])} classes")
        if len(self.spec["classes"]) == 1 and not self.several:
            rank_zero_info(
                f"Warning: there is one class only, {self.spec['classes'][0]!r}, and nothing to "
                "tell it from. --data.unlabelled none makes a class of the frames without a label."
            )
        if left_out := self.found.media.told(self.root):
            rank_zero_info(left_out)
        if unlabelled := self.told_unlabelled():
            rank_zero_info(
                f"{unlabelled} --data.unlabelled none makes a class of them."
                + (" Are start and end seconds? --data.unit seconds." if self._seconds() else "")
            )

    def _seconds(self) -> bool:
        """Say whether labels in frames would fit the videos as seconds, too, and fill them."""
        ends = []
        for part in PARTS:
            for video in self.videos(part):
                labels = self._labels.get(video.name)
                times = self._timing(video.pictures.timing).times
                if labels is None or labels.unit != "frames" or not len(times):
                    return False
                latest = max((segment.end for segment in labels.segments), default=0.0)
                ends.append(0.5 * times[-1] <= latest <= times[-1] + 2)
        return bool(ends) and all(ends) and self.reading.unit == "auto"

    def videos(self, part: Part) -> list[PictureVideo]:
        """Return the videos of a part, decoded where they are not in the cache yet.

        Raises:
            DataError: Videos can't be read, or their labels don't fit them; all of them are named
                at once.
        """
        if part not in self._videos:
            self._videos[part] = self._open(part)
        return self._videos[part]

    def use_features(self, encode: Callable[[Tensor], Tensor], key: Callable[[], str]) -> None:
        """Hear how a frozen backbone makes features, for `cache_features`.

        Args:
            encode: Turns pictures (n, 3, S, S) uint8 into features (n, D).
            key: Names everything that they depend on, save the pictures.
        """
        self._encode, self._encoder_key = encode, key

    def read_videos(self, part: Part) -> Sequence[LabelledVideo]:
        """Return what batches are made of: the videos, or their features where they are kept.

        Raises:
            UsageError: Nothing says how to make features.
        """
        videos = self.videos(part)
        if not self.cache_features or not videos:
            return videos
        if self._encode is None or self._encoder_key is None:
            raise UsageError(
                "cache_features keeps what a frozen backbone makes of the pictures, and this "
                "model has none. Freeze it, or set --data.cache_features false."
            )
        folder, key = cache_folder(self.cache_dir, kind="features"), self._encoder_key()
        return [encoded(video, self.stride, self._encode, key, folder) for video in videos]

    def _open(self, part: Part) -> list[PictureVideo]:
        numbers = {name: number for number, name in enumerate(self.spec["classes"])}
        cache = cache_folder(self.cache_dir, kind="video")
        damaged: list[str] = []
        found, problems = [], []
        for file in self.files[part]:
            try:
                pictures = open_pictures(
                    file.path,
                    image_size=self.image_size,
                    stride=self.stride,
                    cache=cache,
                    keep=self.keep,
                    tell=damaged.append if self.broken == "keep" else None,
                )
                timing = self._timing(pictures.timing)
                if self.broken == "keep" and timing.whole and file.goes_beyond(timing):
                    # cut where its container doesn't show it
                    damaged.append(
                        f"'{file.path}' ends before its labels do. {timing.frames} frames are kept."
                    )
                    timing = timing._replace(whole=False)
                labels = file.numbers(
                    numbers,
                    timing,
                    several=self.several,
                    unlabelled=self.unlabelled,
                )
                found.append(PictureVideo(file.name, labels, pictures))
                if file.labels:
                    self._labels[file.name] = file.labels
            except DataError as error:
                problems.append(str(error))
        if damaged:
            self._say(
                f"Of {len(damaged)} of {len(self.files[part])} {part} videos the frames up "
                "to a damage are taken:",
                damaged,
            )
        if problems:
            self._tell(part, problems)
            if not found and part == "train":  # who trains needs no other part
                raise DataError(
                    f"None of the {len(problems)} {part} videos in '{self.root}' can be used."
                )
        return found

    def _timing(self, timing: Timing) -> Timing:
        """Return when frames are shown, where nothing says so by their number a second."""
        if self.fps is None or np.isfinite(timing.times).all():
            return timing
        return timing._replace(times=np.arange(timing.frames) / self.fps)

    def _tell(self, part: Part, problems: list[str]) -> None:
        count = f"{len(problems)} of {len(self.files[part])} {part} videos"
        if self.broken != "error":
            self._say(f"Skipped {count}:", problems)
            return
        remedy = (
            "Mend or remove them, leave them out with --data.broken skip, or take the frames "
            "before a damage with --data.broken keep."
        )
        if len(problems) == 1:
            raise DataError(f"{problems[0]}\n{remedy}")
        raise DataError("\n".join([f"{count} can't be used:", *_first(problems), remedy]))

    def _say(self, title: str, lines: list[str]) -> None:
        rank_zero_warn("\n".join([title, *_first(lines)]))


def _first(lines: list[str]) -> list[str]:
    more = [f"... and {len(lines) - _MOST_NAMED} more"] if len(lines) > _MOST_NAMED else []
    return [*lines[:_MOST_NAMED], *more]
