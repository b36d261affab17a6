"""What a core accepts, and what it says of anything else.

A state is compared with the form of `initial_state`'s: shapes and kinds as plain data, read once
per core.

Shapes: B batch, T time, D input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from .autocast import autocast_enabled
from .kernels.loops import called_while_tracing, transformed
from .state import State, leaves


class Leaf(NamedTuple):
    """What a tensor of a state looks like.

    Attributes:
        shape: Its shape without the batch.
        kind: "float", "integer", "bool" or "complex".
    """

    shape: tuple[int, ...]
    kind: str


class Branch(NamedTuple):
    """What a tuple of states looks like.

    Attributes:
        type: tuple, or a NamedTuple.
        parts: The forms of its parts.
    """

    type: type[tuple[Any, ...]]
    parts: tuple[Form, ...]


Form: TypeAlias = "Leaf | Branch"


def dense(x: Any) -> bool:
    """Tell whether something is a tensor that has a shape to ask for: not nested, not sparse."""
    return isinstance(x, Tensor) and not x.is_nested and x.layout == torch.strided


def form_of(state: State) -> Form:
    """Read the form of a state.

    Args:
        state: Any state, leaves (B, ...).
    """
    if isinstance(state, Tensor):
        return Leaf(tuple(state.shape[1:]), _kind(state.dtype))
    return Branch(type(state), tuple(form_of(part) for part in state))


def fits(state: Any, form: Form, batch: int, device: torch.device | None) -> bool:
    """Tell whether something is a state of a form; quick, for it is asked at every step.

    Args:
        state: Anything.
        form: The form.
        batch: B.
        device: Where its tensors must be; None: anywhere.
    """
    if isinstance(form, Leaf):
        state, form = (state,), Branch(tuple, (form,))
    if type(state) is not form.type or len(state) != len(form.parts):
        return False
    # the lengths are equal, and to check that again would cost at every step
    for part, wanted in zip(state, form.parts):  # noqa: B905
        if isinstance(wanted, Branch):
            if not fits(part, wanted, batch, device):
                return False
            continue
        shape, kind = wanted
        if not isinstance(part, Tensor) or part.shape != (batch, *shape):
            return False
        dtype = part.dtype
        if not (dtype.is_floating_point if kind == "float" else _kind(dtype) == kind):
            return False
        if device is not None and part.device != device:
            return False
    return True


def typed(state: Any, form: Form) -> Any:
    """Give plain tuples the types of a form, as far as they have its structure.

    Args:
        state: Anything.
        form: The form.
    """
    if not (isinstance(form, Branch) and isinstance(state, tuple)):
        return state
    if len(state) != len(form.parts):
        return state
    fields, wanted = getattr(state, "_fields", None), getattr(form.type, "_fields", None)
    if fields not in (None, wanted):  # another core's state
        return state
    parts = tuple(typed(part, inner) for part, inner in zip(state, form.parts, strict=True))
    return cast("Any", form.type)._make(parts) if wanted is not None else parts


def refuse_state(
    name: str, state: Any, form: Form, batch: int, device: torch.device | None
) -> ValueError:
    """Say what is wrong with a state.

    Args:
        name: The core's class.
        state: What does not fit.
        form: What it had to look like.
        batch: B.
        device: Where its tensors had to be; None: anywhere.
    """
    found = _describe_state(state)
    tensors = list(tensors_in(state))
    places = {str(tensor.device) for tensor in tensors} - {str(device)}
    hint = ""
    if isinstance(state, PackedSequence):
        hint = "a packed sequence is no state: it holds inputs; "
    elif any(
        leaf.dim() == 1 + len(shape) + 1
        for leaf, shape in zip(tensors, _shapes(form), strict=False)
    ):
        hint = (
            "torch's modules put the layers first: pass one layer of it, h[0], or "
            "state_from_torch(core, state); "
        )
    elif places and fits(state, form, batch, None):
        return ValueError(_apart(name, places.pop(), device))
    return ValueError(
        f"{name}: the state is {found} for a batch of {batch}; states are batch first, here "
        f"{_describe_form(form, batch)}: {hint}pass what this core returned, or "
        f"initial_state({batch})"
    )


def refuse_input(name: str, x: Any, size: int, *, step: bool) -> ValueError:
    """Say what is wrong with an input.

    Args:
        name: The core's class.
        x: What is no float tensor of the right shape.
        size: D.
        step: Whether it had to be one step's (B, D), and not a sequence (B, T, D).
    """
    wanted = f"(B, {size})" if step else f"(B, T, {size})"
    if isinstance(x, PackedSequence):
        remedy = (
            "pass one step of a padded batch"
            if step
            else "take x, lengths = unrolled.core.unpack(x) and pass both, lengths=lengths; "
            "unrolled.core.pack(output, x) packs again"
        )
    elif not isinstance(x, Tensor):
        remedy = "torch.as_tensor makes one of numbers"
    elif not dense(x):
        remedy = "make it dense and padded, with lengths=..."
    elif x.is_complex():
        remedy = "pass real and imaginary part side by side, torch.view_as_real(x).flatten(-2)"
    elif not x.is_floating_point():
        remedy = "embed integers first, turn masks into floats"
    elif step:
        remedy = "take one step of a sequence, x[:, t], or call the core for all of it"
    elif x.dim() == 2 and x.shape[1] == size:
        remedy = (
            "put batch before time, x.unsqueeze(0) for one sequence; `step` takes one step (B, D)"
        )
    elif x.dim() == 3 and x.shape[1] == size:
        remedy = "put features last, x.transpose(1, 2)"
    else:
        remedy = "put batch before time and features last"
    return ValueError(f"{name}: x is {describe(x)}; it must be a float tensor {wanted}: {remedy}")


def refuse_mixture(
    name: str, x: Tensor, state: State, parameters: Iterable[Tensor], error: RuntimeError
) -> None:
    """Raise ValueError where an error comes from an input of another type or device than the rest.

    Args:
        name: The core's class.
        x: The input.
        state: The state.
        parameters: The core's.
        error: What torch said.
    """
    for leaf in leaves(state):
        if leaf.device != x.device:
            raise ValueError(_apart(name, leaf.device, x.device)) from error
    weights = [weight for weight in parameters if weight.is_floating_point()]
    kinds = {weight.dtype for weight in weights}
    if weights and x.device not in {weight.device for weight in weights}:
        raise refuse_device(name, x, weights) from error
    if weights and x.dtype not in kinds and not autocast_enabled(x.device.type):
        raise ValueError(
            f"{name}: x is {_name(x.dtype)} and the parameters are "
            f"{', '.join(sorted(map(_name, kinds)))}; turn one into the other, x.to(dtype) or "
            "core.to(dtype)"
        ) from error


def refuse_device(name: str, x: Tensor, parameters: Iterable[Tensor]) -> ValueError:
    """Say that input and parameters are on two devices.

    Args:
        name: The core's class.
        x: The input.
        parameters: The core's.
    """
    places = ", ".join(sorted({str(weight.device) for weight in parameters}))
    return ValueError(
        f"{name}: x is on {x.device} and the parameters are on {places}; move one to the other, "
        "x.to(device) or core.to(device)"
    )


def _apart(name: str, one: object, other: object) -> str:
    return f"{name}: the state is on {one} and x is on {other}; move one to the other"


def check_lengths(name: str, lengths: Any, batch: int, time: int) -> list[int]:
    """Return lengths as numbers.

    Args:
        name: Who was given them.
        lengths: Integers (B,); one on a GPU is waited for.
        batch: B.
        time: T.

    Raises:
        ValueError: They are anything else, or out of range.
    """
    check_lengths_kind(name, lengths, batch)
    steps: list[int] = lengths.tolist()
    if batch and not 0 <= min(steps) <= max(steps) <= time:
        raise ValueError(
            f"{name}: lengths run from {min(steps)} to {max(steps)}; each must be 0 to {time}, the "
            "steps of x: pad x further or shorten them"
        )
    return steps


def check_lengths_known(name: str, lengths: Any, batch: int, time: int) -> None:
    """Do the same where numbers can be asked for: on a CPU, outside of graphs and transforms.

    Args:
        name: Who was given them.
        lengths: Integers (B,); of others the kind is looked at, and not the range.
        batch: B.
        time: T.

    Raises:
        ValueError: They are anything else, or out of range.
    """
    check_lengths_kind(name, lengths, batch)
    if lengths.device.type == "cpu" and not (torch.compiler.is_compiling() or transformed()):
        check_lengths(name, lengths, batch, time)


def check_lengths_kind(name: str, lengths: Any, batch: int) -> None:
    """Raise ValueError where lengths are no integers (B,).

    Args:
        name: Who was given them.
        lengths: Anything.
        batch: B.
    """
    shaped = isinstance(lengths, Tensor) and lengths.shape == (batch,)
    if not shaped or _kind(lengths.dtype) != "integer":
        remedy = "" if isinstance(lengths, Tensor) else ": pass torch.tensor(lengths)"
        raise ValueError(
            f"{name}: lengths is {describe(lengths)}; it must be int64 ({batch},), "
            f"one per row{remedy}"
        )


def check_reset(name: str, reset: Any, batch: int, time: int) -> None:
    """Raise ValueError where resets are not bool (B, T).

    Args:
        name: Who was given them.
        reset: Anything.
        batch: B.
        time: T.
    """
    if not isinstance(reset, Tensor) or reset.shape != (batch, time) or reset.dtype != torch.bool:
        bools = isinstance(reset, Tensor) and reset.dtype == torch.bool
        remedy = "" if bools else "; pass torch.as_tensor(reset).bool()"
        raise ValueError(
            f"{name}: reset is {describe(reset)}; it must be bool ({batch}, {time}): "
            f"one per step{remedy}"
        )


@called_while_tracing  # passes the message on
def refuse_masks(name: str) -> None:
    """Raise ValueError: lengths and resets are not to be had in a graph without breaks.

    Args:
        name: Who was given them.
    """
    raise ValueError(
        f"{name}: lengths and resets cut a batch where their values say, which a graph without "
        "breaks can't hold: compile without fullgraph=True; export the forward without them, or "
        "the step"
    )


def describe(x: Any) -> str:
    """Name dtype and shape of a tensor, or what else it is."""
    if isinstance(x, Tensor):
        return f"nested {_name(x.dtype)}" if x.is_nested else f"{_name(x.dtype)} {tuple(x.shape)}"
    return "None" if x is None else f"a {type(x).__name__}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _kind(dtype: torch.dtype) -> str:
    if dtype.is_floating_point:
        return "float"
    return "bool" if dtype == torch.bool else "complex" if dtype.is_complex else "integer"


def _shapes(form: Form) -> list[tuple[int, ...]]:
    if isinstance(form, Leaf):
        return [form.shape]
    return [shape for part in form.parts for shape in _shapes(part)]


def tensors_in(state: Any) -> list[Tensor]:
    """Return the tensors of whatever was given as a state."""
    if isinstance(state, Tensor):
        return [state]
    parts = state if isinstance(state, tuple | list) else ()
    return [leaf for part in parts for leaf in tensors_in(part)]


def _describe_state(state: Any) -> str:
    if isinstance(state, PackedSequence) or not isinstance(state, tuple | list):
        return describe(state)
    inner = ", ".join(_describe_state(part) for part in state)
    if isinstance(state, list):
        return f"a list [{inner}]"
    return f"{type(state).__name__ if hasattr(state, '_fields') else ''}({inner})"


def _describe_form(form: Form, batch: int) -> str:
    if isinstance(form, Leaf):
        return f"{form.kind} {(batch, *form.shape)}"
    names = getattr(form.type, "_fields", None)
    parts = [_describe_form(part, batch) for part in form.parts]
    if names is None:
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    named = ", ".join(f"{name}: {part}" for name, part in zip(names, parts, strict=True))
    return f"{form.type.__name__}({named})"
