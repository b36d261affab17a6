"""Losses over sequences, with the rules of a core: what lies past a row's length does not count.

Shapes: B batch, T time, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..checks import check_lengths_known, describe
from ..kernels.loops import Loop
from ..masks import valid_steps

IGNORED = -100
"""The target that torch's cross-entropy leaves out."""


def sequence_cross_entropy(logits: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Sum the cross-entropies over the valid steps, in nats.

    Args:
        logits: (B, T, V).
        target: (B, T) int64.
        lengths: Valid steps of each row (B,); None: all. Best kept on the CPU: a CUDA tensor is
            waited for.

    Returns:
        A scalar, float32 or wider.
    """
    _check("sequence_cross_entropy", logits, lengths, target)
    if lengths is not None and lengths.numel() and int(lengths.min()) < target.shape[1]:
        valid = valid_steps(lengths, target.shape[1]).to(target.device)  # (B, T)
        target = target.masked_fill(~valid, IGNORED)
    # Under autocast the logits are half precision; the sum of many logarithms must not be.
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(
        wide.flatten(0, 1), target.flatten(), ignore_index=IGNORED, reduction="sum"
    )  # of (B T, V) and (B T,)


def chunked_cross_entropy(
    output: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    lengths: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Sum the cross-entropies of an output layer over the valid steps, in nats.

    The logits of all steps never exist at once: a chunk of them is made, its loss and its gradient
    taken, and it is gone. So memory does not grow with B T V, and the logits stay in the cache. No
    dense target is made either.

    Args:
        output: What the output layer reads (B, T, H).
        weight: Its weight (V, H).
        bias: Its bias (V,), or None.
        target: (B, T) int64.
        lengths: Valid steps of each row (B,); None: all. Best kept on the CPU: a CUDA tensor is
            waited for.
        label_smoothing: Share of the target distribution that is spread evenly over all V, as
            torch's cross-entropy does it (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567).

    Returns:
        A scalar, float32 or wider.
    """
    _check("chunked_cross_entropy", output, lengths, target)
    sizes = (weight.shape[:1], (*weight.shape[:1], output.shape[2]))
    for layer, size in zip((bias, weight), sizes, strict=True):
        if layer is not None and (layer.shape != size or not layer.is_floating_point()):
            raise ValueError(
                f"chunked_cross_entropy: weight is {describe(weight)} and bias {describe(bias)}; "
                f"for {describe(output)} they are float tensors (V, H) and (V,)"
            )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"chunked_cross_entropy: label_smoothing is {label_smoothing}; it is a share, 0 to 1"
        )
    if lengths is not None and lengths.numel() and int(lengths.min()) < target.shape[1]:
        valid = valid_steps(lengths, target.shape[1]).to(target.device, non_blocking=True)
        # what does not count is not computed; on a GPU finding it would wait
        if target.device.type == "cpu":
            output, target = output[valid], target[valid]  # (N, H), (N,)
        else:
            target = target.masked_fill(~valid, IGNORED)
    gradient = torch.is_grad_enabled()
    output, target = output.reshape(-1, output.shape[-1]), target.reshape(-1)  # (N, H), (N,)
    loss: Tensor = _ChunkedCrossEntropy.call(
        output, weight, bias, target, label_smoothing, gradient
    )
    return loss


_CHUNK = 1 << 20
"""Logits that exist at once: 4 MB in single precision, about the size of a cache."""


