"""Packed sequences in and out, against torch's own modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)
from unrolled.core import LSTM, Stacked, from_torch, pack, state_to_torch, unpack

LENGTHS = [3, 7, 1, 7, 3, 5]


def rows(lengths: list[int] = LENGTHS, *sizes: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(length, *(sizes or (4,)), dtype=torch.float64) for length in lengths]


@pytest.fixture(params=["any order", "sorted", "sorted by hand", "one", "one step"])
def packed(request: pytest.FixtureRequest) -> PackedSequence:
    """Packed in every way that there is."""
    if request.param == "sorted by hand":  # ties the other way round
        lengths = torch.tensor(LENGTHS)
        order = torch.tensor([3, 1, 5, 4, 0, 2])
        given = nn.utils.rnn.pad_sequence([rows()[i] for i in order], batch_first=True)
        one = pack_padded_sequence(given, lengths[order], batch_first=True)
        return PackedSequence(one.data, one.batch_sizes, order, order.argsort())
    if request.param == "sorted":
        return pack_sequence(rows(sorted(LENGTHS, reverse=True)))
    lengths = {"one": [4], "one step": [1, 1, 1]}.get(request.param, LENGTHS)
    return pack_sequence(rows(lengths), enforce_sorted=False)


def test_there_and_back(packed):
    x, lengths = unpack(packed)
    again, steps = pad_packed_sequence(packed, batch_first=True)
    assert torch.equal(x, again)
    assert torch.equal(lengths, steps)
    found = pack(x, packed)
    assert torch.equal(found.data, packed.data)
    assert torch.equal(found.batch_sizes, packed.batch_sizes)
    for name in ("sorted_indices", "unsorted_indices"):
        assert getattr(found, name) is getattr(packed, name)
    found = pack(x, lengths)
    expected = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    assert torch.equal(found.data, expected.data)
    assert torch.equal(found.sorted_indices, expected.sorted_indices)


def test_a_core_does_what_a_module_does_with_it(packed):
    torch.manual_seed(1)
    module = nn.LSTM(4, 5, num_layers=2, bidirectional=True).double()
    core = from_torch(module)
    x, lengths = unpack(packed)
    output, state = core(x, lengths=lengths)
    expected, (hidden, cell) = module(packed)
    torch.testing.assert_close(pack(output, packed).data, expected.data)
    for found, part in zip(state_to_torch(core, state), (hidden, cell), strict=True):
        torch.testing.assert_close(found, part)


def test_gradients_go_through(packed):
    data = packed.data.clone().requires_grad_()
    x, lengths = unpack(packed._replace(data=data))
    again = pack(x * 2, packed).data
    again.sum().backward()
    assert torch.equal(data.grad, torch.full_like(data, 2.0))
    assert lengths.device.type == "cpu"


@pytest.mark.parametrize("sizes", [(), (2, 3)])
def test_steps_of_any_shape(sizes):
    given = pack_sequence([torch.randn(n, *sizes) for n in LENGTHS], enforce_sorted=False)
    x, lengths = unpack(given)
    assert torch.equal(pack(x, given).data, given.data)
    assert torch.equal(pack(x, lengths).data, given.data)


def test_a_longer_output_is_cut():
    given = pack_sequence(rows(), enforce_sorted=False)
    x, _ = unpack(given)
    longer = torch.cat((x, torch.full_like(x[:, :2], torch.nan)), 1)
    assert torch.equal(pack(longer, given).data, given.data)


GIVEN = pack_sequence(rows(), enforce_sorted=False)
X = torch.zeros(2, 3, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unpack(X), r"x is float32 \(2, 3, 4\); it takes a PackedSequence: .*lengths="),
        (lambda: unpack(None), "x is None"),
        (lambda: pack(GIVEN, GIVEN), "x is a PackedSequence; it must be a padded batch"),
        (lambda: pack(X, GIVEN), r"\(2, 3, 4\); the packed sequence has 6 rows of up to 7 steps"),
        (lambda: pack(torch.zeros(6, 3, 4), GIVEN), "6 rows of up to 7 steps"),
        (lambda: pack(X, torch.tensor([3, 0])), r"rows \[1\] have no steps.*x\[lengths > 0\]"),
        (lambda: pack(X[:0], torch.zeros(0, dtype=torch.int64)), "the batch has no steps"),
        (lambda: pack(X, torch.tensor([3, 4])), "pack: lengths run from 3 to 4"),
        (lambda: pack(X, [3, 2]), "pack: lengths is a list; .*pass torch.tensor"),
    ],
)
def test_what_can_not_be_packed_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_forward_names_both_functions():
    for core in (LSTM(4, 5), Stacked(4, lambda size: LSTM(size, 5), num_layers=2)):
        with pytest.raises(ValueError, match=r"core\.unpack\(x\) .*core\.pack\(output, x\)"):
            core(GIVEN)
        with pytest.raises(ValueError, match="a packed sequence is no state"):
            core(torch.zeros(2, 3, 4), GIVEN)
