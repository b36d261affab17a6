"""Scores of classes over frames: precision, recall and F1 of each; of several labels a frame, too.

Shapes: T frames of a video, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat


class ClassCounts(NamedTuple):
    """Frames of each class, (C,) int64 each, on the CPU.

    Attributes:
        right: Found and there.
        predicted: Found.
        true: There.
    """

    right: Tensor
    predicted: Tensor
    true: Tensor

    def f1(self) -> Tensor:
        """Return the F1 of each class (C,), in percent."""
        right, both = self.right.double(), self.predicted + self.true
        return 200 * right / both.clamp(min=1)

    def mean_f1(self, background: Sequence[int] = ()) -> Tensor:
        """Return the mean F1 over the classes that occur or are found; 0 where none is.

        Args:
            background: Classes that the mean leaves out.
        """
        counted = self.predicted + self.true > 0
        counted[list(background)] = False
        mean = self.f1()[counted].mean() if counted.any() else torch.zeros(())
        return mean.float()

    def table(self, names: Sequence[str]) -> str:
        """Return precision, recall and F1 of each class, as lines of a table.

        Args:
            names: The classes.
        """
        width = min(30, max([5, *map(len, names)]))
        lines = [f"{'class':{width}}  precision  recall     F1    frames"]
        precision = 100 * self.right / self.predicted.clamp(min=1)
        recall = 100 * self.right / self.true.clamp(min=1)
        columns = zip(
            names,
            precision.tolist(),
            recall.tolist(),
            self.f1().tolist(),
            self.true.tolist(),
            strict=True,
        )
        for name, *shares, frames in columns:
            shown = name if len(name) <= width else f"{name[: width - 3]}..."
            first, second, third = shares
            lines.append(f"{shown:{width}}  {first:9.1f}  {second:6.1f}  {third:5.1f}  {frames:8,}")
        return "\n".join(lines)


class FrameF1(Metric):
    """The mean over classes of the F1 of their frames, in percent; that of each, as a table.

    Args:
        num_classes: C.
        background: Classes that the mean leaves out.

    Examples:
        >>> f1 = FrameF1(2)
        >>> f1.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]))
        >>> {name: round(score.item(), 1) for name, score in f1.compute().items()}
        {'f1': 73.3}
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    counted: Tensor

    def __init__(self, num_classes: int, background: Sequence[int] = ()) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.background = list(background)
        zeros = torch.zeros(3, num_classes, dtype=torch.int64)
        self.add_state("counted", default=zeros, dist_reduce_fx="sum")
        self.counts = ClassCounts(*zeros)

    def update(self, pred: Tensor, true: Tensor) -> None:
        """Add frames.

        Args:
            pred: Predicted classes (T,).
            true: True classes (T,), negative where there is none.
        """
        pred, true = pred[true >= 0], true[true >= 0]
        found = (pred[pred == true], pred, true)
        each = [torch.bincount(labels, minlength=self.num_classes) for labels in found]
        self.counted += torch.stack(each).to(self.counted)

    def compute(self) -> dict[str, Tensor]:
        """Return the mean F1, as `f1`; `counts` has each class's then."""
        self.counts = ClassCounts(*self.counted.cpu())
        return {"f1": self.counts.mean_f1(self.background)}


class SeveralLabels(Metric):
    """Mean average precision and F1 where frames may have several labels, in percent.

    Args:
        num_classes: C.
        background: Classes that the means leave out.

    Attributes:
        given: The least probability of each class at which a frame has it (C,); None: that at which
            its F1 is largest, which is for validation only.

    Examples:
        >>> labels = SeveralLabels(2)
        >>> probabilities = torch.tensor([[0.9, 0.2], [0.8, 0.7], [0.1, 0.6]])
        >>> labels.update(probabilities, torch.tensor([[1, 0], [1, 1], [0, 1]]))
        >>> {name: score.item() for name, score in labels.compute().items()}
        {'map': 100.0, 'f1': 100.0, 'f1_micro': 100.0}
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    scores: list[Tensor]
    true: list[Tensor]
    given: Tensor | None

    def __init__(self, num_classes: int, background: Sequence[int] = ()) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.background = list(background)
        self.given = None
        self.thresholds = torch.full((num_classes,), 0.5)
        self.counts = ClassCounts(*torch.zeros(3, num_classes, dtype=torch.int64))
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("true", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, true: Tensor) -> None:
        """Add frames; every process has to call this at least once, with no frames if it has none.

        Args:
            scores: Probabilities (T, C).
            true: Which classes a frame has (T, C): 1, 0, or negative where nothing is known.
        """
        self.scores.append(scores.float())
        self.true.append(true)

    def compute(self) -> dict[str, Tensor]:
        """Return `map` and `f1`, means over classes that occur, and `f1_micro`, over all frames.

        `thresholds` and `counts` have then what they were found with.
        """
        if isinstance(self.true, list) and not self.true:
            return dict.fromkeys(("map", "f1", "f1_micro"), torch.zeros(()))
        scores, true = dim_zero_cat(self.scores).cpu(), dim_zero_cat(self.true).cpu()
        precision, thresholds, counts = [], torch.full((self.num_classes,), 0.5), []
        for number in range(self.num_classes):
            known = true[:, number] >= 0
            its, there = scores[known, number], true[known, number] == 1
            if there.any():
                thresholds[number] = best_threshold(its, there)
                if number not in self.background:
                    precision.append(100 * binary_average_precision(its, there.long()))
            if self.given is not None:
                thresholds[number] = self.given[number]
            found = its >= thresholds[number]
            counts.append(torch.stack([(found & there).sum(), found.sum(), there.sum()]))
        self.thresholds, self.counts = thresholds, ClassCounts(*torch.stack(counts, 1))
        right, predicted, there_are = (each.sum() for each in self.counts)
        return {
            "map": torch.stack(precision).mean() if precision else torch.zeros(()),
            "f1": self.counts.mean_f1(self.background),
            "f1_micro": 200 * right / (predicted + there_are).clamp(min=1),
        }


def best_threshold(scores: Tensor, there: Tensor) -> Tensor:
    """Return the least probability at which a frame has a class, by the F1 over frames.

    It lies in the middle between two frames' probabilities.

    Args:
        scores: Probabilities (T,).
        there: Whether the frame has it (T,) bool, at least one.
    """
    ordered, order = scores.sort(descending=True)
    right = there[order].cumsum(0)  # of the frames down to each
    f1 = 2 * right / (torch.arange(1, len(order) + 1) + there.sum())
    # a threshold can't part frames of one probability
    f1[:-1][ordered[:-1] == ordered[1:]] = -1
    best = int(f1.argmax())
    below = ordered[best + 1] if best + 1 < len(ordered) else ordered.new_zeros(())
    return (ordered[best] + below) / 2
