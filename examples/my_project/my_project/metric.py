"""A metric of anything that ranks classes.

Shapes: N items, C classes.
"""

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanReciprocalRank(Metric):
    """The mean of 1 / rank of the true class: 1 where it comes first, 1/2 where it is second."""

    higher_is_better = True
    full_state_update = False
    total: Tensor
    items: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("items", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add items: logits (N, C) and the numbers of the true classes (N,)."""
        true = logits.gather(1, target.unsqueeze(1))  # (N, 1)
        rank = (logits >= true).sum(1)  # (N,)
        self.total += (1 / rank).sum()
        self.items += len(target)

    def compute(self) -> Tensor:
        """Return the mean over all items of all processes."""
        return self.total / self.items
