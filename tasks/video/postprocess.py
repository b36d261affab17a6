"""What may be done to the scores of a whole video before it is labelled.

It looks ahead, so no stream can use it.

Shapes: T frames, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def label_video(scores: Tensor, *, median: int = 1, min_length: int = 1) -> Tensor:
    """Label the frames of a video.

    Args:
        scores: Probabilities (T, C).
        median: Frames of the window of a running median of each class's scores; 1 for none.
        min_length: Frames that a segment has at least; shorter ones go to a neighbour. 1 for no
            such rule.

    Returns:
        Class numbers (T,).
    """
    scores = running_median(scores, median)
    return without_short_segments(scores.argmax(-1), scores, min_length)


def label_several(
    scores: Tensor, thresholds: Tensor, *, median: int = 1, min_length: int = 1
) -> Tensor:
    """Label the frames of a video that may have several labels; each class goes by itself.

    Args:
        scores: Probabilities (T, C).
        thresholds: The least of each class at which a frame has it (C,).
        median: As for `label_video`.
        min_length: As for `label_video`, of stretches with a class and of those without it.

    Returns:
        Which classes each frame has (T, C) bool.
    """
    scores = running_median(scores, median)
    there = scores >= thresholds  # (T, C)
    if min_length > 1:
        columns = [
            without_short_segments(has.long(), torch.stack((1 - score, score), 1), min_length)
            for has, score in zip(there.unbind(1), scores.unbind(1), strict=True)
        ]
        there = torch.stack(columns, 1).bool()
    return there


def running_median(scores: Tensor, width: int) -> Tensor:
    """Replace each score by the median of those around it; the ends go on beyond themselves.

    Args:
        scores: (T, C).
        width: Frames of the window, an odd number.

    Returns:
        (T, C).
    """
    if width == 1 or not len(scores):
        return scores
    sides = (width // 2, width // 2)
    ends = functional.pad(scores.t()[None], sides, mode="replicate")[0]  # (C, T + width - 1)
    # A class at a time: the windows of all of them at once would take width times the memory.
    return torch.stack([row.unfold(0, width, 1).median(-1).values for row in ends], 1)  # (T, C)


def without_short_segments(labels: Tensor, scores: Tensor, length: int) -> Tensor:
    """Give segments below a length, the shortest first, to the likelier neighbour.

    That is the one whose class has the higher scores there.

    Args:
        labels: Class numbers (T,).
        scores: What to choose the neighbour by (T, C).
        length: Frames that a segment has at least; a video of one segment may be shorter.

    Returns:
        Class numbers (T,).
    """
    labels = labels.clone()
    while len(labels):
        values, counts = torch.unique_consecutive(labels, return_counts=True)
        shortest = int(counts.argmin())
        if len(values) == 1 or int(counts[shortest]) >= length:
            break
        begin = int(counts[:shortest].sum())
        end = begin + int(counts[shortest])
        neighbours = [
            values[number] for number in (shortest - 1, shortest + 1) if 0 <= number < len(values)
        ]
        support = torch.stack([scores[begin:end, neighbour].mean() for neighbour in neighbours])
        labels[begin:end] = neighbours[int(support.argmax())]
    return labels
