"""A reset selects the initial state, it never multiplies: NaN and infinity end there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from unrolled.core import (
    Bidirectional,
    IndRNN,
    RecurrentCore,
    Stacked,
    linear_recurrence,
)
from unrolled.core.families.chunked import ChunkedCore
from unrolled.core.kernels import scan
from unrolled.core.seq2seq.losses import truncated_smoothness
from unrolled.core.state import State, leaves, map_state

B, T = 3, 7
NOT_FINITE = [float("nan"), float("inf"), -float("inf")]


def inputs(core: RecurrentCore, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(
        B, T, core.input_size, dtype=dtype, generator=torch.Generator().manual_seed(2)
    )


def reset_at(*positions: int) -> Tensor:
    """(B, T), row by row."""
    reset = torch.zeros(B, T, dtype=torch.bool)
    reset[torch.arange(B), torch.tensor(positions)] = True
    return reset


def spoil(state: State, rows: slice, value: float) -> State:
    def fill(leaf: Tensor) -> Tensor:
        leaf = leaf.clone()
        leaf[rows] = value
        return leaf

    return map_state(fill, state)


def gradients(
    core: RecurrentCore, x: Tensor, state: State, reset: Tensor | None, seen: Tensor, lengths=None
):
    """Of a sum over the seen steps (B, T): outputs, and the gradients of everything."""
    core.zero_grad()
    x = x.clone().requires_grad_()
    start = map_state(lambda leaf: leaf.clone().requires_grad_(), state)
    output, last = core(x, start, reset=reset, lengths=lengths)
    output[seen].square().sum().backward()
    by = [parameter.grad.clone() for parameter in core.parameters()]
    return output.detach(), last, x.grad, [leaf.grad for leaf in leaves(start)], by


def assert_is_fresh(
    core: RecurrentCore, found, state: State, seen: Tensor, clean: Tensor, reset: Tensor
) -> None:
    """Compares with what a batch without anything infinite gives."""
    expected = gradients(core, clean, state, reset, seen)
    torch.testing.assert_close(found[0][seen], expected[0][seen], atol=1e-12, rtol=1e-12)
    for one, other in zip([found[2], *found[4]], [expected[2], *expected[4]], strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)
    for one, other in zip(found[3], expected[3], strict=True):
        torch.testing.assert_close(one, other if one is not None else None, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    ("value", "where", "positions"),
    [
        (float("nan"), "both", (3, 3, 3)),
        (float("inf"), "state", (0, 2, 5)),
        (float("-inf"), "x", (6, 1, 1)),
    ],
    ids=str,
)
def test_nothing_passes_a_reset(causal, random_state, value, where, positions):
    reset, clean, state = reset_at(*positions), inputs(causal), random_state(causal, B)
    x, start = clean.clone(), state
    if where != "state":
        for row, position in enumerate(positions):
            x[row, :position][: position // 2 + 1, 0] = value
    if where != "x":
        start = spoil(state, slice(None), value)
    seen = torch.arange(T) >= torch.tensor(positions).unsqueeze(1)
    found = gradients(causal, x, start, reset, seen)
    assert not found[2][~seen].any()
    assert not any(gradient.any() for gradient in found[3] if gradient is not None)
    assert_is_fresh(causal, found, state, seen, clean, reset)
    with torch.no_grad():  # another way
        torch.testing.assert_close(
            causal(x, start, reset=reset)[0][seen], found[0][seen], atol=1e-12, rtol=1e-12
        )
    for row, position in enumerate(positions):  # and the fresh run itself
        alone, last = causal(clean[row : row + 1, position:])
        torch.testing.assert_close(
            found[0][row : row + 1, position:], alone, atol=1e-12, rtol=1e-12
        )
        for one, other in zip(leaves(found[1]), leaves(last), strict=True):
            torch.testing.assert_close(one[row : row + 1], other, atol=1e-12, rtol=1e-12)


def test_what_overflows_passes_no_reset(causal, random_state):
    """Nothing infinite comes in; it arises inside, in single precision."""
    causal.float()
    reset, clean, state = (
        reset_at(3, 4, 5),
        inputs(causal, torch.float32),
        random_state(causal, B, torch.float32),
    )
    seen = torch.arange(T) >= torch.tensor([3, 4, 5]).unsqueeze(1)
    x = clean.clone()
    x[:, 1] = torch.tensor([3e38, -3e38, 3e38])
    found = gradients(causal, x, state, reset, seen)
    expected = gradients(causal, clean, state, reset, seen)
    assert not found[2][~seen].any()
    torch.testing.assert_close(found[0][seen], expected[0][seen])
    for one, other in zip([found[2], *found[4]], [expected[2], *expected[4]], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_only_rows_and_steps_before_the_reset_are_left_out(causal, random_state):
    """One row is spoiled between two resets; everything else keeps its gradients."""
    clean, state = inputs(causal), random_state(causal, B)
    reset = reset_at(5, 2, 4)
    reset[0, 2] = True
    x = clean.clone()
    x[0, 3] = torch.nan
    spoiled = torch.zeros(B, T, dtype=torch.bool)
    # These multiply what comes later in a chunk by zero, so that NaN spoils what the reset begins.
    spoiled[0, 2 if isinstance(causal, ChunkedCore) else 3 : 5] = True
    found = gradients(causal, x, state, reset, ~spoiled)
    assert found[0][spoiled].isnan().any(1).all()
    expected = gradients(causal, clean, state, reset, ~spoiled)
    torch.testing.assert_close(found[0][~spoiled], expected[0][~spoiled], atol=1e-12, rtol=1e-12)
    for one, other in zip(
        [found[2], *found[3], *found[4]], [expected[2], *expected[3], *expected[4]], strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_both_directions(random_state, core):
    if not isinstance(core, Bidirectional):
        pytest.skip("reads forwards")
    clean, state = inputs(core), random_state(core, B)
    reset, x = reset_at(3, 2, 4), clean.clone()
    x[0, 4] = torch.nan  # after the reset: it spoils the steps from 3 on, both ways
    x[1, 1] = torch.nan
    seen = torch.ones(B, T, dtype=torch.bool)
    seen[0, 3:] = seen[1, :2] = False
    found = gradients(core, x, state, reset, seen)
    assert found[0][~seen].isnan().any(1).all()
    assert_is_fresh(core, found, state, seen, clean, reset)
    assert any(leaf[0].isnan().any() for leaf in leaves(found[1]))
    assert any(leaf[1].isnan().any() for leaf in leaves(found[1]))
    assert not any(leaf[2].isnan().any() for leaf in leaves(found[1]))


class Kinds(RecurrentCore):
    """A core whose state has a number per row, a counter and a complex leaf."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.factor = nn.Parameter(torch.tensor([0.5 + 0.5j, 0.2 - 0.7j], dtype=torch.complex128))

    def initial_state(self, batch_size, *, device=None, dtype=None):
        double = torch.promote_types(dtype or torch.float64, torch.float64)
        return (
            torch.zeros(batch_size, device=device, dtype=double),
            torch.zeros(batch_size, device=device, dtype=torch.int64),
            torch.zeros(batch_size, 2, device=device, dtype=torch.complex128),
        )

    def step(self, x, state):
        total, count, wave = state
        wave = wave * self.factor + x
        total = total + wave.real.sum(1)
        return wave.real + wave.imag + (total / (count + 1)).unsqueeze(1), (total, count + 1, wave)


