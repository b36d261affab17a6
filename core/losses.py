"""Losses over sequences, with the rules of a core: what lies past a row's length does not count.

Shapes: B batch, T time, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .masks import valid_steps

IGNORED = -100
"""The target that torch's cross-entropy leaves out."""


def sequence_cross_entropy(logits: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The sum of the cross-entropies over the valid steps, in nats.

    Args:
        logits: (B, T, V).
        target: (B, T) int64.
        lengths: Valid steps of each row (B,); None: all. Best kept on the CPU: a CUDA tensor is waited for.

    Returns:
        A scalar, float32 or wider.
    """
    if lengths is not None and int(lengths.min()) < target.shape[1]:
        target = target.masked_fill(~valid_steps(lengths, target.shape[1]).to(target.device), IGNORED)
    # Under autocast the logits are half precision; the sum of many logarithms must not be.
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(wide.flatten(0, 1), target.flatten(), ignore_index=IGNORED, reduction="sum")