class _ChunkedCrossEntropy(Loop):
    """Takes the gradients in the forward pass, where the logits are at hand."""

    @staticmethod
    def formula(
        output: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        label_smoothing: float,
        gradient: bool,
    ) -> Tensor:
        """Make all logits at once."""
        logits = torch.mm(output, weight.to(output.dtype).t())  # (N, V)
        logits = logits.to(torch.promote_types(output.dtype, torch.float32))
        return functional.cross_entropy(
            logits if bias is None else logits + bias,
            target,
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=label_smoothing,
        )

    @staticmethod
    def fast(
        ctx: Any,
        output: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        label_smoothing: float,
        gradient: bool,
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Sum the cross-entropies of (N, H) and keep their gradients."""
        size = weight.shape[0]
        wide = torch.promote_types(output.dtype, torch.float32)
        used = weight.to(output.dtype)  # under autocast the output is narrower than the weights
        loss = output.new_zeros((), dtype=wide)
        needs = [needed and gradient for needed in ctx.needs[:3]]
        grads = [
            torch.zeros_like(output) if needs[0] else None,
            torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
            if needs[1]
            else None,
            torch.zeros_like(bias, dtype=wide) if bias is not None and needs[2] else None,
        ]
        grad_output, grad_weight, grad_bias = grads
        rows = max(1, _CHUNK // size)
        for first in range(0, output.shape[0], rows):
            # The loss of a chunk of n rows: log of the sum of exp(logits), less the target's logit.
            part, wanted = output[first : first + rows], target[first : first + rows]
            logits = torch.mm(part, used.t()).to(wide)  # (n, V)
            if bias is not None:
                logits += bias
            valid = wanted != IGNORED
            chosen = wanted.masked_fill(~valid, 0).unsqueeze(1)  # (n, 1)
            norm = logits.logsumexp(1)  # (n,)
            likely = logits.gather(1, chosen).squeeze(1)  # (n,)
            losses = norm - (1 - label_smoothing) * likely
            if label_smoothing:
                losses -= label_smoothing / size * logits.sum(1)
            loss += losses.masked_fill(~valid, 0.0).sum()
            if not any(needs):
                continue
            # Its gradient: the probabilities less the target distribution.
            error = logits.sub_(norm.unsqueeze(1)).exp_()
            if label_smoothing:
                error -= label_smoothing / size
            error.scatter_add_(1, chosen, error.new_full(chosen.shape, label_smoothing - 1))
            error.masked_fill_(~valid.unsqueeze(1), 0.0)
            # Of the logits (n, V) it goes to the layer's bias (V,), input (n, H), weight (V, H).
            if grad_bias is not None:
                grad_bias += error.sum(0)
            narrow = error.to(output.dtype)
            if grad_output is not None:
                torch.mm(narrow, used, out=grad_output[first : first + rows])
            if grad_weight is not None:
                grad_weight += torch.mm(narrow.t(), part)
        ctx.dtypes = (output.dtype, weight.dtype, None if bias is None else bias.dtype)
        return loss, grads

    @staticmethod
    def gradient(ctx: Any, kept: Sequence[Any], *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Scale what the forward pass kept."""
        scaled = [
            None if whole is None else (whole * grads[0]).to(dtype)
            for whole, dtype in zip(kept, ctx.dtypes, strict=True)
        ]
        return (*scaled, None, None, None)


def truncated_smoothness(
    logits: Tensor, lengths: Tensor | None = None, *, threshold: float = 4.0
) -> Tensor:
    """Sum the jumps of log-probabilities from step to step: MS-TCN's smoothing loss.

    sum over t of the mean over V of min(|log p_t - log p_{t-1}|, threshold)^2, without a gradient
    through p_{t-1} (Abu Farha and Gall 2019, https://arxiv.org/abs/1903.01945, equations 7 to 9).

    Args:
        logits: (B, T, V).
        lengths: Valid steps of each row (B,); None: all. Best kept on the CPU: a CUDA tensor is
            waited for.
        threshold: A greater jump counts as this one.

    Returns:
        A scalar, float32 or wider.
    """
    _check("truncated_smoothness", logits, lengths, None)
    if not threshold > 0:
        raise ValueError(f"truncated_smoothness: threshold is {threshold}; it must be above 0")
    logs = functional.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), -1)
    jumps = (logs[:, 1:] - logs[:, :-1].detach()).abs().clamp(max=threshold)  # (B, T - 1, V)
    if lengths is not None and jumps.numel() and int(lengths.min()) < logits.shape[1]:
        valid = valid_steps(lengths - 1, jumps.shape[1]).to(jumps.device)  # (B, T - 1)
        jumps = jumps.masked_fill(~valid.unsqueeze(2), 0.0)
    return jumps.square().sum() / logits.shape[-1]


def _check(name: str, output: Tensor, lengths: Tensor | None, target: Tensor | None) -> None:
    """Refuse what would be broadcast or cut, and lengths that leave out steps unseen."""
    if not isinstance(output, Tensor) or output.dim() != 3 or not output.is_floating_point():
        raise ValueError(f"{name}: {describe(output)} is no float tensor (B, T, features)")
    if target is not None:
        shaped = isinstance(target, Tensor) and target.shape == output.shape[:2]
        if not shaped or target.dtype != torch.int64:
            raise ValueError(
                f"{name}: {describe(output)} does not go with targets {describe(target)}; they are "
                "(B, T, features) and int64 (B, T), one target per step"
            )
    if lengths is not None:
        check_lengths_known(name, lengths, *output.shape[:2])
