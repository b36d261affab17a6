"""Whole torch modules as cores, cores as torch modules, and the states of both.

Shapes: L layers, K directions, B batch, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from ..checks import describe, tensors_in
from ..compose import Bidirectional, Stacked
from ..cores.gru import GRU
from ..cores.lstm import LSTM
from ..cores.rnn import RNN
from ..dropout import Wrapper
from ..families.torch_core import TorchCore, refuse_module
from ..recurrent import RecurrentCore
from ..state import State, leaves

TorchState: TypeAlias = "Tensor | tuple[Tensor, Tensor]"
"""What a torch module takes and returns: h (L * K, B, H), of an `nn.LSTM` (h, c)."""

_KINDS: tuple[type[TorchCore], ...] = (RNN, GRU, LSTM)


def from_torch(module: nn.RNNBase) -> RecurrentCore:
    """Copy a whole torch module: all of its layers and directions.

    The core takes and returns batch first, whatever the module's `batch_first`. Its numbers and
    gradients are the module's. Dropout between layers draws a mask for every step, as torch's does,
    unless you replace it: `core.dropout = LockedDropout(p)`.

    Args:
        module: An `nn.LSTM`, `nn.GRU` or `nn.RNN`.

    Returns:
        `LSTM`, `GRU` or `RNN` for one layer, `Bidirectional` of it where the module reads both
        ways, `Stacked` where it has several layers. Weights are copies with the device, the dtype
        and the `requires_grad` of the module's; the mode (training or not) is the module's.

    Raises:
        ValueError: It is something else.

    Examples:
        >>> core = from_torch(nn.LSTM(3, 8, num_layers=2, bidirectional=True))
        >>> output, state = core(torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, state_to_torch(core, state)[0].shape
        (torch.Size([2, 5, 16]), torch.Size([4, 2, 8]))
    """
    kind = next(
        (cls for cls in _KINDS if type_before_parametrizations(module) is cls.torch_class), None
    )
    if kind is None:
        raise refuse_module("from_torch", "nn.LSTM, nn.GRU or nn.RNN", module)
    ways = (False, True) if module.bidirectional else (False,)
    directions = iter(
        [
            kind.from_torch(module, layer=i, reverse=w)
            for i in range(module.num_layers)
            for w in ways
        ]
    )

    def layer(size: int) -> RecurrentCore:
        if module.bidirectional:
            return Bidirectional(size, lambda _: next(directions))
        return next(directions)

    if module.num_layers == 1:
        core = layer(module.input_size)
    else:
        core = Stacked(module.input_size, layer, num_layers=module.num_layers)
        if module.dropout:
            core.dropout = nn.Dropout(module.dropout)
    return core.train(module.training)


def to_torch(core: RecurrentCore) -> nn.RNNBase:
    """Copy a core into a torch module; the inverse of `from_torch`.

    Args:
        core: `LSTM`, `GRU` or `RNN`; `Bidirectional` of one; `Stacked` of either, all layers alike.
            Dropout between layers becomes torch's, which draws a mask for every step: a stack's
            own, locked for all steps, is not to be had there.

    Returns:
        A batch-first module with copies of the weights, in the mode of the core.

    Raises:
        ValueError: No torch module computes what the core does.
    """
    layers = list(core.layers) if isinstance(core, Stacked) else [core]
    if isinstance(core, Stacked) and (core.residual or core.norms is not None):
        raise _no_module(core, "it has residual connections or norms")
    ways = {isinstance(layer, Bidirectional) for layer in layers}
    cores = list(_directions(core, wrapped=False))
    for one in cores:
        if type_before_parametrizations(one) not in _KINDS:
            raise _no_module(core, f"it contains {type(one).__name__}")
    first, *others = cast("list[TorchCore]", cores)
    forms = [
        (type_before_parametrizations(one), one.output_size, one.torch_options())
        for one in (first, *others)
    ]
    if any(form != forms[0] for form in forms) or len(ways) > 1:
        raise _no_module(core, "its layers differ")
    both = ways.pop()
    module = first.make_torch(
        core.input_size,
        num_layers=len(layers),
        dropout=getattr(core.dropout, "p", 0.0) if isinstance(core, Stacked) else 0.0,
        bidirectional=both,
    )
    suffixes = [f"_l{i}{way}" for i in range(len(layers)) for way in ("", "_reverse")[: 1 + both]]
    for one, suffix in zip((first, *others), suffixes, strict=True):
        one.copy_to(module, suffix)
    return module.train(core.training)


def state_from_torch(core: RecurrentCore, state: TorchState) -> State:
    """Turn a torch module's state into a core's.

    Args:
        core: What `from_torch` makes, or any stack and pair of directions of such cores, dropped
            weights and zoneout included.
        state: h (L * K, B, H), or of an LSTM (h, c), layer by layer, forwards before backwards.

    Returns:
        The core's state, leaves (B, H), at least float32.

    Raises:
        ValueError: The state has other shapes, or the core is none that torch has.
    """
    cores = _torch_cores(core, "state_from_torch")
    forms = [one.initial_state(0, device="meta") for one in cores]
    parts = list(state) if isinstance(state, tuple | list) else [state]
    names: tuple[str, ...] = cores[0].state_type._fields
    shapes = [tuple(part.shape) if isinstance(part, Tensor) else () for part in parts]
    batch = shapes[0][1] if shapes and len(shapes[0]) == 3 else -1
    wanted = [(len(cores), batch, leaf.shape[1]) for leaf in leaves(forms[0])]
    if shapes != wanted:
        told = [
            f"{name} ({n}, B, {size})" for name, (n, _, size) in zip(names, wanted, strict=True)
        ]
        raise ValueError(
            f"state_from_torch: the state is ({', '.join(map(describe, parts))}); of this "
            f"{type(core).__name__} it must be {', '.join(told)}: layers times directions first, "
            "then the batch"
        )
    rows = iter(
        type(form)(*(part[i].to(torch.promote_types(part.dtype, torch.float32)) for part in parts))
        for i, form in enumerate(forms)
    )

    def build(like: State) -> State:
        if hasattr(like, "_fields"):
            return next(rows)
        return tuple(build(part) for part in like)

    return build(core.initial_state(0, device="meta"))


def state_to_torch(core: RecurrentCore, state: State) -> TorchState:
    """Turn a core's state into a torch module's; the inverse of `state_from_torch`.

    Args:
        core: As there.
        state: The core's state, leaves (B, H).

    Returns:
        h (L * K, B, H), or of an LSTM (h, c), in the dtype of the core's weights, as torch asks.

    Raises:
        ValueError: The state is not the core's, or the core is none that torch has.
    """
    cores = _torch_cores(core, "state_to_torch")
    state = core._accept_state(state, next((len(leaf) for leaf in tensors_in(state)), 0), None)
    flat, count = leaves(state), len(leaves(cores[0].initial_state(0, device="meta")))
    dtype = next(core.parameters()).dtype
    parts = [torch.stack(flat[i::count]).to(dtype) for i in range(count)]  # (L * K, B, H) each
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _directions(core: RecurrentCore, *, wrapped: bool = True) -> Iterator[RecurrentCore]:
    """Yield what a core is made of, in the order of torch's states."""
    if isinstance(core, Stacked):
        inner = list(core.layers)
    elif isinstance(core, Bidirectional):
        inner = [core.ahead, core.back]
    elif isinstance(core, Wrapper) and wrapped:
        inner = [core.core]
    else:
        yield core
        return
    for part in inner:
        yield from _directions(part, wrapped=wrapped)  # type: ignore[arg-type]


def _torch_cores(core: RecurrentCore, asking: str) -> list[RecurrentCore]:
    """Return the cores of each layer and direction, all of one kind that torch has too."""
    cores = list(_directions(core))
    kinds = {type(one).__name__ if isinstance(one, TorchCore) else None for one in cores}
    if None in kinds or len(kinds) > 1:
        names = ", ".join(sorted({type(one).__name__ for one in cores}))
        raise ValueError(
            f"{asking}: torch has no module of {names}; it has LSTM, GRU and RNN, and stacks and "
            "pairs of directions of one of them"
        )
    return cores


def _no_module(core: RecurrentCore, reason: str) -> ValueError:
    return ValueError(
        f"to_torch: no torch module computes what this {type(core).__name__} does, for {reason}; "
        "it takes LSTM, GRU or RNN, Bidirectional of one, and Stacked of either, all layers alike"
    )
