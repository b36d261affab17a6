"""Every frame of the videos of a test, and how each class fares.

Shapes: T frames of a video, C classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_average_precision

from ..metrics import SegmentationScores
from ..metrics.segmentation import Segments, match_segments, run_lengths
from ..results import Records, Results

_CLASS = (
    *("class", "background", "frames", "predicted", "right", "precision", "recall", "f1"),
    *("average_precision", "segments", "predicted_segments", "f1@50"),
)
_NO_NAME = re.compile(r"[^\w.() -]+")
_LONGEST = 120  # characters of a file's name, without its end


class VideoResult(NamedTuple):
    """A video and its labels; on the CPU.

    Attributes:
        name: The video's name.
        scores: Probabilities (T, C).
        labels: Predicted classes (T,).
        true: True classes (T,), negative where there is none.
    """

    name: str
    scores: Tensor
    labels: Tensor
    true: Tensor


def videos(
    labelled: Iterable[VideoResult],
    order: Sequence[str],
    classes: Sequence[str],
    background: Sequence[int],
) -> Results:
    """Return tables of all frames, of the videos, of the classes, and of their confusions.

    Args:
        labelled: The videos, in any order; of two of one name one counts.
        order: The videos' names in the order of the data.
        classes: The classes' names.
        background: Numbers of the classes that edit and F1 leave out.
    """
    by_name = {video.name: video for video in labelled}
    ordered = [by_name.pop(name) for name in dict.fromkeys(order) if name in by_name]
    ordered += [by_name[name] for name in sorted(by_name)]
    files = _file_names([video.name for video in ordered])
    results: Results = {
        f"frames/{files[video.name]}.csv": _frames(video, classes) for video in ordered
    }
    results["videos.tsv"] = _each(ordered, files, len(classes), background)
    results["classes.tsv"] = Records(_CLASS, list(_classes(ordered, classes, background)))
    results["confusion.tsv"] = _confusion(ordered, classes)
    return results


def _file_names(names: Iterable[str]) -> dict[str, str]:
    """Return what the file of each video is called: its name, where a file can be called so."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = _NO_NAME.sub("_", name).lstrip(".")[:_LONGEST] or "video"
        number, file = 1, stem
        while file.lower() in taken:
            number += 1
            file = f"{stem}_{number}"
        taken.add(file.lower())
        found[name] = file
    return found


def _frames(video: VideoResult, classes: Sequence[str]) -> Records:
    """Return a row for each frame; it begins as those of `unrolled label` do."""
    scored = [f"score of {name}" for name in classes]
    rows = zip(video.labels.tolist(), video.true.tolist(), video.scores.tolist(), strict=True)
    records = [
        {
            "frame": number,
            "label": classes[label],
            "probability": round(scores[label], 6),
            "truth": classes[true] if true >= 0 else None,
            **{name: round(score, 6) for name, score in zip(scored, scores, strict=True)},
        }
        for number, (label, true, scores) in enumerate(rows)
    ]
    return Records(("frame", "label", "probability", "truth", *scored), records)


def _each(
    ordered: Sequence[VideoResult],
    files: Mapping[str, str],
    num_classes: int,
    background: Sequence[int],
) -> Records:
    """Return the scores of every video by itself."""
    records: list[dict[str, Any]] = []
    for video in ordered:
        metric = SegmentationScores(num_classes, background)
        metric.update(video.labels, video.true)
        # the class's own: an instance's would wait for other processes, which don't call it
        scores = SegmentationScores.compute(metric) if int(metric.videos) else {}
        known = {"video": video.name, "file": f"frames/{files[video.name]}.csv"}
        records.append({**known, "frames": len(video.true), **scores})
    names = dict.fromkeys(name for record in records for name in record)
    return Records(tuple(names), records)


def _classes(
    ordered: Sequence[VideoResult], classes: Sequence[str], background: Sequence[int]
) -> Iterator[dict[str, Any]]:
    counts = _counts(ordered, len(classes))
    scores = torch.cat([torch.empty(0, len(classes)), *(v.scores[v.true >= 0] for v in ordered)])
    true = torch.cat([torch.empty(0, dtype=torch.int64), *(v.true[v.true >= 0] for v in ordered)])
    ranked = [0.0] * len(classes)
    if len(true):
        ranked = multiclass_average_precision(
            scores.float(), true, len(classes), average="none", validate_args=False
        ).tolist()
    matches = np.zeros((len(classes), 3), np.int64)
    for video in ordered:
        valid = (video.true >= 0).numpy()
        found = run_lengths(video.labels.numpy()[valid])
        wanted = run_lengths(video.true.numpy()[valid])
        for number in range(len(classes)):
            matches[number] += match_segments(_only(found, number), _only(wanted, number), 0.5)
    for number, name in enumerate(classes):
        frames, predicted = int(counts[number].sum()), int(counts[:, number].sum())
        right = int(counts[number, number])
        hits, false, missed = matches[number].tolist()
        yield {
            "class": name,
            "background": number in background,
            "frames": frames,
            "predicted": predicted,
            "right": right,
            "precision": 100 * right / predicted if predicted else None,
            "recall": 100 * right / frames if frames else None,
            "f1": 200 * right / (frames + predicted) if frames + predicted else None,
            "average_precision": 100 * ranked[number] if frames else None,
            "segments": hits + missed,
            "predicted_segments": hits + false,
            "f1@50": 200 * hits / (2 * hits + false + missed) if hits + false + missed else None,
        }


def _only(segments: Segments, label: int) -> Segments:
    keep = segments.label == label
    return Segments(*(part[keep] for part in segments))


def _counts(ordered: Sequence[VideoResult], classes: int) -> np.ndarray:
    """Return how many frames of each true class (row) got each label (C, C)."""
    counts = np.zeros((classes, classes), np.int64)
    for video in ordered:
        valid = (video.true >= 0).numpy()
        np.add.at(counts, (video.true.numpy()[valid], video.labels.numpy()[valid]), 1)
    return counts


def _confusion(ordered: Sequence[VideoResult], classes: Sequence[str]) -> Records:
    """Return the frames by true class, a row each, and predicted class, a column each."""
    counts = _counts(ordered, len(classes))
    columns = [f"predicted {name}" for name in classes]
    records = [
        {"truth": name, **dict(zip(columns, row, strict=True))}
        for name, row in zip(classes, counts.tolist(), strict=True)
    ]
    return Records(("truth", *columns), records)
