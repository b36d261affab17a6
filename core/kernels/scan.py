"""The linear recurrence, exact and fast.

A recurrence h_t = a_t * h_{t-1} + b_t whose a and b don't depend on h can be computed in any order.
The usual parallel scan in log space loses digits (a relative error of 4e-4 at T = 4096 in float32)
and time; here the steps are taken one after the other, each on all channels at once, and both
directions of the gradient likewise.

Shapes: T time, B batch, N channels (everything but time, flattened), C blocks of L steps.
"""

from __future__ import annotations

import cmath
import importlib.util
from typing import Any

import torch
from torch import Tensor

from ..checks import describe
from ..empty import attach
from .loops import masks_of_steps, over_time, transformed, uncompiled, whole_graph

# Below this many channels one step costs less than calling it: many blocks of steps are then run
# side by side. Measured on one CPU thread at T = 8192; on a GPU without Triton each call is a
# kernel launch, whatever its size.
_FEW_CHANNELS = 2048
_LEAST_STEPS = 64


def linear_recurrence(
    a: Tensor, b: Tensor, initial: Tensor | None = None, reset: Tensor | None = None
) -> Tensor:
    """Compute h_t = a_t * h_{t-1} + b_t for all t, with gradients.

    Time comes first: each step is then one contiguous piece of memory. Computed at least in
    float32. On CUDA it is one Triton kernel each way where Triton is importable and the numbers
    are real.

    Args:
        a: Factors (T, B, ...), real or complex. Factors beyond 1 in size can overflow where the
            sequence is long.
        b: Summands (T, B, ...).
        initial: h before the first step (B, ...); zero when not given.
        reset: Bool (T, B), True where h_{t-1} counts as zero, also where it is not finite; a_t is
            not read there.

    Returns:
        h (T, B, ...) in the common dtype of `a` and `b`. Gradients reach no step from which resets
        separate everything that asks for one.

    Raises:
        ValueError: The shapes don't agree.
    """
    _check(a, b, initial, reset)
    result = torch.promote_types(a.dtype, b.dtype)
    dtype = torch.promote_types(result, torch.float32)
    if a.numel() == 0:
        return attach((a + b).to(result), [] if initial is None else [initial])
    first = None if initial is None else initial.to(dtype)
    output: Tensor = uncompiled(_run)(a.to(dtype), b.to(dtype), first, reset)
    return output.to(result)


def linear_recurrence_reference(
    a: Tensor, b: Tensor, initial: Tensor | None = None, reset: Tensor | None = None
) -> Tensor:
    """Compute what `linear_recurrence` does, by its definition.

    Args:
        a: Factors (T, B, ...).
        b: Summands (T, B, ...).
        initial: h before the first step (B, ...); zero when not given.
        reset: Bool (T, B), True where h_{t-1} counts as zero.

    Returns:
        h (T, B, ...).
    """

    def step(given: tuple[Tensor, ...], h: Tensor) -> tuple[Tensor, Tensor]:
        factor, summand, *fresh = given
        if fresh:
            mask = _over(fresh[0], h)
            factor, h = factor.masked_fill(mask, 0.0), h.masked_fill(mask, 0.0)
        h = factor * h + summand
        return h, h

    h = torch.zeros_like(b[0]) if initial is None else initial
    return over_time(step, (a, b) if reset is None else (a, b, reset), h)[0]


def _run(a: Tensor, b: Tensor, initial: Tensor | None, reset: Tensor | None) -> Tensor:
    if transformed() or whole_graph():
        return linear_recurrence_reference(a, b, initial, reset)
    # here, not in `forward`, whose own copy would be in no graph
    return _LinearRecurrence.apply(a.contiguous(), b, initial, reset)  # type: ignore[no-any-return]


