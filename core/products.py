"""Matrix products in 8 bits, for what is run step by step on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# what was made of each parameter, by its id; None: nothing is asked for in 8 bits
_MADE: ContextVar[dict[int, _Kept] | None] = ContextVar("eight_bits", default=None)
NONE = "oneDNN has no products in 8 bits for this processor (on x86 they need AVX-512 with VNNI)"
_MIDDLE, _MOST = 128, 127  # what stands for 0 among the bytes, and the largest distance from it
_LEAST = 1e-30  # of what scales are made of: rows of zeros have one too


@contextmanager
def eight_bits() -> Iterator[None]:
    """Let the steppers and searchers that are made inside multiply in 8 bits.

    Weights are rounded once, each output with a scale of its own; inputs at each product, each row
    with a scale of its own, so that no row depends on its neighbours (vector-wise, Dettmers et al.
    2022, https://arxiv.org/abs/2208.07339). Sums are whole numbers, so exact. `LSTM` and `GRU` take
    their products so, and the output layers of decoders and language models; what is no matrix of
    float32 on a CPU stays as it is. A parameter is rounded once within, at its first use. It pays
    from some eight rows on.

    Raises:
        RuntimeError: This processor, or this torch, has no such products.

    Examples:
        >>> core = GRU(64, 64)
        >>> with eight_bits() if has_eight_bits() else nullcontext():
        ...     step = core.stepper()
        >>> output, state = step(torch.randn(8, 64), core.initial_state(8))
    """
    if not has_eight_bits():
        raise RuntimeError(f"eight_bits: {NONE}")
    token = _MADE.set({})
    try:
        yield
    finally:
        _MADE.reset(token)


@cache
def has_eight_bits() -> bool:
    """Tell whether `eight_bits` can be had: tried once, with a small product."""
    ones = torch.ones(2, 32)  # the largest bytes: where pairs are added in 16 bits, they don't fit
    try:
        found = _EightBits(torch.ones(32, 32), None)(ones)
    except (RuntimeError, AttributeError):  # not for this processor, or no such operation
        return False
    return torch.allclose(found, torch.full_like(found, 32.0))


def product(weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """Make x W^T + b ready for many calls without gradients, in 8 bits within `eight_bits`.

    Args:
        weight: (O, I); of a parameter what is made keeps a copy.
        bias: (O,), as the weight; None: there is none.

    Returns:
        A function of x (..., I).
    """
    made = _MADE.get()
    if made is not None and weight.dtype == torch.float32 and weight.device.type == "cpu":
        tensors = [weight] if bias is None else [weight, bias]
        if not all(isinstance(one, nn.Parameter) and not one.is_inference() for one in tensors):
            return _EightBits(weight, bias)  # nothing tells whether it has changed
        versions = [one._version for one in tensors]
        kept = made.get(id(weight))
        if kept is None or kept.bias is not bias or kept.versions != versions:
            kept = made[id(weight)] = _Kept(weight, bias, versions, _EightBits(weight, bias))
        return kept.product
    ready = _own(weight).t()  # (I, O)
    if bias is None:
        return lambda x: x @ ready
    added = _own(bias)
    return lambda x: torch.addmm(added, x, ready)


def _own(tensor: Tensor) -> Tensor:
    """Return a parameter's copy; another tensor was made for this, and may be large."""
    return tensor.detach().clone() if isinstance(tensor, nn.Parameter) else tensor


def layer(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    """Return an output layer as it is, with its hooks; within `eight_bits` its `product`."""
    return linear if _MADE.get() is None else product(linear.weight, linear.bias)


class _Kept(NamedTuple):
    """What was made of a parameter, which is held so that its id stays its own."""

    weight: Tensor
    bias: Tensor | None
    versions: list[int]
    product: Callable[[Tensor], Tensor]


class _EightBits:
    """x W^T + b with bytes: W is rounded to -127..127, x to 1..255 around 128."""

    @torch.no_grad()
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._scales = weight.abs().amax(1).clamp_(min=_LEAST) / _MOST  # (O,)
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        rounded = (weight / self._scales.unsqueeze(1)).round_().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(rounded, None)
        self._bias = None if bias is None else bias.clone()

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (N, I)
        if not len(rows):  # oneDNN refuses an empty product
            return x.new_zeros(*x.shape[:-1], len(self._scales))
        # NaN and infinity stay in the scale, and so in what comes out
        scale = rows.abs().amax(1, keepdim=True).clamp_(min=_LEAST) / _MOST  # (N, 1)
        rounded = (rows / scale).add_(_MIDDLE + 0.5).to(torch.uint8)  # what is cut off is rounded
        # nothing is made of the sums, which come out as float32
        after: tuple[Any, ...] = (None, 1.0, 0, torch.float32, "none", [], "")
        output: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, _MIDDLE, self._packed, self._scales, self._zeros, *after
        )
        output.mul_(scale)
        if self._bias is not None:
            output.add_(
                self._bias
            )  # by itself: addcmul, which spreads both, takes 2.7 times as long
        return output.view(*x.shape[:-1], -1)
