"""The batches that the contract of the cores is tested on: inputs, lengths and resets by name."""

from __future__ import annotations

import torch
from torch import Tensor
from unrolled.core import RecurrentCore

B, T = 5, 7
LENGTHS = {
    "none": None,
    "ragged": [3, 7, 0, 5, 3],
    "falling": [7, 7, 4, 1, 0],
    "short": [4, 4, 4, 4, 4],
    "zero": [0, 0, 0, 0, 0],
}
RESETS = {"none": None, "some": 0.2, "every": 1.0}


def inputs(core: RecurrentCore, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw (B, T, D), always the same."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(B, T, core.input_size, dtype=dtype, generator=generator)


def lengths_of(name: str) -> Tensor | None:
    """Return int64 (B,), or None."""
    return None if LENGTHS[name] is None else torch.tensor(LENGTHS[name])


def reset_of(name: str) -> Tensor | None:
    """Return bool (B, T), or None."""
    if (share := RESETS[name]) is None:
        return None
    return torch.rand(B, T, generator=torch.Generator().manual_seed(3)) < share
