"""The state of a recurrence, and what can be done with any of them.

A state is a small tree of batch-first tensors: a tensor, a NamedTuple of tensors (what a core
defines) or a tuple of states (what a composition of cores has). Nothing here changes its arguments.

Shapes: B batch, `...` whatever the core keeps per row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor

State: TypeAlias = "Tensor | tuple[State, ...]"


class HiddenState(NamedTuple):
    """The state of a core that carries its last output from step to step and nothing else.

    Attributes:
        hidden: h (B, H), the last output.
    """

    hidden: Tensor


class LSTMState(NamedTuple):
    """The state of a core that carries a hidden state and a cell, as an LSTM does.

    Attributes:
        hidden: h (B, H), the last output.
        cell: c, the memory, (B, H) unless the core says otherwise.
    """

    hidden: Tensor
    cell: Tensor


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """Apply a function to the corresponding tensors of one or more states.

    Args:
        function: Takes one tensor of each state, returns a tensor.
        *states: States of one structure.

    Returns:
        A state of the first state's structure; NamedTuples keep their type.
    """
    first = states[0]
    if isinstance(first, Tensor):
        return function(*states)
    parts = [
        map_state(function, *part)
        for part in zip(*cast("tuple[tuple[State, ...], ...]", states), strict=True)
    ]
    return cast("State", first._make(parts)) if hasattr(first, "_make") else tuple(parts)


def leaves(state: State) -> list[Tensor]:
    """Return the tensors of a state, in order.

    Args:
        state: Any state.

    Returns:
        Its tensors, each (B, ...).
    """
    if isinstance(state, Tensor):
        return [state]
    return [leaf for part in state for leaf in leaves(part)]


def structure(state: State) -> Any:
    """Return a state without its tensors, for `rebuilt`.

    Args:
        state: Any state.
    """
    return map_state(lambda _: cast("Tensor", None), state)


def rebuilt(form: Any, tensors: Iterable[Tensor]) -> Any:
    """Make a state of tensors; the inverse of `leaves`.

    Args:
        form: What `structure` returned.
        tensors: In the order of `leaves`.

    Returns:
        A state of that structure; NamedTuples keep their type.
    """
    rest = iter(tensors)

    def build(form: Any) -> Any:
        if not isinstance(form, tuple):
            return next(rest)
        parts = [build(part) for part in form]
        return form._make(parts) if hasattr(form, "_make") else tuple(parts)

    return build(form)


def detach(state: State) -> State:
    """Cut the graph behind a state: truncated backpropagation through time.

    Args:
        state: Any state.

    Returns:
        The same numbers without their history.
    """
    return map_state(Tensor.detach, state)


def select_rows(state: State, index: Tensor | slice) -> State:
    """Pick rows of the batch, in any order and any number of times (the beams of a search).

    Args:
        state: Any state, leaves (B, ...).
        index: Row numbers (N,), a row mask (B,), or a slice.

    Returns:
        A state with leaves (N, ...).
    """
    return map_state(lambda leaf: leaf[index], state)


def where_rows(mask: Tensor, if_true: State, if_false: State) -> State:
    """Take each row from one of two states.

    Args:
        mask: Bool (B,), True where the row comes from `if_true`.
        if_true: Any state, leaves (B, ...).
        if_false: A state of the same structure.

    Returns:
        The chosen rows, leaves (B, ...).
    """

    def choose(true: Tensor, false: Tensor) -> Tensor:
        return torch.where(mask.view(-1, *[1] * (true.dim() - 1)), true, false)

    return map_state(choose, if_true, if_false)


def concatenate(states: Sequence[State]) -> State:
    """Join states along the batch; the inverse of `split`.

    Args:
        states: At least one, of one structure.

    Returns:
        One state whose batch is the sum of theirs.
    """
    if len(states) == 1:
        return states[0]
    return map_state(lambda *parts: torch.cat(parts), *states)


def split(state: State) -> list[State]:
    """Take a state apart into its rows; the inverse of `concatenate`.

    Args:
        state: Any state, leaves (B, ...).

    Returns:
        B states, leaves (1, ...).
    """
    return [select_rows(state, slice(row, row + 1)) for row in range(leaves(state)[0].shape[0])]


def to_plain(state: State) -> Any:
    """Turn a state into what `torch.load(weights_only=True)` reads back: dicts, lists, tensors.

    Args:
        state: Any state.

    Returns:
        A dict for a NamedTuple, a list for a tuple, a copy for a tensor (so that a view does not
        save its whole base).
    """
    if isinstance(state, Tensor):
        return state.detach().clone()
    if hasattr(state, "_fields"):
        return {name: to_plain(part) for name, part in zip(state._fields, state, strict=True)}
    return [to_plain(part) for part in state]


def from_plain(plain: Any, like: State) -> State:
    """Turn what `to_plain` made into a state again.

    Args:
        plain: The nest of dicts, lists and tensors.
        like: A state of the wanted structure, with any batch size; it also says device and dtype.

    Returns:
        The state, with `like`'s types.

    Raises:
        ValueError: The nest has another structure or other shapes.
    """
    remedy = "the state was saved by another core or another size: start from `initial_state`"
    if isinstance(like, Tensor):
        if not isinstance(plain, Tensor) or plain.shape[1:] != like.shape[1:]:
            found = tuple(plain.shape) if isinstance(plain, Tensor) else type(plain).__name__
            shape = ", ".join(map(str, like.shape[1:]))
            raise ValueError(f"saved state holds {found} where (B, {shape}) belongs; {remedy}")
        return plain.to(device=like.device, dtype=like.dtype)
    names = getattr(like, "_fields", None)
    if names is not None:
        fits = isinstance(plain, dict) and set(plain) == set(names)
    else:
        fits = isinstance(plain, list) and len(plain) == len(like)
    if not fits:
        if isinstance(plain, dict):
            found = ", ".join(plain)
        else:
            found = f"{type(plain).__name__} of {len(plain)}"
        wanted = ", ".join(names or map(str, range(len(like))))
        raise ValueError(f"saved state holds ({found}) where ({wanted}) belong; {remedy}")
    values = [plain[name] for name in names] if names is not None else plain
    parts = [from_plain(value, part) for value, part in zip(values, like, strict=True)]
    return cast("State", like._make(parts)) if hasattr(like, "_make") else tuple(parts)