@pytest.mark.parametrize("compose", [Kinds, lambda: Stacked(2, lambda _: Kinds(), num_layers=2)])
@pytest.mark.parametrize("value", NOT_FINITE, ids=str)
def test_states_of_every_kind(compose, value):
    core = compose()
    reset, clean = reset_at(2, 3, 4), inputs(core)
    seen = torch.arange(T) >= torch.tensor([2, 3, 4]).unsqueeze(1)
    x = clean.clone()
    x[:, 1] = value
    by = []
    for given in (x, clean):
        core.zero_grad()
        core(given, reset=reset)[0][seen].square().sum().backward()
        by.append([parameter.grad for parameter in core.parameters()])
    torch.testing.assert_close(by[0], by[1])
    _, state = core(clean[:0])
    core.zero_grad()
    sum(leaf.real.sum() for leaf in leaves(state) if leaf.is_complex()).backward()
    assert not any(parameter.grad.any() for parameter in core.parameters())


def test_without_a_reset_nan_stays_where_it_is_seen(causal):
    x = inputs(causal)
    x[0, 1] = torch.nan
    output = causal(x, reset=torch.zeros(B, T, dtype=torch.bool))[0]
    assert output[0, 1:].isnan().any(1).all()
    output.sum().backward()
    assert any(parameter.grad.isnan().any() for parameter in causal.parameters())


