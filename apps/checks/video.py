"""What `unrolled check` looks at in labelled videos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...data.splits import PARTS, Part
from ...data.video.base import VideoLabellingData
from ...data.video.dataset import LabelledVideo
from ...errors import DataError, some
from .reading import Read
from .report import Report, percent, spread

_NAMED = 12  # classes of which a line is printed
_RARE_SHARE = 0.001  # of the frames
_RARE_VIDEOS = 2
_ALL = 0.9  # share of one class with which a model that knows nothing does well


def look(read: Read, report: Report) -> None:
    """Look at labelled videos.

    Args:
        read: The data, `VideoLabellingData`.
        report: Where to say it.
    """
    data = read.data
    assert isinstance(data, VideoLabellingData)
    stops = getattr(data, "broken", None) == "error"
    if stops:
        data.broken = "skip"  # type: ignore[attr-defined]  # so that all of them are named
    before = len(report.doubts)
    with report.hearing():
        videos = {part: _videos(data, part, report) for part in PARTS}
        if videos["train"]:
            data.setup("fit")
    if stops and any(doubt.startswith("Skipped ") for doubt in report.doubts[before:]):
        report.stop("`fit` stops at videos that can't be used; --data.broken skip leaves them out")
    classes = data.spec["classes"]
    labels = {part: [np.asarray(video.labels) for video in found] for part, found in videos.items()}
    report.tell(
        "videos",
        ", ".join(
            f"{part} {len(each)} ({sum(map(len, each)):,} frames)" for part, each in labels.items()
        ),
    )
    if not labels["train"]:
        return
    report.tell("lengths", f"{spread([*map(len, labels['train'])])} frames")
    counts = {part: _counts(each, len(classes)) for part, each in labels.items()}
    _tell_classes(classes, counts, labels["train"], report)
    for part, each in labels.items():
        frames = sum(map(len, each))
        unlabelled = sum(int((one < 0).sum()) for one in each)
        if unlabelled:
            report.tell("unlabelled", f"{part}: {percent(unlabelled, frames)} frames")
        silent = [
            video.name for video, one in zip(videos[part], each, strict=True) if (one < 0).all()
        ]
        if silent:
            report.doubt(
                f"{part}: {len(silent):,} video(s) have no label at all: {some(silent, 3)}"
            )
    for part in ("val", "test"):
        both = {one.name for one in videos[part]} & {one.name for one in videos["train"]}
        if both:
            report.doubt(
                f"{part}: {len(both):,} video(s) are in the training part too: {some(both)}"
            )


def _videos(data: VideoLabellingData, part: Part, report: Report) -> Sequence[LabelledVideo]:
    """Return the videos of a part, none where all are broken: the other parts are looked at too."""
    try:
        return data.videos(part)
    except DataError as error:
        report.doubt(" ".join(str(error).split()))
        return []


def _counts(labels: list[npt.NDArray[np.int64]], classes: int) -> npt.NDArray[np.int64]:
    """Return the frames of each class."""
    total = np.zeros(classes, np.int64)
    for one in labels:
        total += np.bincount(one[one >= 0], minlength=classes)
    return total


def _tell_classes(
    classes: list[str],
    counts: dict[Part, npt.NDArray[np.int64]],
    train: list[npt.NDArray[np.int64]],
    report: Report,
) -> None:
    frames = int(counts["train"].sum())
    inside = np.array(
        [sum(bool((one == number).any()) for one in train) for number in range(len(classes))]
    )
    order = np.argsort(-counts["train"], kind="stable").tolist()
    report.tell("classes", f"{len(classes):,}")
    for number in order[:_NAMED]:
        report.tell(
            "",
            f"{classes[number]}: {percent(counts['train'][number], frames)} training frames, in "
            f"{inside[number]:,} video(s)",
        )
    if len(order) > _NAMED:
        report.tell("", f"and {len(order) - _NAMED:,} rarer classes")
    if frames and counts["train"].max() >= _ALL * frames:
        most = classes[order[0]]
        report.doubt(
            f"train: {percent(counts['train'].max(), frames)} frames are '{most}': a model that "
            "says nothing else is right as often; look at F1, not at accuracy"
        )
    never = [name for number, name in enumerate(classes) if not counts["train"][number]]
    rare = [
        name
        for number, name in enumerate(classes)
        if counts["train"][number]
        and (inside[number] < _RARE_VIDEOS or counts["train"][number] < _RARE_SHARE * frames)
    ]
    if never:
        report.doubt(f"train: {len(never):,} class(es) never occur: {some(never)}")
    if rare:
        report.doubt(
            f"train: {len(rare):,} class(es) are in one video only, or in less than one frame of a "
            f"thousand: {some(rare)}"
        )
    for part in ("val", "test"):
        lacking = [
            name
            for number, name in enumerate(classes)
            if counts["train"][number] and counts[part].any() and not counts[part][number]
        ]
        if lacking:
            report.doubt(f"{part}: {len(lacking):,} class(es) never occur: {some(lacking)}")
