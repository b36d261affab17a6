"""Keeping what is not finite apart from the gradients of what a reset separates from it.

A reset ends NaN and infinity in outputs and states, for it selects. In a gradient they come back:
the steps before a reset get a gradient of zero from the steps after it, and zero times infinity is
no number, in the sums over all steps that the gradients of the parameters are. So such steps are
run again on zeros, from the initial state.

Shapes: B batch, T time, D input, H output.
"""

from __future__ import annotations

import cmath
from typing import NamedTuple

import torch
from torch import Tensor

from .masks import valid_steps
from .state import State, leaves


class Isolated(NamedTuple):
    """A batch without its spoiled steps.

    Attributes:
        x: Zero there (B, T, D).
        reset: Bool (B, T), with a reset more where spoiled steps begin.
        spoiled: Bool (B, T), the steps from the first number that is not finite to the next reset.
        start: Bool (B,), rows whose state is spoiled and gives way to the initial state.
        end: Bool (B,), rows whose final state is spoiled.
    """

    x: Tensor
    reset: Tensor
    spoiled: Tensor
    start: Tensor
    end: Tensor


def isolate(
    x: Tensor, state: State, lengths: list[int], reset: Tensor, output: Tensor, *, causal: bool
) -> Isolated | None:
    """Take out the steps that are spoiled and followed by a reset.

    Args:
        x: A core's input (B, T, D).
        state: The state before the first step.
        lengths: Real steps of each row.
        reset: Bool (B, T).
        output: What it returned (B, T, H).
        causal: Whether it reads forwards only.

    Returns:
        What to run instead; None where nothing is spoiled, which is told by a few sums.
    """
    if all(cmath.isfinite(tensor.detach().sum().item()) for tensor in (x, output, *leaves(state))):
        return None
    valid = valid_steps(torch.tensor(lengths), x.shape[1])
    reset = reset.to(x.device) & valid
    # where it begins
    wrong = ~(x.isfinite().all(2) & output.isfinite().all(2)) & valid  # (B, T)
    start = torch.zeros(len(x), dtype=torch.bool)
    for leaf in leaves(state):
        start |= ~leaf.isfinite().reshape(len(x), -1).all(1)  # (B,)
    piece = reset.cumsum(1)  # which piece between resets a step belongs to
    ended = piece < piece[:, -1:]  # a reset follows
    bad = wrong.clone()
    bad[:, 0] |= start & ~reset[:, 0]
    # how far it goes: to the next reset
    spoiled = torch.zeros_like(bad)
    running = torch.zeros_like(start)
    for t in range(x.shape[1]):
        running = running & ~reset[:, t] | bad[:, t]
        spoiled[:, t] = running
    end = torch.zeros_like(start)
    if causal:
        spoiled &= ended
    else:  # what is read backward spoils the steps before it as well
        together = piece.unsqueeze(2) == piece.unsqueeze(1)  # (B, T, T), steps of one piece
        spoiled = (together & spoiled.unsqueeze(1)).any(2) & valid & (piece[:, -1:] > 0)
        last = (valid.sum(1, keepdim=True) - 1).clamp(min=0)  # (B, 1)
        end = spoiled[:, 0] | spoiled.gather(1, last).squeeze(1)
    start &= reset.any(1)
    if not (spoiled.any() or start.any()):
        return None
    before = torch.cat((torch.zeros_like(spoiled[:, :1]), spoiled[:, :-1]), 1)  # (B, T)
    x = x.masked_fill(spoiled.unsqueeze(2), 0.0)
    return Isolated(x, reset | (spoiled & ~before), spoiled, start, end)
