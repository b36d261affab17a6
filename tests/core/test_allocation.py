"""What a network allocates is bounded before it is allocated."""

from __future__ import annotations

import resource

import pytest
import torch
from torch import nn
from unrolled.core import GRU, LSTM, RecurrentCore, Stacked, discover_cores
from unrolled.core.allocation import Bounded, memory
from unrolled.core.vision.backbones import SmallCNN, TorchvisionBackbone


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("size", [10**6, 10**9, 10**12])
@pytest.mark.parametrize("name", [*discover_cores(), "Linear", "Embedding", "Conv2d", "SmallCNN"])
def test_absurd_sizes_are_refused_before_memory_is_taken(name, size):
    makers = {
        "Linear": lambda: nn.Linear(size, size),
        "Embedding": lambda: nn.Embedding(size, size),
        "Conv2d": lambda: nn.Conv2d(size, size, 3),
        "SmallCNN": lambda: SmallCNN([size]),
    }
    core = discover_cores().get(name)
    needs_core = name in ("Stacked", "Bidirectional", "WeightDrop", "Zoneout")
    if needs_core:
        more = {"num_layers": 1} if name == "Stacked" else {}
        make = lambda: core(size, lambda inner: GRU(inner, size), **more)  # noqa: E731
    else:
        make = makers.get(name) or (lambda: core(size, size))
    before = peak()
    with Bounded(10**9, "is left"), pytest.raises(ValueError, match=r"GB, and 1.0 GB is left|more"):
        make()
    assert peak() - before < 1_200_000  # kilobytes


def test_the_sum_counts():
    with Bounded(4 * 2500, "is left"):
        nn.Linear(49, 50)  # 2,500 numbers
    with Bounded(4 * 2499, "is left"), pytest.raises(ValueError, match="a tensor of 50 needs"):
        nn.Linear(49, 50)


def test_tensors_without_end_are_refused(monkeypatch):
    monkeypatch.setattr("unrolled.core.allocation._MOST_TENSORS", 100)
    endless = (nn.Linear(1, 1) for _ in range(10**9))
    with Bounded(), pytest.raises(ValueError, match="more than 100 tensors"):
        nn.Sequential(*endless)


@pytest.mark.parametrize("number", [10**6, 10**9])
def test_layers_without_end_are_refused(number):
    with pytest.raises(ValueError, match=f"num_layers is {number}; a stack has at most 1000"):
        Stacked(2, lambda size: GRU(size, 2), num_layers=number)
    with pytest.raises(ValueError, match=f"{number + 1:,} convolutions; at most 1000"):
        SmallCNN([1], blocks=[number])
    assert isinstance(Stacked(2, lambda size: GRU(size, 2), num_layers=200), RecurrentCore)


def test_what_is_made_within_the_bound_is_the_same():
    made = []
    for bounded in (False, True):
        torch.manual_seed(0)
        if bounded:
            with Bounded():
                made.append([LSTM(3, 4), TorchvisionBackbone("resnet18")])
        else:
            made.append([LSTM(3, 4), TorchvisionBackbone("resnet18")])
    for one, other in zip(*made, strict=True):
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_memory_of_this_machine():
    assert 1 << 28 < memory() <= 1 << 45
