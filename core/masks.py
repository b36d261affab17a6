"""Masks, always True where real.

Shapes: B batch, T time.
"""

from __future__ import annotations

import torch
from torch import Tensor


def valid_steps(lengths: Tensor, steps: int) -> Tensor:
    """Tell which steps of a padded batch are real.

    Args:
        lengths: (B,) int64.
        steps: T.

    Returns:
        (B, T) bool, True at the first `lengths` steps of each row.
    """
    return torch.arange(steps, device=lengths.device) < lengths[:, None]
