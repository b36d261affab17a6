"""What a core says of wrong arguments: in `forward` and in `step`, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from unrolled.core import (
    GRU,
    LSTM,
    QRNN,
    Bidirectional,
    LSTMState,
    RecurrentCore,
    Stacked,
)
from unrolled.core.state import State, leaves, map_state

B, T = 5, 7


def calls(core: RecurrentCore) -> list[Callable[[Any], object]]:
    """Everything that takes a state, as functions of it."""
    x = torch.randn(B, T, core.input_size, dtype=torch.float64)
    found: list[Callable[[Any], object]] = [lambda state: core(x, state)]
    if core.causal:
        found += [
            lambda state: core.step(x[:, 0], state),
            lambda state: core.stepper()(x[:, 0], state),
        ]
    return found


def plain(state: State) -> Any:
    """The same tensors in plain tuples."""
    return state if isinstance(state, Tensor) else tuple(plain(part) for part in state)


def unpacked(state: State) -> Any:
    """The same tensors in lists."""
    return state if isinstance(state, Tensor) else [unpacked(part) for part in state]


def changed(state: State, change: Callable[[Tensor], Any], which: int) -> Any:
    """A state with one of its tensors changed."""
    number = iter(range(len(leaves(state))))
    return map_state(lambda leaf: change(leaf) if next(number) == which else leaf, state)


class Foreign(NamedTuple):
    """A state of no core here."""

    a: Any
    b: Any


WRONG: dict[str, Callable[[Tensor], Any]] = {
    "another width": lambda leaf: torch.cat((leaf, leaf), -1),
    "one row": lambda leaf: leaf[:1],
    "fewer rows": lambda leaf: leaf[:-1],
    "layers first": lambda leaf: leaf.unsqueeze(0),
    "transposed": lambda leaf: leaf.transpose(0, 1),
    "flat": lambda leaf: leaf.flatten(),
    "a number": lambda leaf: leaf.sum(),
    "integers": lambda leaf: leaf.long(),
    "bool": lambda leaf: leaf > 0,
    "complex": lambda leaf: leaf.to(torch.complex128),
    "None": lambda leaf: None,
    "an array": lambda leaf: leaf.numpy(),
    "a list": lambda leaf: leaf.tolist(),
}


def test_a_wrong_tensor_anywhere_in_a_state_is_refused(core):
    state = core.initial_state(B)
    for which, leaf in enumerate(leaves(state)):
        for wrong, change in WRONG.items():
            if wrong == "transposed" and leaf.shape[0] == leaf.shape[-1]:
                continue
            given = changed(state, change, which)
            for call in calls(core):
                with pytest.raises(
                    ValueError, match=r"the state is .* for a batch of 5; .*initial_state\(5\)"
                ):
                    call(given)


def test_a_wrong_structure_is_refused(core):
    state = core.initial_state(B)
    parts = tuple(state)
    given = [
        unpacked(state), dict(enumerate(parts)), parts[:-1], (*parts, parts[0]), (), (state,),
        "state", 0, leaves(state)[0], [*leaves(state), None], Foreign(*(parts * 2)[:2]),
    ]  # fmt: skip
    for wrong in given:
        for call in calls(core):
            with pytest.raises(
                ValueError,
                match=r"the state is .*pass what this core returned, or initial_state\(5\)",
            ):
                call(wrong)
    if core.causal:
        with pytest.raises(ValueError, match="the state is None for a batch of 5"):
            core.step(torch.randn(B, core.input_size, dtype=torch.float64), None)


def test_a_plain_tuple_is_a_state(core, random_state, same):
    state = random_state(core, B)
    results = [(call(state), call(plain(state))) for call in calls(core)]
    for expected, found in results:
        same(found, expected, 0.0)


def test_what_is_to_be_done_is_said():
    x = torch.randn(B, T, 3)
    core = LSTM(3, 4)
    with pytest.raises(
        ValueError,
        match=r"LSTM: the state is LSTMState\(float32 \(5, 8\), float32 \(5, 8\)\) for a ",
    ):
        core(x, LSTM(3, 8)(x)[1])
    with pytest.raises(
        ValueError, match=r"here LSTMState\(hidden: float \(5, 4\), cell: float \(5, 4\)\)"
    ):
        core.step(x[:, 0], LSTM(3, 8)(x)[1])
    with pytest.raises(
        ValueError, match=r"torch's modules put the layers first: pass one layer of it, h\[0\]"
    ):
        core(x[:1], nn.LSTM(3, 4, batch_first=True)(x[:1])[1])
    with pytest.raises(ValueError, match="a packed sequence is no state"):
        core(x, pack_padded_sequence(x, torch.full((B,), T), batch_first=True))
    with pytest.raises(ValueError, match=r"the state is QRNNState\(.*here LSTMState"):
        core(x, QRNN(3, 4)(x)[1])
    stack = Stacked(3, lambda size: GRU(size, 4), num_layers=2)
    with pytest.raises(
        ValueError,
        match=r"here \(HiddenState\(hidden: float \(5, 4\)\), HiddenState\(hidden: float \(5, 4\)",
    ):
        stack(x, core.initial_state(5))


def test_crashes_of_old_are_errors():
    x = torch.randn(5, 20, 5)
    for width, other in ((256, 512), (8, 4096)):
        with pytest.raises(ValueError, match=rf"hidden: float \(5, {width}\)"):
            LSTM(5, width)(x, LSTM(5, other).initial_state(5))


def test_a_double_state_is_cast_as_ever(core, random_state):
    state = random_state(core, B)
    core.float()
    output, last = core(torch.randn(B, T, core.input_size), state)
    assert output.dtype == torch.float32
    assert all(leaf.dtype == torch.float32 for leaf in leaves(last))


INPUTS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "list": (lambda x: x.tolist(), "x is a list; it must be a float tensor .*torch.as_tensor"),
    "array": (lambda x: x.numpy(), "x is a ndarray; it must be a float tensor"),
    "None": (lambda x: None, "x is None; it must be a float tensor"),
    "integers": (lambda x: x.long(), "x is int64 .*embed integers first"),
    "bool": (lambda x: x > 0, "x is bool .*embed integers first, turn masks into floats"),
    "complex": (lambda x: x.to(torch.complex128), "x is complex128 .*view_as_real"),
    "narrow": (lambda x: x[..., :-1], "x is float64 .*it must be a float tensor"),
    "a number": (lambda x: x.sum(), r"x is float64 \(\); it must be a float tensor"),
    "four": (lambda x: x.unsqueeze(0), "x is float64 .*it must be a float tensor"),
}


def test_wrong_inputs_are_refused(core):
    x = torch.randn(B, T, core.input_size, dtype=torch.float64)
    for change, message in INPUTS.values():
        with pytest.raises(ValueError, match=message):
            core(change(x))
        for step in (core.step, core.stepper()) if core.causal else ():
            with pytest.raises(ValueError, match=message):
                step(change(x[:, 0]), core.initial_state(B))


def test_sequences_and_steps_are_told_apart(causal):
    x = torch.randn(B, T, causal.input_size, dtype=torch.float64)
    state = causal.initial_state(B)
    for wrong in (x[:, :1], x):
        with pytest.raises(
            ValueError, match=rf"must be a float tensor \(B, {causal.input_size}\).*x\[:, t\]"
        ):
            causal.step(wrong, state)
    with pytest.raises(ValueError, match=r"must be a float tensor \(B, T, .*x.unsqueeze\(0\)"):
        causal(x[0])
    with pytest.raises(ValueError, match=r"put features last, x.transpose\(1, 2\)"):
        causal(x.transpose(1, 2))
    with pytest.raises(ValueError, match=r"for a batch of 5; states are batch first"):
        causal.step(x[:, 0], causal.initial_state(1))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_packed_nested_and_sparse_inputs_are_refused(core):
    x = torch.randn(B, T, core.input_size, dtype=torch.float64)
    with pytest.raises(
        ValueError, match=r"x is a PackedSequence; .*core\.unpack\(x\) .*core\.pack\(output, x\)"
    ):
        core(pack_padded_sequence(x, torch.full((B,), T), batch_first=True))
    state = core.initial_state(B)
    for layout in (torch.strided, torch.jagged):
        nested = torch.nested.nested_tensor(list(x), layout=layout)
        for call in (core, lambda x: core.step(x, state)) if core.causal else (core,):
            with pytest.raises(
                ValueError, match=r"x is nested float64; .*make it dense and padded, with lengths"
            ):
                call(nested)
    with pytest.raises(ValueError, match="make it dense"):
        core(x.to_sparse())
    if core.causal:
        with pytest.raises(ValueError, match="make it dense"):
            core.step(x[:, 0].to_sparse(), state)


MASKS: dict[str, tuple[dict[str, Any], str]] = {
    "list of lengths": (
        {"lengths": [7, 7, 7, 7, 7]},
        r"lengths is a list; .*pass torch.tensor\(lengths\)",
    ),
    "array of lengths": ({"lengths": np.full(5, 7)}, "lengths is a ndarray; it must be int64"),
    "number": ({"lengths": 7}, "lengths is a int; it must be int64"),
    "bool lengths": (
        {"lengths": torch.ones(B, dtype=torch.bool)},
        r"lengths is bool \(5,\); it must be int64",
    ),
    "complex lengths": ({"lengths": torch.ones(B, dtype=torch.complex64)}, "lengths is complex64"),
    "one length": (
        {"lengths": torch.tensor([7])},
        r"lengths is int64 \(1,\); it must be int64 \(5,\)",
    ),
    "column": ({"lengths": torch.full((B, 1), 7)}, r"lengths is int64 \(5, 1\)"),
    "scalar": ({"lengths": torch.tensor(7)}, r"lengths is int64 \(\)"),
    "list of resets": (
        {"reset": [[False] * T] * B},
        r"reset is a list; .*torch.as_tensor\(reset\).bool\(\)",
    ),
    "integer reset": (
        {"reset": torch.zeros(B, T, dtype=torch.int64)},
        r"reset is int64 .*must be bool \(5, 7\)",
    ),
    "one row of resets": (
        {"reset": torch.zeros(1, T, dtype=torch.bool)},
        r"reset is bool \(1, 7\)",
    ),
    "flat reset": ({"reset": torch.zeros(T, dtype=torch.bool)}, r"reset is bool \(7,\)"),
}


def test_wrong_masks_are_refused(core):
    for arguments, message in MASKS.values():
        with pytest.raises(ValueError, match=message):
            core(torch.randn(B, T, core.input_size, dtype=torch.float64), **arguments)


def test_mixed_types_are_explained(core):
    core.float()
    x = torch.randn(B, T, core.input_size, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"x is float64 and the parameters are float32; .*x.to"):
        core(x)
    if core.causal:
        with pytest.raises(ValueError, match="x is float64 and the parameters are float32"):
            core.step(x[:, 0], core.initial_state(B))


def test_two_devices_are_named(core):
    x = torch.randn(B, T, core.input_size, dtype=torch.float64)
    state = core.initial_state(B, device="meta")
    with pytest.raises(
        ValueError, match="the state is on meta and x is on cpu; move one to the other"
    ):
        core(x, state)
    if core.causal:
        with pytest.raises(ValueError, match="the state is on meta and x is on cpu"):
            core.step(x[:, 0], state)
    core.to("meta")
    with pytest.raises(ValueError, match="x is on cpu and the parameters are on meta"):
        core(x)


def test_a_layer_may_be_exchanged():
    stack = Stacked(3, lambda size: LSTM(size, 4), num_layers=2)
    x = torch.randn(B, T, 3)
    stack(x, stack.initial_state(B))
    stack.layers.append(GRU(4, 6))
    stack.step(x[:, 0], stack.initial_state(B))
    both = Bidirectional(3, lambda size: GRU(size, 4))
    both(x, both.initial_state(B))
    both.back = LSTM(3, 4)
    both(x, both.initial_state(B))
    with pytest.raises(ValueError, match="the state is"):
        both(x, Bidirectional(3, lambda size: GRU(size, 4)).initial_state(B))


def test_a_state_type_of_the_same_fields_is_taken():
    class Again(NamedTuple):  # what reloading a module makes of its types
        hidden: Tensor
        cell: Tensor

    core = LSTM(3, 4)
    state = core(torch.randn(B, T, 3), Again(*core.initial_state(B)))[1]
    assert type(state) is LSTMState