@pytest.mark.parametrize("value", NOT_FINITE, ids=str)
def test_padding_is_never_read(core, random_state, value):
    lengths = torch.tensor([4, 7, 1])
    clean, state = inputs(core), random_state(core, B)
    seen = torch.arange(T) < lengths.unsqueeze(1)
    x = clean.masked_fill(~seen.unsqueeze(2), value)
    reset = reset_at(2, 3, 5)  # of the last row it lies in the padding
    found = gradients(core, x, state, reset, torch.ones_like(seen), lengths)
    expected = gradients(core, clean, state, reset, torch.ones_like(seen), lengths)
    for one, other in zip(
        [found[0], found[2], *found[3], *found[4]],
        [expected[0], expected[2], *expected[3], *expected[4]],
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=0.0, rtol=0.0)


def test_states_may_grow_without_bound_in_padding():
    core = IndRNN(1, 1)
    with torch.no_grad():
        core.weight_hh.fill_(3.0)
    x, lengths = torch.ones(2, 200, 1), torch.tensor([2, 0])
    core(x, lengths=lengths)[0].sum().backward()
    padded = [parameter.grad.clone() for parameter in core.parameters()]
    core.zero_grad()
    core(x[:1, :2])[0].sum().backward()
    for one, other in zip(padded, core.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad)


@pytest.mark.parametrize("few_channels", [0, 10**9], ids=["steps", "blocks"])
@pytest.mark.parametrize("value", NOT_FINITE, ids=str)
@pytest.mark.parametrize("where", ["a", "b", "initial"])
@pytest.mark.parametrize("time", [5, 90])
def test_linear_recurrence(monkeypatch, few_channels, value, where, time):
    monkeypatch.setattr(scan, "_FEW_CHANNELS", few_channels)
    generator = torch.Generator().manual_seed(0)
    a, b, initial = (
        torch.rand(s, generator=generator, dtype=torch.float64)
        for s in ((time, 2, 3), (time, 2, 3), (2, 3))
    )
    k = time // 2
    reset = torch.zeros(time, 2, dtype=torch.bool)
    reset[k, 0] = reset[k + 1, 1] = reset[-1, 1] = True
    given = {"a": a, "b": b, "initial": initial}
    clean = {name: tensor.clone().requires_grad_() for name, tensor in given.items()}
    if where == "initial":
        initial.fill_(value)
    else:
        given[where][:k] = value
    if where == "a":  # what a reset does not read
        a[k, 0] = a[k + 1, 1] = value
    seen = torch.ones(time, 2, dtype=torch.bool)
    seen[:k] = seen[k, 1] = False
    found = []
    for tensors in (given, clean):
        tensors = {
            name: tensor.detach().clone().requires_grad_() for name, tensor in tensors.items()
        }
        h = linear_recurrence(**tensors, reset=reset)
        h[seen].square().sum().backward()
        found.append([h[seen], *(tensor.grad for tensor in tensors.values())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_zero_from_the_caller_is_arithmetic():
    a, b = torch.zeros(4, 1, 1), torch.ones(4, 1, 1)
    b[1] = torch.nan
    assert linear_recurrence(a, b)[2:].isnan().tolist() == [[[True]], [[True]]]


def test_smoothness_reads_no_padding():
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([4, 2])
    clean = logits.clone().requires_grad_()
    logits[1, 3] = torch.nan
    logits.requires_grad_()
    for given in (logits, clean):
        truncated_smoothness(given, lengths).backward()
    assert torch.equal(truncated_smoothness(logits, lengths), truncated_smoothness(clean, lengths))
