"""What every core promises. A new core is tested by existing: see `plain_cores` in conftest.py."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from core_inputs import LENGTHS, B, T, inputs, lengths_of, reset_of
from torch import Tensor
from unrolled.core import RecurrentCore, reference
from unrolled.core.state import (
    State,
    concatenate,
    detach,
    from_plain,
    leaves,
    map_state,
    select_rows,
    split,
    to_plain,
    where_rows,
)


def test_initial_state(core: RecurrentCore):
    state = core.initial_state(B)
    assert all(leaf.shape[0] == B for leaf in leaves(state))
    assert all(leaf.dtype == torch.float64 for leaf in leaves(state) if leaf.is_floating_point())
    state = core.initial_state(2, device="meta", dtype=torch.float32)
    assert all(leaf.device.type == "meta" and leaf.shape[0] == 2 for leaf in leaves(state))
    assert all(leaf.dtype == torch.float32 for leaf in leaves(core.float().initial_state(1)))
    assert all(leaf.dtype == torch.float32 for leaf in leaves(core.bfloat16().initial_state(1)))


# Each by itself, and what meets inside of a batch.
MASKS = [(name, "none") for name in LENGTHS]
MASKS += [("none", "some"), ("none", "every"), ("ragged", "some"), ("falling", "every")]


@pytest.mark.parametrize(("lengths", "reset"), MASKS)
def test_forward_is_the_definition(causal, random_state, same, lengths, reset):
    x, lengths, reset = inputs(causal), lengths_of(lengths), reset_of(reset)
    for state in (None, random_state(causal, B)):
        found = causal(x, state, lengths=lengths, reset=reset)
        same(found, reference(causal, x, state, lengths=lengths, reset=reset))
        assert found[0].shape == (B, T, causal.output_size)


def test_steps_are_the_whole_from_states_that_differ(causal, random_state, same):
    x, state = inputs(causal), random_state(causal, B)
    whole, last = causal(x, state)
    outputs = []
    for t in range(T):
        output, state = causal.step(x[:, t], state)
        outputs.append(output)
    same((torch.stack(outputs, 1), state), (whole, last))


def test_the_stepper_is_the_step(causal, random_state, same):
    x, state = inputs(causal), random_state(causal, B)
    with torch.no_grad():
        stepper = causal.stepper()
        for t in range(T):
            same(stepper(x[:, t], state), causal.step(x[:, t], state))
            state = causal.step(x[:, t], state)[1]


@pytest.mark.parametrize("k", [0, 1, 3, T])
def test_split_is_unsplit(causal, random_state, same, k):
    x, state, lengths, reset = (
        inputs(causal),
        random_state(causal, B),
        lengths_of("ragged"),
        reset_of("some"),
    )
    whole = causal(x, state, lengths=lengths, reset=reset)
    first, middle = causal(x[:, :k], state, lengths=lengths.clamp(max=k), reset=reset[:, :k])
    second, last = causal(x[:, k:], middle, lengths=(lengths - k).clamp(min=0), reset=reset[:, k:])
    same((torch.cat((first, second), 1), last), whole)


@pytest.mark.parametrize(
    ("dtype", "tolerance", "garbage"),
    [(torch.float32, 1e-6, 1e3), (torch.float64, 1e-10, float("nan"))],
)
def test_padding_and_batch_mates_do_not_matter(core, random_state, same, dtype, tolerance, garbage):
    core.to(dtype)
    lengths = lengths_of("ragged")
    x, state = inputs(core, dtype), random_state(core, B, dtype)
    x[torch.arange(T) >= lengths.unsqueeze(1)] = garbage
    x.requires_grad_()
    output, last = core(x, state, lengths=lengths)
    sum((leaf * leaf).sum() for leaf in leaves((output, last))).backward()
    gradients = [parameter.grad for parameter in core.parameters()]
    core.zero_grad()
    pieces = []
    for row, length in enumerate(lengths.tolist()):
        alone = x.detach()[row : row + 1, :length].requires_grad_()
        piece, piece_last = core(alone, select_rows(state, slice(row, row + 1)))
        same(
            (output[row : row + 1, :length], select_rows(last, slice(row, row + 1))),
            (piece, piece_last),
            tolerance,
        )
        assert not output[row, length:].any()
        total = sum((leaf * leaf).sum() for leaf in leaves((piece, piece_last)))
        if length:
            total.backward()
            torch.testing.assert_close(
                x.grad[row : row + 1, :length], alone.grad, atol=tolerance * 30, rtol=1e-5
            )
        assert not x.grad[row, length:].any()
        pieces.append(piece)
    for (name, parameter), gradient in zip(core.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(
            gradient, parameter.grad, atol=tolerance * 100, rtol=1e-5, msg=name
        )


def test_rows_may_come_in_any_order(core, random_state, same):
    x, state, lengths, reset = (
        inputs(core),
        random_state(core, B),
        lengths_of("ragged"),
        reset_of("some"),
    )
    order = torch.tensor([3, 0, 4, 2, 1])
    output, last = core(x, state, lengths=lengths, reset=reset)
    same(
        core(x[order], select_rows(state, order), lengths=lengths[order], reset=reset[order]),
        (output[order], select_rows(last, order)),
    )


def test_length_zero_keeps_the_state(core, random_state, same):
    x, state = inputs(core), random_state(core, B)
    none = torch.zeros(B, dtype=torch.int64)
    output, last = core(x, state, lengths=none)
    assert not output.any()
    same(last, state, 0.0)
    same(core(x, lengths=none)[1], core.initial_state(B), 0.0)
    mixed = torch.tensor([0, 7, 0, 2, 0])
    same(
        select_rows(core(x, state, lengths=mixed)[1], mixed == 0),
        select_rows(state, mixed == 0),
        0.0,
    )


def test_nothing_to_run(core, random_state, same):
    state = random_state(core, B)
    output, last = core(inputs(core)[:, :0], state)
    assert output.shape == (B, 0, core.output_size)
    same(last, state, 0.0)
    assert core(inputs(core)[:0])[0].shape == (0, T, core.output_size)


def test_reset_starts_anew_at_every_position(causal, random_state, same):
    x, state = inputs(causal), random_state(causal, B)
    for position in range(T):
        reset = torch.zeros(B, T, dtype=torch.bool)
        reset[::2, position] = True
        output, last = causal(x, state, reset=reset)
        before, middle = causal(x[:, :position], state)
        fresh = where_rows(reset[:, position], causal.initial_state(B), middle)
        after, end = causal(x[:, position:], fresh)
        same((output, last), (torch.cat((before, after), 1), end))


def test_resets_separate_sequences(core, same):
    x, lengths, reset = inputs(core), lengths_of("ragged"), reset_of("some")
    output, _ = core(x, lengths=lengths, reset=reset)
    for row, length in enumerate(lengths.tolist()):
        cuts = sorted({0, length, *(t for t in range(length) if reset[row, t])})
        for start, stop in pairwise(cuts):
            same(output[row : row + 1, start:stop], core(x[row : row + 1, start:stop])[0])


def test_the_caller_keeps_what_it_passed(core, random_state, same):
    x, state, lengths, reset = (
        inputs(core),
        random_state(core, B),
        lengths_of("ragged"),
        reset_of("some"),
    )
    before = [copy.deepcopy(value) for value in (x, state, lengths, reset)]
    first = core(x, state, lengths=lengths, reset=reset)
    kept = map_state(torch.clone, first)
    second = core(x, state, lengths=lengths, reset=reset)
    same(second, first, 0.0)
    same(first, kept, 0.0)
    for value, copied in zip((x, state, lengths, reset), before, strict=True):
        same(value, copied, 0.0)
    if core.causal:
        same(core.step(x[:, 0], state), core.step(x[:, 0], state), 0.0)
        same(state, before[1], 0.0)


def test_no_grad_changes_nothing(core, random_state, same):
    x, state = inputs(core), random_state(core, B)
    expected = core(x, state, lengths=lengths_of("ragged"))
    with torch.inference_mode():
        same(core(x, state, lengths=lengths_of("ragged")), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtypes_at_the_boundary(core, dtype):
    core.to(dtype)
    output, state = core(inputs(core, dtype), lengths=lengths_of("ragged"), reset=reset_of("some"))
    boundary = torch.promote_types(dtype, torch.float32)
    assert output.dtype == dtype
    assert all(leaf.dtype == boundary for leaf in leaves(state))
    output, state = core(inputs(core, dtype), state)
    if core.causal:
        output, state = core.step(inputs(core, dtype)[:, 0], state)
    assert output.dtype == dtype
    assert all(leaf.dtype == boundary for leaf in leaves(state))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_keeps_the_state_in_float32(core, dtype, same):
    core.float()
    x = inputs(core, torch.float32)
    expected = core(x, lengths=lengths_of("ragged"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, state = core(x.to(dtype), lengths=lengths_of("ragged"))
        results = [(output, state)]
        if core.causal:
            results.append(core.step(x[:, 0].to(dtype), state))
    for result_output, result_state in results:
        assert result_output.dtype == dtype
        assert all(leaf.dtype == torch.float32 for leaf in leaves(result_state))
    same((output.float(), state), expected, 0.05)
    output.float().sum().backward()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_is_the_cpu(core, random_state, same):
    core.float()
    x, state, lengths, reset = (
        inputs(core, torch.float32),
        random_state(core, B, torch.float32),
        None,
        None,
    )
    for lengths, reset in ((None, None), (lengths_of("ragged"), reset_of("some"))):
        expected = core.cpu()(x, state, lengths=lengths, reset=reset)
        core.cuda()
        given = map_state(Tensor.cuda, state)
        for place in (Tensor.cpu, Tensor.cuda):  # masks may lie on either side
            masks = [None if mask is None else place(mask) for mask in (lengths, reset)]
            found = core(x.cuda(), given, lengths=masks[0], reset=masks[1])
            same(map_state(Tensor.cpu, found), expected, 1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch warns of things of its own while it compiles
def test_step_compiles(causal, random_state, same):
    compiled = torch.compile(causal.step, fullgraph=True)
    state, x = random_state(causal, B), inputs(causal)
    for t in range(2):
        expected = causal.step(x[:, t], state)
        same(compiled(x[:, t], state), expected)
        state = expected[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # as above
def test_forward_compiles(plain, same):
    torch.manual_seed(1)
    core = plain(3, 4)
    x = inputs(core, torch.float32)
    masks = {"lengths": lengths_of("ragged"), "reset": reset_of("some")}
    expected = core(x), core(x, **masks)
    core.compile()
    same(core(x), expected[0], 1e-5)
    found = core(x, **masks)
    same(found, expected[1], 1e-5)
    found[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in core.parameters())


def test_copies_and_state_dicts(core, same):
    x = inputs(core)
    expected = core(x)
    same(copy.deepcopy(core)(x), expected, 0.0)
    file = io.BytesIO()
    torch.save(core.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(core)
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    report = other.load_state_dict(torch.load(file, weights_only=True))
    assert not report.missing_keys
    assert not report.unexpected_keys
    same(other(x), expected, 0.0)


def test_states_travel_through_checkpoints(core, random_state, same):
    state = random_state(core, B)
    file = io.BytesIO()
    torch.save(to_plain(state), file)
    file.seek(0)
    same(from_plain(torch.load(file, weights_only=True), core.initial_state(1)), state, 0.0)
    rows = split(state)
    assert len(rows) == B
    same(concatenate(rows), state, 0.0)
    assert not any(leaf.requires_grad for leaf in leaves(detach(core(inputs(core))[1])))


REFUSED: dict[str, tuple[Callable[[Tensor], dict[str, object]], str]] = {
    "features": (
        lambda x: {"x": x[..., :2]},
        r"x is float64 \(5, 7, 2\); it must be a float tensor \(B, T, 3\)",
    ),
    "dimensions": (lambda x: {"x": x[:, 0]}, r"x is float64 \(5, 3\)"),
    "integers": (lambda x: {"x": x.long()}, r"x is int64 \(5, 7, 3\).*embed integers first"),
    "float lengths": (
        lambda x: {"x": x, "lengths": torch.ones(B)},
        r"lengths is float32 \(5,\); it must be int64",
    ),
    "few lengths": (
        lambda x: {"x": x, "lengths": torch.ones(2, dtype=torch.int64)},
        r"lengths is int64 \(2,\)",
    ),
    "long lengths": (
        lambda x: {"x": x, "lengths": torch.full((B,), 9)},
        r"from 9 to 9; each must be 0 to 7.*pad x",
    ),
    "negative lengths": (lambda x: {"x": x, "lengths": torch.full((B,), -1)}, r"from -1 to -1"),
    "float reset": (
        lambda x: {"x": x, "reset": torch.ones(B, T)},
        r"reset is float32 .* must be bool \(5, 7\)",
    ),
    "short reset": (
        lambda x: {"x": x, "reset": torch.ones(B, 1, dtype=torch.bool)},
        r"reset is bool \(5, 1\)",
    ),
}


def test_wrong_arguments_are_refused(core):
    for arguments, message in REFUSED.values():
        with pytest.raises(ValueError, match=message):
            core(**arguments(inputs(core)))


def test_a_state_of_another_batch_is_refused(core: RecurrentCore):
    state: State = core.initial_state(2)
    with pytest.raises(
        ValueError, match=r"for a batch of 5; states are batch first.*initial_state\(5\)"
    ):
        core(inputs(core), state)


def test_sizes_are_checked(plain):
    with pytest.raises(ValueError, match="input_size is 0; sizes are at least 1"):
        plain(0, 4)
    with pytest.raises(ValueError, match="hidden_size is 0; sizes are at least 1"):
        plain(3, 0)
