"""The linear recurrence, exact and fast.

A recurrence h_t = a_t * h_{t-1} + b_t whose a and b don't depend on h can be computed in any order. The usual
parallel scan in log space loses digits (a relative error of 4e-4 at T = 4096 in float32) and time; here the steps are
taken one after the other, each on all channels at once, and both directions of the gradient likewise.

Shapes: T time, B batch, N channels (everything but time, flattened), C blocks of L steps.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .empty import attach
from .loops import uncompiled

# Below this many channels one step costs less than calling it: many blocks of steps are then run side by side.
# Measured on one CPU thread at T = 8192; on a GPU without Triton each call is a kernel launch, whatever its size.
_FEW_CHANNELS = 2048
_LEAST_STEPS = 64


def linear_recurrence(a: Tensor, b: Tensor, initial: Tensor | None = None, reset: Tensor | None = None) -> Tensor:
    """Computes h_t = a_t * h_{t-1} + b_t for all t, with gradients.

    Time comes first: each step is then one contiguous piece of memory. Computed at least in float32. On CUDA it is one
    Triton kernel each way where Triton is importable.

    Args:
        a: Factors (T, B, ...). Factors beyond 1 in size can overflow where the sequence is long.
        b: Summands (T, B, ...).
        initial: h before the first step (B, ...); zero when not given.
        reset: Bool (T, B), True where h_{t-1} counts as zero.

    Returns:
        h (T, B, ...) in the common dtype of `a` and `b`.

    Raises:
        ValueError: The shapes don't agree.
    """
    _check(a, b, initial, reset)
    result = torch.promote_types(a.dtype, b.dtype)
    dtype = torch.promote_types(result, torch.float32)
    if a.numel() == 0:
        return attach((a + b).to(result), [] if initial is None else [initial])
    a = a.to(dtype)
    if reset is not None:
        a = a.masked_fill(reset.reshape(*reset.shape, *[1] * (a.dim() - 2)), 0.0)
    first = None if initial is None else initial.to(dtype)
    return uncompiled(_LinearRecurrence.apply)(a, b.to(dtype), first).to(result)  # type: ignore[no-any-return]


def linear_recurrence_reference(
    a: Tensor, b: Tensor, initial: Tensor | None = None, reset: Tensor | None = None
) -> Tensor:
    """Computes what `linear_recurrence` does, by its definition.

    Args:
        a: Factors (T, B, ...).
        b: Summands (T, B, ...).
        initial: h before the first step (B, ...); zero when not given.
        reset: Bool (T, B), True where h_{t-1} counts as zero.

    Returns:
        h (T, B, ...).
    """
    h = torch.zeros_like(b[0]) if initial is None else initial
    outputs = []
    for t in range(len(b)):
        if reset is not None:
            h = torch.where(reset[t].reshape(-1, *[1] * (h.dim() - 1)), 0.0, h)
        h = a[t] * h + b[t]
        outputs.append(h)
    return torch.stack(outputs)


class _LinearRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, initial: Tensor | None) -> Tensor:
        a = a.contiguous()
        h = b.clone(memory_format=torch.contiguous_format)
        if initial is not None:
            h[0].addcmul_(a[0], initial)
        scan_(a[1:], h)
        ctx.save_for_backward(a, h, initial)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        a, h, initial = ctx.saved_tensors
        grad_b = gradient.clone(memory_format=torch.contiguous_format)
        scan_(a[1:], grad_b, reverse=True)
        grad_a = None
        if ctx.needs_input_grad[0]:
            grad_a = torch.empty_like(a)
            torch.mul(grad_b[1:], h[:-1], out=grad_a[1:])
            grad_a[0] = 0.0 if initial is None else grad_b[0] * initial
        return grad_a, grad_b, grad_b[0] * a[0] if ctx.needs_input_grad[2] else None


def scan_(links: Tensor, h: Tensor, *, reverse: bool = False) -> None:
    """Runs the recurrence in place, without gradients: `links[i]` times one of h_i and h_{i+1} is added to the other.

    Args:
        links: Factors (T - 1, ...), contiguous.
        h: Summands (T, ...), contiguous, of the dtype of `links`; becomes the result.
        reverse: Go from the last step to the first, as the gradient does, instead of from the first to the last.
    """
    time = len(h)
    links, h = links.view(time - 1, h[0].numel()), h.view(time, -1)
    if h.is_cuda and has_triton():
        from .scan_triton import scan_ as triton_scan_

        triton_scan_(links, h, reverse)
    elif time >= _LEAST_STEPS and (h.is_cuda or h.shape[1] < _FEW_CHANNELS):
        _scan_in_blocks_(links, h, reverse)
    else:
        _scan_in_steps_(links, h, reverse)


def has_triton() -> bool:
    """Whether Triton is importable; torch's CUDA builds for Linux bring it."""
    return importlib.util.find_spec("triton") is not None


def _scan_in_steps_(links: Tensor, h: Tensor, reverse: bool) -> None:
    order = slice(None, None, -1 if reverse else 1)
    steps = h.unbind(0)[order]
    for link, before, step in zip(links.unbind(0)[order], steps, steps[1:], strict=False):
        step.addcmul_(link, before)


def _scan_in_blocks_(links: Tensor, h: Tensor, reverse: bool) -> None:
    """The same in about 3 sqrt(T) calls: C blocks side by side, as if nothing came before each, then what did."""
    time, channels = h.shape
    length = int(time**0.5)
    blocks = (time - 1) // length
    head = time - blocks * length  # at least one step: these come first, and their last result enters the blocks
    if reverse:
        _scan_in_steps_(links[-head:][1:], h[-head:], reverse)
        carry, body, links = h[-head], h[:-head], links[: time - head]
    else:
        _scan_in_steps_(links[: head - 1], h[:head], reverse)
        carry, body, links = h[head - 1], h[head:], links[head - 1 :]
    body, links = body.view(blocks, length, channels), links.view(blocks, length, channels)
    weight = links.clone()  # of the carry in each step: the product of the factors since the block began
    order = slice(None, None, -1 if reverse else 1)
    steps, weights = body.unbind(1)[order], weight.unbind(1)[order]
    for i, link in enumerate(links.unbind(1)[order][1:]):
        steps[i + 1].addcmul_(link, steps[i])
        weights[i + 1].mul_(weights[i])
    for block, share in zip(body.unbind(0)[order], weight.unbind(0)[order], strict=True):
        block.addcmul_(share, carry)
        carry = block[0 if reverse else -1]


def _check(a: Tensor, b: Tensor, initial: Tensor | None, reset: Tensor | None) -> None:
    if a.shape != b.shape or a.dim() < 2 or not a.is_floating_point() or not b.is_floating_point():
        raise ValueError(
            f"linear_recurrence: a is {_describe(a)}, b is {_describe(b)}; "
            "both are float tensors (T, B, ...) of one shape"
        )
    if initial is not None and initial.shape != a.shape[1:]:
        raise ValueError(f"linear_recurrence: initial is {_describe(initial)}; it must be {tuple(a.shape[1:])}")
    if reset is not None and (reset.dtype != torch.bool or reset.shape != a.shape[:2]):
        raise ValueError(f"linear_recurrence: reset is {_describe(reset)}; it must be bool {tuple(a.shape[:2])}")


def _describe(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"
