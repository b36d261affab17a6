"""Running a batch segment by segment, as a schedule has cut it.

Shapes: B batch, T time, N rows of a segment or documents, M steps of all segments' rows, D input,
H output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from .kernels.loops import transformed
from .schedule import Documents, Segment
from .state import State, concatenate, leaves, map_state, select_rows, where_rows

Fresh: TypeAlias = Callable[[int], State]
"""Makes the initial state of so many rows."""

Run: TypeAlias = Callable[[Tensor, State, list[int] | None], tuple[Tensor, State]]
"""(input (N, steps, D), state before, lengths or None) -> (output (N, steps, H), state after)."""


def run_pieces(
    x: Tensor, state: State, segments: Sequence[Segment], fresh: Fresh, run: Run
) -> tuple[Tensor, State]:
    """Run the rows of a batch, cut where they end or start anew.

    Args:
        x: Input (B, T, D).
        state: The state before the first step.
        segments: The cuts.
        fresh: Makes the state that a reset leaves.
        run: Runs the rows of a segment.

    Returns:
        Output (B, T, H), zero past the lengths, and the final state.
    """
    batch, time = x.shape[:2]
    end = segments[-1].stop
    # One split: its gradient is one concatenation, where each slice's would be a tensor of the
    # whole size.
    sizes = [segment.stop - segment.start for segment in segments]
    parts = [x] if sizes == [time] else x.split([*sizes, time - end], 1)  # (B, steps, D) each
    rows = [
        part if n == batch else part[:n]
        for part, (_, _, n, _, _) in zip(parts, segments, strict=False)
    ]
    outputs, state = _run(rows, state, segments, fresh, run)
    outputs = [
        output if len(output) == batch else F.pad(output, (0, 0, 0, 0, 0, batch - len(output)))
        for output in outputs
    ]  # (B, steps, H) each
    if end < time:
        outputs.append(x.new_zeros(batch, time - end, outputs[0].shape[2]))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1), state  # (B, T, H)


def run_documents(
    x: Tensor, state: State, documents: Documents, fresh: Fresh, run: Run
) -> tuple[Tensor, State]:
    """Run a batch document by document; the arguments and the result are those of `run_pieces`.

    Args:
        x: Input (B, T, D).
        state: The state before the first step.
        documents: The documents.
        fresh: Makes the state that a reset leaves.
        run: Runs the rows of a segment.
    """
    segments, there, back, start, last = documents
    before = map_state(
        lambda given, anew: torch.cat((given, anew)).index_select(0, start), state, fresh(1)
    )
    shapes = [(segment.rows, segment.stop - segment.start) for segment in segments]
    places = _moved(x.flatten(0, 1), there, back)  # (M, D)
    parts = places.split([rows * steps for rows, steps in shapes])
    rows = [part.unflatten(0, shape) for part, shape in zip(parts, shapes, strict=True)]
    outputs, after = _run(rows, before, segments, fresh, run)
    places = torch.cat([output.flatten(0, 1) for output in outputs])  # (M, H)
    output = _moved(places, back, there).unflatten(0, x.shape[:2])  # (B, T, H)
    return output, map_state(lambda leaf: leaf.index_select(0, last), after)


def _run(
    parts: Iterable[Tensor], state: State, segments: Sequence[Segment], fresh: Fresh, run: Run
) -> tuple[list[Tensor], State]:
    """Run segments one after the other; return their outputs and the state at each row's end."""
    outputs = []
    finished: list[State] = []  # rows that reached their length, the last to finish first
    running = all_rows = len(leaves(state)[0])
    beginning = None
    for part, (_, _, rows, lengths, reset) in zip(parts, segments, strict=True):
        if rows < running:
            finished.insert(0, select_rows(state, slice(rows, running)))
            state, running = select_rows(state, slice(rows)), rows
        if reset is not None:
            if beginning is None:
                beginning = fresh(all_rows)
            state = where_rows(reset, select_rows(beginning, slice(rows)), state)
        output, state = run(part, state, lengths)
        outputs.append(output)
    return outputs, concatenate([state, *finished])


class _Move(torch.autograd.Function):
    """Takes rows to other places, each to one at most: the gradient takes them back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return _taken(x, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return _moved(gradient, inverse, index), None, None


def _moved(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Return the rows `index` of (N, D), zeros for -1; `inverse` says where each row went."""
    if transformed():
        return _taken(x, index)
    return _Move.apply(x, index, inverse)  # type: ignore[no-any-return]


def _taken(x: Tensor, index: Tensor) -> Tensor:
    return x.index_select(0, index.clamp(min=0)).masked_fill_((index < 0).unsqueeze(1), 0.0)
