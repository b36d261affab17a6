"""Metrics of temporal segmentation: what the field reports of labels for every frame.

Shapes: T frames of a video, C classes, N segments.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_average_precision
from torchmetrics.utilities import dim_zero_cat

from .edits import edit_distance

OVERLAPS = (0.10, 0.25, 0.50)
# parts that a video's score is rounded to; whole numbers add up to the same in any order
_UNIT = 2**40


class Segments(NamedTuple):
    """Runs of one label.

    Attributes:
        label: Their classes (N,).
        start: Their first frames (N,).
        end: The frames after their last (N,): the last segment ends at T.
    """

    label: np.ndarray
    start: np.ndarray
    end: np.ndarray


def run_lengths(labels: np.ndarray, background: Sequence[int] = ()) -> Segments:
    """Find the segments of a video, and drop those of background classes.

    The background is dropped after the runs were found, so two runs of one class with background in
    between stay two.

    Args:
        labels: Class numbers (T,).
        background: Classes to drop.
    """
    cuts = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    start = np.concatenate([np.zeros(min(1, len(labels)), np.int64), cuts])
    end = np.concatenate([cuts, np.full(min(1, len(labels)), len(labels))])
    keep = ~np.isin(labels[start], list(background))
    return Segments(labels[start][keep], start[keep], end[keep])


def edit_score(pred: np.ndarray, true: np.ndarray) -> float:
    """Return how alike two orders of actions are: 1 - Levenshtein distance / the longer length.

    Lea et al. 2016.

    Args:
        pred: The predicted segments' classes (N,).
        true: The true segments' classes (M,).

    Returns:
        From 0 to 1; 1 where both are empty.
    """
    distance = edit_distance(true.tolist(), pred.tolist())
    return 1 - distance / max(len(pred), len(true), 1)


def match_segments(pred: Segments, true: Segments, overlap: float) -> tuple[int, int, int]:
    """Match segments as F1@overlap does (Lea et al. 2017, https://arxiv.org/abs/1611.05267).

    Each predicted segment, in order of time, goes to the true segment of its class with the
    greatest intersection over union (the first of equals). It is a hit where that reaches the
    overlap and no segment before has taken it.

    Args:
        pred: The predicted segments.
        true: The true segments.
        overlap: The least intersection over union, above 0 and at most 1.

    Returns:
        Hits, false positives, false negatives.
    """
    # Of each predicted segment the true ones that share a frame with it: those from one place on.
    first = np.searchsorted(true.end, pred.start, side="right")
    count = np.searchsorted(true.start, pred.end, side="left") - first
    mine = np.repeat(np.arange(len(count)), count)  # (pairs,), fewer than segments of both
    other = np.arange(len(mine)) + np.repeat(first - np.cumsum(count) + count, count)
    begin, end = (np.stack((pred[i][mine], true[i][other])) for i in (1, 2))
    ratio = (end.min(0) - begin.max(0)) / (end.max(0) - begin.min(0))
    ratio[pred.label[mine] != true.label[other]] = 0
    order = np.lexsort((other, -ratio, mine))
    best = order[np.flatnonzero(np.diff(mine[order], prepend=-1))]  # of each that meets any
    hits = len(np.unique(other[best][ratio[best] >= overlap]))
    return hits, len(pred.label) - hits, len(true.label) - hits


def _f1(hits: float, false: float, missed: float) -> float:
    return 2 * hits / max(2 * hits + false + missed, 1)


class SegmentationScores(Metric):
    """Accuracy, edit score and F1 at three overlaps, in percent, over whole videos.

    `acc` is the share of right frames, `acc_mean` the mean over the classes that occur of the share
    of right frames (always over all videos together); both count background frames. `edit` is a
    mean over videos. Frames whose true class is negative (-100) are cut out of both before anything
    is counted.

    Numbers in the literature differ by these settings, so `settings()` belongs beside the scores.
    Every video has to be given once, by one process; the order changes nothing, to the last bit.

    Args:
        num_classes: C.
        background: Classes that edit and F1 leave out; they move F1@10 by nine points on 50Salads.
        pooled: Whether `acc` and F1 count frames and segments over all videos together, or are
            means over videos.

    Examples:
        >>> scores = SegmentationScores(2)
        >>> scores.update(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
        >>> found = scores.compute()
        >>> {name: round(found[name], 1) for name in ("acc", "edit", "f1@10", "f1@50")}
        {'acc': 75.0, 'edit': 100.0, 'f1@10': 100.0, 'f1@50': 100.0}
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    right: Tensor
    frames: Tensor
    matches: Tensor
    by_video: Tensor
    videos: Tensor

    def __init__(
        self, num_classes: int, background: Sequence[int] = (), *, pooled: bool = True
    ) -> None:
        super().__init__()
        if wrong := [number for number in background if not 0 <= number < num_classes]:
            raise ValueError(f"background {wrong}: class numbers are 0 to {num_classes - 1}")
        self.num_classes = num_classes
        self.background = list(background)
        self.pooled = pooled
        sizes = {
            "right": num_classes,
            "frames": num_classes,
            "matches": 9,
            "by_video": 5,
            "videos": 1,
        }
        for name, size in sizes.items():
            self.add_state(name, default=torch.zeros(size, dtype=torch.int64), dist_reduce_fx="sum")

    def settings(self, names: Sequence[str] | None = None) -> str:
        """Say what has to be said with the scores.

        Args:
            names: The classes' names; None for their numbers.
        """
        classes = ", ".join(names[number] if names else str(number) for number in self.background)
        left_out = f"leave out {classes}" if classes else "count all classes"
        how = "pooled over" if self.pooled else "means over"
        return (
            f"edit and F1 {left_out}; accuracy and F1 are {how} videos, edit is a mean over videos"
        )

    def update(self, pred: Tensor, true: Tensor) -> None:
        """Add a video.

        Args:
            pred: Predicted classes (T,).
            true: True classes (T,), negative where there is none.

        Raises:
            ValueError: The lengths differ.
        """
        if pred.shape != true.shape or pred.dim() != 1:
            raise ValueError(
                f"pred is {tuple(pred.shape)} and true {tuple(true.shape)}: one number for each "
                "frame of one video"
            )
        labels, truth = pred.cpu().numpy(), true.cpu().numpy()
        labels, truth = labels[truth >= 0], truth[truth >= 0]
        if not len(truth):
            return
        hit = labels == truth
        device = self.videos.device
        self.right += torch.from_numpy(np.bincount(truth[hit], minlength=self.num_classes)).to(
            device
        )
        self.frames += torch.from_numpy(np.bincount(truth, minlength=self.num_classes)).to(device)
        found, wanted = run_lengths(labels, self.background), run_lengths(truth, self.background)
        matches = [match_segments(found, wanted, overlap) for overlap in OVERLAPS]
        self.matches += torch.tensor(matches, device=device).flatten()
        scores = [
            hit.mean(),
            edit_score(found.label, wanted.label),
            *(_f1(*counts) for counts in matches),
        ]
        self.by_video += torch.tensor(
            [round(float(score) * _UNIT) for score in scores], device=device
        )
        self.videos += 1

    def compute(self) -> dict[str, float]:
        """Return the scores: acc, acc_mean, edit, f1@10, f1@25, f1@50."""
        right, frames, matches, by_video = (
            state.cpu().double() for state in (self.right, self.frames, self.matches, self.by_video)
        )
        acc, edit, *f1 = (by_video / _UNIT / self.videos.cpu().clamp(min=1)).tolist()
        if self.pooled:
            acc = float(right.sum() / frames.sum().clamp(min=1))
            f1 = [_f1(*counts) for counts in matches.view(3, 3).tolist()]
        present = frames > 0
        scores = {
            "acc": acc,
            "acc_mean": float((right[present] / frames[present]).mean()) if present.any() else 0.0,
            "edit": edit,
            **{
                f"f1@{round(100 * overlap)}": value
                for overlap, value in zip(OVERLAPS, f1, strict=True)
            },
        }
        return {name: 100 * value for name, value in scores.items()}


class FrameMAP(Metric):
    """Mean over classes of the average precision of their scores over all frames, in percent.

    What online action detection reports (THUMOS14, TVSeries): frames are ranked by each class's
    score, all videos together; background classes and classes that never occur are left out of the
    mean. Average precision is scikit-learn's, without interpolation.

    Args:
        num_classes: C.
        background: Classes that the mean leaves out.

    Examples:
        >>> precision = FrameMAP(2)
        >>> probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
        >>> precision.update(probabilities, torch.tensor([0, 0, 1]))
        >>> precision.compute()
        tensor(100.)
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    scores: list[Tensor]
    true: list[Tensor]

    def __init__(self, num_classes: int, background: Sequence[int] = ()) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.background = list(background)
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("true", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, true: Tensor) -> None:
        """Add frames; every process has to call this at least once, with no frames if it has none.

        Args:
            scores: Probabilities (T, C).
            true: True classes (T,), negative where there is none.
        """
        self.scores.append(scores[true >= 0].float())
        self.true.append(true[true >= 0])

    def compute(self) -> Tensor:
        """Return the mean average precision; 0 where no class counts."""
        if isinstance(self.true, list) and not self.true:
            return torch.zeros((), device=self.device)
        scores, true = dim_zero_cat(self.scores), dim_zero_cat(self.true)
        counted = torch.bincount(true, minlength=self.num_classes) > 0
        counted[self.background] = False
        if not counted.any():
            return scores.new_zeros(())
        with warnings.catch_warnings():
            # classes that never occur are left out below
            warnings.filterwarnings("ignore", message="No positive samples")
            each = multiclass_average_precision(
                scores, true, self.num_classes, average="none", validate_args=False
            )
        return 100 * each[counted].mean()
