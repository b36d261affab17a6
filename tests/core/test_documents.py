"""Batches with many resets, run document by document: what a cut at every reset gives."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from unrolled.core import GRU, LSTM, RecurrentCore, reference, schedule
from unrolled.core.schedule import Schedule
from unrolled.core.state import leaves, map_state

B, T = 4, 12
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Take documents wherever there are two."""
    monkeypatch.setattr(schedule, "_MANY", 2)
    monkeypatch.setattr(schedule, "_SPARED", 0)


def drawn(seed: int, rows: int = B, time: int = T) -> tuple[Tensor, list[int]]:
    """Resets (B, T) of documents of one to nine steps, and lengths of rows, one of them 0."""
    rng = random.Random(seed)
    reset = torch.zeros(rows, time, dtype=torch.bool)
    for row in range(rows):
        step = rng.randrange(3)
        while step < time:
            reset[row, step] = True
            step += rng.randrange(1, 10)
    return reset, [0, time, *(rng.randrange(1, time + 1) for _ in range(rows - 2))]


def run(core: RecurrentCore, x: Tensor, state, lengths, reset):
    """Outputs, last state, and the gradients of everything."""
    core.zero_grad()
    x = x.clone().requires_grad_()
    state = map_state(lambda leaf: leaf.clone().requires_grad_(), state)
    output, last = core(x, state, lengths=lengths, reset=reset)
    weight = torch.linspace(-1, 1, output.numel(), dtype=x.dtype).view_as(output)
    loss = (output * weight).sum() + sum((leaf**2).sum() for leaf in leaves(last))
    given = [x, *leaves(state), *core.parameters()]
    return [output, *leaves(last)], torch.autograd.grad(loss, given, allow_unused=True)


def test_documents_are_what_the_cuts_give(core, random_state, monkeypatch):
    reset, steps = drawn(0)
    lengths = torch.tensor(steps)
    x = torch.randn(B, T, core.input_size, dtype=torch.float64)
    state = random_state(core, B)
    found = run(core, x, state, lengths, reset)
    monkeypatch.setattr(schedule, "_MANY", 10**9)
    expected = run(core, x, state, lengths, reset)
    for ours, theirs in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    if core.causal:
        by_step = reference(core, x, state, lengths=lengths, reset=reset)
        torch.testing.assert_close(found[0][0], by_step[0], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("slack", [0, 3, 10**6])
def test_every_step_is_run_once_in_its_document(seed, slack):
    reset, lengths = drawn(seed)
    cut = Schedule(lengths, T, reset, CPU, slack)
    found = cut.documents
    segments, there, back, start, last = found
    documents: dict[int, list[int]] = {}
    place = 0
    for first, stop, rows, ends, _ in segments:
        for row in range(rows):
            count = stop - first if ends is None else ends[row]
            documents.setdefault(row, []).extend(there[place : place + count].tolist())
            assert (there[place + count : place + stop - first] == -1).all()
            place += stop - first
    assert place == len(there)
    assert slack or (there >= 0).all(), "no step past an end"
    expected = []  # the pieces between resets, from the definition
    for row, length in enumerate(cut.lengths):
        for step in range(length):
            if step == 0 or cut.reset[row, step]:
                expected.append([])
            expected[-1].append(row * T + step)
    assert sorted(documents.values()) == sorted(expected)
    for steps, row in (
        (documents[n], row) for n, row in enumerate(start.tolist()) if n in documents
    ):
        goes_on = steps[0] % T == 0 and not cut.reset.flatten()[steps[0]]
        assert row == (steps[0] // T if goes_on else B)
    for row, number in enumerate(last.tolist()):
        assert documents.get(number, [-1])[-1] == (
            row * T + cut.lengths[row] - 1 if cut.lengths[row] else -1
        )
    real = {step for document in expected for step in document}
    for step, at in enumerate(back.tolist()):
        assert at == -1 if step not in real else there[at] == step


def test_a_document_of_the_whole_row_costs_no_memory():
    """One row without a reset among rows of short documents."""
    reset = torch.zeros(8, 1000, dtype=torch.bool)
    reset[1:, ::5] = True
    found = Schedule([1000] * 8, 1000, reset, CPU, 128).documents
    assert len(found.there) < 1.1 * reset.numel()


@pytest.mark.parametrize("cls", [LSTM, GRU])
def test_second_order_and_the_transforms(cls, monkeypatch):
    torch.manual_seed(0)
    core = cls(2, 3).double()
    reset, _ = drawn(1, 3, 8)
    x = torch.randn(3, 8, 2, dtype=torch.float64)

    def of_gradients(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(core(x, reset=reset)[0].square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(core, parameters, (x,), {"reset": reset})[0].square().sum()

    parameters = {name: value.detach() for name, value in core.named_parameters()}
    found = [
        grad(loss)(parameters, x)["weight_hh"],
        vmap(lambda x: core(x, reset=reset)[0])(x[None]),
    ]
    second = None if cls is LSTM else of_gradients(x)
    monkeypatch.setattr(schedule, "_MANY", 10**9)
    expected = [grad(loss)(parameters, x)["weight_hh"], core(x, reset=reset)[0][None]]
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    if second is not None:
        torch.testing.assert_close(second, of_gradients(x), atol=1e-10, rtol=1e-10)


def test_what_is_not_finite_stays_in_its_document(causal, random_state):
    reset, _ = drawn(2)
    reset[:, 5] = True
    x = torch.randn(B, T, causal.input_size, dtype=torch.float64)
    state = random_state(causal, B)
    clean = run(causal, x * (torch.arange(T) >= 5).unsqueeze(1), state, None, reset)
    x[:, 4] = float("inf")
    found, gradients = run(causal, x, state, None, reset)
    torch.testing.assert_close(found[0][:, 5:], clean[0][0][:, 5:], atol=1e-10, rtol=1e-10)
    assert not any(leaf.isnan().any() for leaf in found[1:])
    assert gradients[0][:, 5:].isfinite().all()


def test_a_few_resets_are_cuts(monkeypatch):
    monkeypatch.undo()
    reset = torch.zeros(4, 100, dtype=torch.bool)
    reset[0, 50] = reset[2, 70] = True
    assert Schedule([100] * 4, 100, reset, CPU, 128).documents is None
    reset[:, ::7] = True
    assert len(Schedule([100] * 4, 100, reset, CPU, 128).documents.segments) < 4
    assert Schedule([100] * 4, 100, None, CPU, 128).documents is None
