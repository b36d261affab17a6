"""The linear recurrence on CUDA: one Triton kernel, imported only where it runs.

A program owns some channels and walks through time in tiles: a tile is read in one go, scanned
inside the program by the associative rule (a, b) then (a', b') = (a a', a' b + b'), and joined to
what was carried so far. With cuts c the rule is (a, b, c) then (a', b', c') = (a a', b' where c'
else a' b + b', c or c').

Shapes: T time, B batch, N numbers of a row.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_TIME, _CHANNELS = 32, 32  # one tile


@triton.jit  # type: ignore[untyped-decorator]
def _combine(a_first: Any, b_first: Any, a_then: Any, b_then: Any) -> Any:
    return a_first * a_then, a_then * b_first + b_then


@triton.jit  # type: ignore[untyped-decorator]
def _combine_cut(
    a_first: Any, b_first: Any, c_first: Any, a_then: Any, b_then: Any, c_then: Any
) -> Any:
    return (
        a_first * a_then,
        tl.where(c_then != 0, b_then, a_then * b_first + b_then),
        c_first | c_then,
    )


@triton.jit  # type: ignore[untyped-decorator]
def _scan_kernel(
    links: Any,
    h: Any,
    cuts: Any,
    time: Any,
    channels: Any,
    numbers: Any,
    reverse: tl.constexpr,
    cutting: tl.constexpr,
    tile_time: tl.constexpr,
    tile_channels: tl.constexpr,
) -> Any:
    channel = tl.program_id(0) * tile_channels + tl.arange(0, tile_channels)
    row = tl.arange(0, tile_time)
    carry = tl.zeros((tile_channels,), dtype=h.dtype.element_ty)
    for start in range(0, time, tile_time):
        position = start + row
        step = time - 1 - position if reverse else position
        link = step if reverse else step - 1  # which factor leads into this step
        here = channel[None, :] < channels
        inside = (position < time)[:, None] & here
        linked = (position < time)[:, None] & (position > 0)[:, None] & here
        place = h + step.to(tl.int64)[:, None] * channels + channel[None, :]
        factor = tl.load(
            links + link.to(tl.int64)[:, None] * channels + channel[None, :], mask=linked, other=0.0
        )
        summand = tl.load(place, mask=inside, other=0.0)
        if cutting:
            row_of = (
                link.to(tl.int64)[:, None] * (channels // numbers) + (channel // numbers)[None, :]
            )
            cut = tl.load(cuts + row_of, mask=linked, other=0).to(tl.int32)
            product, total, gone = tl.associative_scan((factor, summand, cut), 0, _combine_cut)
            total = tl.where(gone != 0, total, total + product * carry[None, :])
        else:
            product, total = tl.associative_scan((factor, summand), 0, _combine)
            total += product * carry[None, :]
        tl.store(place, total, mask=inside)
        carry = tl.sum(tl.where((row == tile_time - 1)[:, None], total, 0.0), axis=0)


def scan_(links: Tensor, h: Tensor, reverse: bool, cuts: Tensor | None) -> None:
    """Run the recurrence in place; see `scan.scan_`.

    Args:
        links: Factors (T - 1, B, N), contiguous.
        h: Summands (T, B, N), contiguous; becomes the result.
        reverse: Go from the last step to the first.
        cuts: Bool (T - 1, B), True where nothing is added.
    """
    time, channels, numbers = h.shape[0], h[0].numel(), h.shape[2]
    # without cuts they are not read
    masks = h if cuts is None else cuts.contiguous().view(torch.uint8)
    with torch.cuda.device_of(h):
        _scan_kernel[(triton.cdiv(channels, _CHANNELS),)](
            links, h, masks, time, channels, numbers, reverse=reverse, cutting=cuts is not None,
            tile_time=_TIME, tile_channels=_CHANNELS, num_warps=2,
        )  # fmt: skip
