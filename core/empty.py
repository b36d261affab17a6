"""What an empty batch leaves: numbers that depend on nothing, in a graph that leads to everything.

Among processes that train together each must have a gradient for every parameter, also one whose
batch has no rows or no steps. Such gradients are zeros; None they must not be.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TypeVar, cast

import torch
from torch import Tensor

from .state import State, map_state

_Nest = TypeVar("_Nest")


def attach(state: _Nest, sources: Iterable[Tensor]) -> _Nest:
    """Make numbers depend on tensors without changing them, whatever the tensors hold, NaN too.

    Args:
        state: The numbers: a tensor, or any nest of them.
        sources: Tensors of any shape.

    Returns:
        The same numbers; their gradient reaches every source, as zeros.
    """
    if not torch.is_grad_enabled():
        return state
    # the sum of nothing
    zeros = [source.flatten()[:0].sum().real for source in sources if source.requires_grad]
    if not zeros:
        return state
    zero = functools.reduce(torch.add, zeros)

    def depend(leaf: Tensor) -> Tensor:
        return leaf + zero.to(leaf) if leaf.is_floating_point() or leaf.is_complex() else leaf

    return cast("_Nest", map_state(depend, cast("State", state)))
