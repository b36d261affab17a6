"""Torch's packed sequences: cores take padded batches and lengths instead.

Shapes: B batch, T time, D features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ..checks import check_lengths, describe
from ..masks import valid_steps


def unpack(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """Turn a packed sequence into what a core takes.

    Args:
        packed: Rows of any lengths, sorted or not.

    Returns:
        x (B, T, D), zero past the lengths, and the lengths (B,), int64 on the CPU. Rows are in the
        order in which they were packed, as states are.

    Raises:
        ValueError: It is no packed sequence.

    Examples:
        >>> from unrolled.core import LSTM
        >>> packed = torch.nn.utils.rnn.pack_sequence([torch.randn(2, 3), torch.randn(5, 3)], False)
        >>> x, lengths = unpack(packed)
        >>> output, state = LSTM(3, 8)(x, lengths=lengths)
        >>> pack(output, packed).data.shape
        torch.Size([7, 8])
    """
    if not isinstance(packed, PackedSequence):
        raise ValueError(
            f"unpack: x is {describe(packed)}; it takes a PackedSequence: a padded batch goes into "
            "a core as it is, with lengths=..."
        )
    x, lengths = pad_packed_sequence(packed, batch_first=True)
    return x, lengths


def pack(x: Tensor, like: Tensor | PackedSequence) -> PackedSequence:
    """Pack a padded batch, the inverse of `unpack`.

    Args:
        x: (B, T, D), such as a core's output.
        like: The lengths (B,), 1 to T; or a packed sequence, whose order of rows and steps the
            result then has, so that the `data` of both go together.

    Returns:
        The packed sequence, with the dtype and on the device of `x`.

    Raises:
        ValueError: `x` is not of that size, or a row has no step, which torch can't pack.
    """
    if not isinstance(x, Tensor) or x.dim() < 2:
        raise ValueError(f"pack: x is {describe(x)}; it must be a padded batch (B, T, ...)")
    if isinstance(like, PackedSequence):
        return _packed_like(x, like)
    lengths = torch.tensor(check_lengths("pack", like, *x.shape[:2]), dtype=torch.int64)
    empty = (lengths == 0).nonzero().flatten().tolist()
    if empty or not len(lengths):
        raise ValueError(
            f"pack: {'rows ' + str(empty) + ' have' if empty else 'the batch has'} no steps, which "
            "torch can't pack: leave such rows out, x[lengths > 0]"
        )
    return pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)


def _packed_like(x: Tensor, packed: PackedSequence) -> PackedSequence:
    """Take the steps of x (B, T, ...) in the order of a packed sequence."""
    sizes: Any = packed.batch_sizes  # (T,), rows that have each step
    rows, time = int(sizes[0]), len(sizes)
    if x.shape[0] != rows or x.shape[1] < time:
        raise ValueError(
            f"pack: x is {describe(x)}; the packed sequence has {rows} rows of up to {time} steps"
        )
    order = packed.sorted_indices
    ordered = x if order is None else x.index_select(0, order.to(x.device))
    running = valid_steps(sizes.to(x.device), rows)  # (T, B), True where a row has a step
    data = ordered.transpose(0, 1)[:time][running]  # (steps, ...)
    return PackedSequence(data, sizes, order, packed.unsorted_indices)
