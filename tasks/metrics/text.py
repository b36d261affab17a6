"""Metrics of text."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class BitsPerCharacter(Metric):
    """Mean cross-entropy over all characters seen, in bits.

    The batches' sums are kept apart and added in float64 at the end, over all processes, so neither the batch size,
    nor the chunk length, nor the number of processes changes the result.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    nats: list[Tensor]  # a list, not a float64 sum: Apple's GPUs have no float64
    characters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nats", default=[], dist_reduce_fx="cat")
        self.add_state("characters", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, nats: Tensor, characters: Tensor | int) -> None:
        """Add a batch.

        Args:
            nats: The sum of the characters' cross-entropies, in nats.
            characters: How many they are.
        """
        self.nats.append(nats.reshape(1))
        self.characters += characters

    def compute(self) -> Tensor:
        """Bits per character."""
        nats = dim_zero_cat(self.nats).cpu().double().sum()
        return nats / self.characters.cpu() / math.log(2)