class _LinearRecurrence(torch.autograd.Function):
    """The recurrence; its gradient is another one, which has gradients again."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, initial: Tensor | None, reset: Tensor | None
    ) -> Tensor:
        h = b.clone(memory_format=torch.contiguous_format)
        if initial is not None and reset is None:
            h[0].addcmul_(a[0], initial)
        elif initial is not None and reset is not None:
            h[0].add_((a[0] * initial).masked_fill_(_over(reset[0], initial), 0.0))
        scan_(a[1:], h, cuts=None if reset is None else reset[1:])
        ctx.save_for_backward(a, h, initial, reset)
        return h

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, h, initial, reset = ctx.saved_tensors
        first = torch.zeros_like(h[0]) if initial is None else initial
        if torch.is_grad_enabled():
            # Where a gradient is zero, the gradient of the gradient need not be.
            cuts = reset if reset is None or gradient.requires_grad else _uncrossed(gradient, reset)
            grad_a, grad_b, grad_initial = _gradients_again(a, h, first, gradient, cuts)
        else:
            # on a CPU only where it turns out to be needed
            at_once = reset is not None and gradient.device.type != "cpu"
            cuts = _uncrossed(gradient, reset) if at_once else reset
            found = _gradients(a, h, first, gradient, cuts)
            if cuts is reset is not None and not all(_finite(part) for part in found):
                found = _gradients(a, h, first, gradient, _uncrossed(gradient, reset))
            grad_a, grad_b, grad_initial = found
        return grad_a, grad_b, None if initial is None else grad_initial, None


def _gradients(
    a: Tensor, h: Tensor, first: Tensor, gradient: Tensor, cuts: Tensor | None
) -> tuple[Tensor, ...]:
    """Return those of a, b and the first state, where no gradient crosses the cuts (T, B)."""
    a, h, first = a.conj().resolve_conj(), h.conj(), first.conj()  # of real numbers, themselves
    grad_b = gradient.clone(memory_format=torch.contiguous_format)
    scan_(a[1:], grad_b, reverse=True, cuts=None if cuts is None else cuts[1:])
    grad_a = torch.empty_like(a)
    torch.mul(grad_b[1:], h[:-1], out=grad_a[1:])
    torch.mul(grad_b[0], first, out=grad_a[0])
    grad_initial = grad_b[0] * a[0]
    if cuts is not None:
        grad_a.masked_fill_(_over(cuts, a), 0.0)
        grad_initial.masked_fill_(_over(cuts[0], first), 0.0)
    return grad_a, grad_b, grad_initial


def _gradients_again(
    a: Tensor, h: Tensor, first: Tensor, gradient: Tensor, cuts: Tensor | None
) -> tuple[Tensor, ...]:
    """Return the same with gradients: it is a recurrence from the last step to the first."""
    a, h, first = a.conj(), h.conj(), first.conj()
    links = torch.cat((torch.zeros_like(a[:1]), a[1:].flip(0)))
    reset = None if cuts is None else torch.cat((cuts[:1], cuts[1:].flip(0)))
    grad_b = linear_recurrence(links, gradient.flip(0), reset=reset).flip(0)
    grad_a = grad_b * torch.cat((first.unsqueeze(0), h[:-1]))
    grad_initial = grad_b[0] * a[0]
    if cuts is not None:
        grad_a = grad_a.masked_fill(_over(cuts, a), 0.0)
        grad_initial = grad_initial.masked_fill(_over(cuts[0], first), 0.0)
    return grad_a, grad_b, grad_initial


def _over(rows: Tensor, like: Tensor) -> Tensor:
    """Give a mask of rows the dimensions of what it is to mask."""
    return rows.reshape(*rows.shape, *[1] * (like.dim() - rows.dim()))


def _uncrossed(gradient: Tensor, reset: Tensor) -> Tensor:
    """Return bool (T, B), True where no gradient goes from a step to the one before it.

    So it is at a reset, and where nothing from there to the next reset has a gradient: the numbers
    may be infinite, and 0 times that is no number.
    """
    time = len(reset)
    step = torch.arange(time, device=reset.device).unsqueeze(1)

    def following(mask: Tensor) -> Tensor:  # the first step from each one on where it is True, or T
        return torch.where(mask, step, time).flip(0).cummin(0).values.flip(0)

    asked = (gradient != 0).reshape(*reset.shape, -1).any(2)  # (T, B)
    after = torch.cat((reset[1:], torch.zeros_like(reset[:1])))  # a reset at the next step
    return reset | (following(asked) > following(after)) | (following(asked) == time)


def _finite(x: Tensor) -> bool:
    """Tell whether all numbers are finite, and their sum: one pass, and nothing to allocate."""
    return cmath.isfinite(x.sum().item())


def scan_(links: Tensor, h: Tensor, *, reverse: bool = False, cuts: Tensor | None = None) -> None:
    """Run the recurrence in place, without gradients.

    `links[i]` times one of h_i and h_{i+1} is added to the other.

    Args:
        links: Factors (T - 1, B, ...), contiguous.
        h: Summands (T, B, ...), contiguous, of the dtype of `links`; becomes the result.
        reverse: Go from the last step to the first, as the gradient does, instead of from the first
            to the last.
        cuts: Bool (T - 1, B), True where nothing is added, whatever the factor and what it
            multiplies are.
    """
    time, rows = h.shape[:2]
    links, h = links.view(time - 1, rows, h[0, 0].numel()), h.view(time, rows, -1)  # (T, B, N / B)
    if h.is_cuda and has_triton() and not h.is_complex():
        from .scan_triton import scan_ as triton_scan_

        triton_scan_(links, h, reverse, cuts)
        return
    summands = None
    if cuts is not None:
        links, summands = links.masked_fill(cuts.unsqueeze(2), 0.0), h.clone()
    if time >= _LEAST_STEPS and (h.is_cuda or h[0].numel() < _FEW_CHANNELS):
        _scan_in_blocks_(links, h, reverse)
    else:
        _scan_in_steps_(links, h, reverse)
    # zero times it is no number, so a second time, with more care
    if summands is not None and not _finite(h):
        _scan_in_steps_(links, h.copy_(summands), reverse, cuts)


def has_triton() -> bool:
    """Tell whether Triton is importable; torch's CUDA builds for Linux bring it."""
    return importlib.util.find_spec("triton") is not None


