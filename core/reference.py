"""The readable reference of what every causal core does with a batch.

Shapes: B batch, T time, D input, H output.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .recurrent import RecurrentCore
from .state import State, where_rows


def reference(
    core: RecurrentCore,
    x: Tensor,
    state: State | None = None,
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    gaps: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Run a causal core by its definition: every row at every step, one step at a time.

    What `forward` must agree with, and the place to read what `lengths` and `reset` mean.

    Args:
        core: The core.
        x: Input (B, T, D).
        state: The state before the first step; the initial state when not given.
        lengths: Int64 (B,), real steps of each row.
        reset: Bool (B, T), True where a row's state becomes the initial state before that step.
        gaps: Numbers (B, T), the time since the step before.

    Returns:
        Output (B, T, H) and the final state, leaves (B, ...).
    """
    batch, time = x.shape[:2]
    dtype = torch.promote_types(x.dtype, torch.float32)
    initial = core.initial_state(batch, device=x.device, dtype=dtype)
    state = initial if state is None else state
    outputs = [x.new_zeros(batch, 0, core.output_size)]
    for t in range(time):
        if reset is not None:
            valid = torch.ones(batch, dtype=torch.bool) if lengths is None else t < lengths
            state = where_rows(reset[:, t] & valid, initial, state)
        steps = {} if gaps is None else {"gaps": gaps[:, t]}
        output, following = core.step(x[:, t], state, **steps)  # (B, H)
        if lengths is not None:
            valid = t < lengths
            output = output.masked_fill(~valid.unsqueeze(1), 0.0)
            following = where_rows(valid, following, state)
        state = following
        outputs.append(output.unsqueeze(1))
    return torch.cat(outputs, 1), state
