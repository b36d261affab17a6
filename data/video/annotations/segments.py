"""Segments with labels, in frames or in seconds, and the classes of frames that they make.

Shapes: T frames of a video, C classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ....errors import DataError, did_you_mean, quoted, some
from ..dataset import IGNORED

Unit = Literal["frames", "seconds"]
_PAST = 1.0  # seconds: annotators stop the last label where the sound ends, or the player


class LabelSegment(NamedTuple):
    """A stretch of a video with one label.

    Attributes:
        start: The first frame, or when it begins in seconds.
        end: The frame after the last (the last one where ends are included), or when it ends in
            seconds; infinity for the video's end.
        label: The name of the class; empty where it is said that there is none.
        line: Where the file says so; 0 where it has no lines.
        tier: The tier (ELAN), subject (BORIS) or attribute (VIA) that it belongs to.
    """

    start: float
    end: float
    label: str
    line: int = 0
    tier: str = ""


class Timing(NamedTuple):
    """The frames of a video.

    Attributes:
        frames: T.
        times: When each is shown, in seconds since the first (T,); NaN where nothing says so.
        whole: Whether these are all of its frames, not those before a damage.
    """

    frames: int
    times: npt.NDArray[np.float64]
    whole: bool = True


class Annotation(NamedTuple):
    """What a file says of one video.

    Attributes:
        path: The file.
        form: What kind of file it is, for people.
        unit: Of start and end.
        segments: The segments.
        every_frame: Whether the file has a row for every frame, so that it says how many there are.
        ends: Whether the frame `end` belongs to the segment; `unsaid` where the file doesn't say.
        video: The name of the video, where the file names it.
        points: Names of events that last no time, each as often as it occurs.
        classes: The classes that the file has a place for, whether they occur or not.
    """

    path: Path
    form: str
    unit: Unit
    segments: list[LabelSegment]
    every_frame: bool = False
    ends: Literal["excluded", "included", "unsaid"] = "excluded"
    video: str = ""
    points: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def names(self) -> set[str]:
        """Return the names of the classes that occur, or that the file has a place for."""
        return {segment.label for segment in self.segments} - {""} | set(self.classes)

    def of_tiers(self, tiers: Sequence[str] | None) -> Annotation:
        """Return what some tiers say.

        Args:
            tiers: Their names; None: all.

        Raises:
            DataError: None of them is there.
        """
        if tiers is None:
            return self
        there = sorted({segment.tier for segment in self.segments})
        if not set(there) & set(tiers):
            raise DataError(
                f"'{self.path}' has no tier {some(tiers)}; its tiers (subjects, attributes) are "
                f"{some(map(repr, there))}."
            )
        return self._replace(segments=[each for each in self.segments if each.tier in tiers])

    def with_ends(self, ends: Literal["excluded", "included"]) -> Annotation:
        """Return the same where it is known whether the last frame belongs to a segment.

        Args:
            ends: Whether it does; where the file says so itself, that goes before.

        Raises:
            DataError: It does not, and a segment has no other.
        """
        if self.ends != "unsaid":
            return self
        if ends == "excluded":
            for segment in self.segments:
                if segment.start == segment.end:
                    raise DataError(
                        f"{self._where(segment)}: no frame lies in {segment.start:.15g} to "
                        f"{segment.end:.15g} (not included).\nAre ends included? "
                        "--data.ends included."
                    )
        return self._replace(ends=ends)

    def go_beyond(self, timing: Timing) -> bool:
        """Say whether there are labels after the video's last frame.

        Args:
            timing: The video's frames.
        """
        latest = max((each.end for each in self.segments if not math.isinf(each.end)), default=0)
        if self.unit == "frames":
            return latest > timing.frames
        return timing.frames > 0 and latest > timing.times[-1] + _PAST

    def numbers(self, classes: Mapping[str, int], frames: int) -> npt.NDArray[np.int64]:
        """Return the class of every frame (T,), -100 where it has none; see `one_label`.

        Args:
            classes: Numbers by name.
            frames: T.
        """
        return self.one_label(classes, Timing(frames, np.full(frames, np.nan)))

    def one_label(
        self, classes: Mapping[str, int], timing: Timing, *, unlabelled: str | None = None
    ) -> npt.NDArray[np.int64]:
        """Return the class of every frame (T,), -100 where it has none.

        Args:
            classes: Numbers by name.
            timing: The video's frames.
            unlabelled: The class of frames in no segment; None: none.

        Raises:
            DataError: The labels don't fit the video, name an unknown class, or a frame has two.
        """
        rest = IGNORED if unlabelled is None else self._number(unlabelled, 0, classes)
        numbers = np.full(timing.frames, rest, dtype=np.int64)
        taken = np.full(timing.frames, -1)  # the segment of each frame
        for place, (segment, start, end) in enumerate(self._spans(timing)):
            number = self._number(segment.label, segment.line, classes)
            clash = (taken[start:end] >= 0) & (numbers[start:end] != number)
            if clash.any():
                frame = start + int(clash.argmax())
                raise DataError(
                    f"{self._where(segment)}: frame {frame} has a label already "
                    f"('{self._named(numbers[frame], classes)}' before "
                    f"'{quoted(segment.label)}').\n"
                    "Several labels a frame: --model.multilabel true; one tier or subject only: "
                    "--data.tiers."
                )
            numbers[start:end] = number
            taken[start:end] = place
        return numbers

    def several_labels(self, classes: Mapping[str, int], timing: Timing) -> npt.NDArray[np.int64]:
        """Return which classes every frame has (T, C): 1, 0, or -100 where nothing is known.

        Args:
            classes: Numbers by name.
            timing: The video's frames.

        Raises:
            DataError: The labels don't fit the video, or name an unknown class.
        """
        found = np.zeros((timing.frames, len(classes)), dtype=np.int64)
        for segment, start, end in self._spans(timing):
            if segment.label:
                found[start:end, self._number(segment.label, segment.line, classes)] = 1
            else:
                found[start:end] = IGNORED
        return found

    def _spans(self, timing: Timing) -> list[tuple[LabelSegment, int, int]]:
        """Return each segment with its first frame and the one after its last."""
        if self.unit == "seconds":
            return self._timed(timing)
        added = self.ends == "included"
        frames = timing.frames
        spans = [
            (
                segment,
                int(segment.start),
                frames if math.isinf(segment.end) else int(segment.end) + added,
            )
            for segment in self.segments
        ]
        end = max((end for _, _, end in spans), default=0)
        if timing.whole and (end > frames or (self.every_frame and end < frames)):
            few = "many" if end > frames else "few"
            raise DataError(
                f"'{self.path}' labels {end} frames, too {few}: the video has {frames}."
            )
        return [(segment, start, min(end, frames)) for segment, start, end in spans]

    def _timed(self, timing: Timing) -> list[tuple[LabelSegment, int, int]]:
        """Find frames by their time: one belongs to a segment that more than half of it lies in.

        So a time that was rounded, as all programs do, is of the frame that it was taken from.
        """
        times = timing.times
        if not np.isfinite(times).all():
            raise DataError(
                f"'{self.path}' is in seconds, and nothing says when the video's frames are shown."
                "\nSay how many there are a second: --data.fps 30."
            )
        if not len(times):
            return []
        lasting = np.diff(times) if len(times) > 1 else np.array([0.0])
        lasting = np.append(lasting, np.median(lasting))
        length = float(times[-1] + lasting[-1])
        latest = max((segment.end for segment in self.segments), default=0.0)
        if timing.whole and latest > length + _PAST:
            raise DataError(
                f"'{self.path}' labels {latest:.2f} s, too many: the video has {length:.2f} s."
            )
        middles = times + lasting / 2
        return [
            (segment, *np.searchsorted(middles, (segment.start, segment.end)).tolist())
            for segment in self.segments
        ]

    def _number(self, label: str, line: int, classes: Mapping[str, int]) -> int:
        if not label:
            return IGNORED
        if label not in classes:
            where = f", line {line}" if line else ""
            raise DataError(
                f"'{self.path}'{where}: there is no class '{quoted(label)}'."
                f"{did_you_mean(label, classes)}"
            )
        return classes[label]

    def _named(self, number: int, classes: Mapping[str, int]) -> str:
        return next((quoted(name) for name, known in classes.items() if known == number), "none")

    def _where(self, segment: LabelSegment) -> str:
        return f"'{self.path}'" + (f", line {segment.line}" if segment.line else "")


def ends_of(annotations: Sequence[Annotation]) -> tuple[Literal["excluded", "included"], str]:
    """Find out whether the last frame of segments belongs to them, where the files don't say.

    Where one segment begins with the frame at which the one before ends, that frame can't be of
    both; where segment after segment begins one frame later, or one has a single frame, it is.

    Args:
        annotations: Files that were made in one way.

    Returns:
        Which it is, and why, for people; no reason where nothing speaks for either.

    Raises:
        DataError: Both occur.
    """
    excluded = included = 0
    for annotation in annotations:
        if annotation.unit != "frames" or annotation.ends != "unsaid":
            continue
        spans = sorted((segment.start, segment.end) for segment in annotation.segments)
        included += sum(start == end for start, end in spans)
        for (_, end), (start, _) in itertools.pairwise(spans):
            excluded += start == end
            included += start == end + 1
    if excluded and included:
        raise DataError(
            f"Segments of '{annotations[0].path.parent}' begin at the frame where the one before "
            f"ends ({excluded} x), and one frame later ({included} x).\n"
            "Say whether the last frame belongs to a segment: --data.ends included or excluded."
        )
    if included:
        return (
            "included",
            f"segments end one frame before the next, or with their first, {included} x",
        )
    return "excluded", f"segments begin where the one before ends, {excluded} x" if excluded else ""