def _scan_in_steps_(links: Tensor, h: Tensor, reverse: bool, cuts: Tensor | None = None) -> None:
    order = slice(None, None, -1 if reverse else 1)
    steps = h.unbind(0)[order]
    cut = masks_of_steps(cuts, len(links))[order]
    for link, closed, before, step in zip(
        links.unbind(0)[order], cut, steps, steps[1:], strict=False
    ):
        step.addcmul_(link, before if closed is None else before.masked_fill(closed, 0.0))


def _scan_in_blocks_(links: Tensor, h: Tensor, reverse: bool) -> None:
    """Do the same in about 3 sqrt(T) calls: C blocks side by side, then what came before each."""
    time = len(h)
    length = int(time**0.5)
    blocks = (time - 1) // length
    # at least one step: these come first, and their last result enters the blocks
    head = time - blocks * length
    if reverse:
        first, rest = slice(time - head, None), slice(time - head)
        carry, body, start = h[-head], h[:-head], h[-head:]
    else:
        first, rest = slice(head - 1), slice(head - 1, None)
        carry, body, start = h[head - 1], h[head:], h[:head]
    _scan_in_steps_(links[first], start, reverse)
    body = body.unflatten(0, (blocks, length))  # (C, L, B, N / B)
    links = links[rest].unflatten(0, (blocks, length))
    # of the carry in each step: the product of the factors since the block began
    weight = links.clone()
    order = slice(None, None, -1 if reverse else 1)
    steps, weights = body.unbind(1)[order], weight.unbind(1)[order]
    for i, link in enumerate(links.unbind(1)[order][1:]):
        steps[i + 1].addcmul_(link, steps[i])
        weights[i + 1].mul_(weights[i])
    for block, share in zip(body.unbind(0)[order], weight.unbind(0)[order], strict=True):
        block.addcmul_(share, carry)
        carry = block[0 if reverse else -1]


def _check(a: Tensor, b: Tensor, initial: Tensor | None, reset: Tensor | None) -> None:
    given = all(isinstance(x, Tensor) for x in (a, b))
    numbers = given and all(x.is_floating_point() or x.is_complex() for x in (a, b))
    if not numbers or a.shape != b.shape or a.dim() < 2:
        raise ValueError(
            f"linear_recurrence: a is {describe(a)}, b is {describe(b)}; "
            "both are float or complex tensors (T, B, ...) of one shape"
        )
    if initial is not None:
        shaped = isinstance(initial, Tensor) and initial.shape == a.shape[1:]
        if not shaped or (initial.is_complex() and not (a.is_complex() or b.is_complex())):
            raise ValueError(
                f"linear_recurrence: initial is {describe(initial)}; it must be "
                f"{tuple(a.shape[1:])}, and complex only where a or b is"
            )
    shaped = isinstance(reset, Tensor) and reset.shape == a.shape[:2]
    if reset is not None and not (shaped and reset.dtype == torch.bool):
        raise ValueError(
            f"linear_recurrence: reset is {describe(reset)}; it must be bool {tuple(a.shape[:2])}"
        )
