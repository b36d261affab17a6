"""The cores that the contract tests run on: every discovered class, and compositions of them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib import import_module

import pytest
import torch
from torch import Tensor
from unrolled.core import (
    GRU,
    HGRN2,
    LRU,
    LSTM,
    MLSTM,
    RGLRU,
    RNN,
    SLSTM,
    Bidirectional,
    CfC,
    GatedDeltaNet,
    Mamba2,
    MogrifierLSTM,
    ParaLSTM,
    RecurrentCore,
    Stacked,
    WeightDrop,
    Zoneout,
    discover_cores,
)
from unrolled.core.state import State, leaves

INPUT, HIDDEN = 3, 4


def classes() -> dict[str, type[RecurrentCore]]:
    """Return every discovered core, and those of other packages that UNROLLED_CORES names."""
    others = [path.rpartition(".") for path in os.environ.get("UNROLLED_CORES", "").split()]
    return discover_cores() | {name: getattr(import_module(home), name) for home, _, name in others}


def plain_cores() -> dict[str, Callable[[], RecurrentCore]]:
    """Return a maker for every core that is no composition: it is tested by existing."""
    makers: dict[str, Callable[[], RecurrentCore]] = {}
    for name, cls in classes().items():
        if "core" not in inspect.signature(cls).parameters:
            makers[name] = lambda cls=cls: cls(INPUT, HIDDEN)
    return makers


def options() -> dict[str, Callable[[], RecurrentCore]]:
    """Return makers for what the defaults of the discovered cores leave out."""
    return {
        "RNN-relu": lambda: RNN(INPUT, HIDDEN, nonlinearity="relu"),
        "SLSTM-one-head": lambda: SLSTM(INPUT, HIDDEN, num_heads=1),
        "MLSTM-chunks": lambda: MLSTM(INPUT, HIDDEN, num_heads=2, chunk_size=3),
        "MogrifierLSTM-rank": lambda: MogrifierLSTM(INPUT, HIDDEN, rank=2),
        "MogrifierLSTM-round": lambda: MogrifierLSTM(INPUT, HIDDEN, rounds=1),
        "GatedDeltaNet-chunks": lambda: GatedDeltaNet(
            INPUT, HIDDEN, num_heads=1, expand=1, taps=2, chunk_size=3
        ),
        "Mamba2-chunks": lambda: Mamba2(
            INPUT, HIDDEN, num_heads=2, state_size=3, taps=2, chunk_size=2
        ),
        "HGRN2-chunks": lambda: HGRN2(INPUT, HIDDEN, num_heads=1, lower_bound=0.3, chunk_size=4),
        "LRU-chunks": lambda: LRU(INPUT, HIDDEN, state_size=3, chunk=2),
        "RGLRU-heads": lambda: RGLRU(INPUT, HIDDEN, num_heads=2),
        "RGLRU-chunk": lambda: RGLRU(INPUT, HIDDEN, chunk=3),
        "RGLRU-start": lambda: RGLRU(INPUT, HIDDEN, num_heads=2, unscaled_start=True),
        "RGLRU-released": lambda: RGLRU(
            INPUT, INPUT, projection=False, unscaled_start=True, chunk=2
        ),
        "CfC-deep": lambda: CfC(INPUT, HIDDEN, backbone_size=5, backbone_layers=2),
        "ParaLSTM-chunk": lambda: ParaLSTM(INPUT, HIDDEN, bias=False, chunk=3),
        "LSTM-no-bias": lambda: LSTM(INPUT, HIDDEN, bias=False),
        "LSTM-projected": lambda: LSTM(INPUT, HIDDEN, proj_size=2),
        "LSTM-peepholes": lambda: LSTM(INPUT, HIDDEN, peepholes=True),
        "LSTM-both": lambda: LSTM(INPUT, HIDDEN, proj_size=3, peepholes=True, bias=False),
        "LSTM-cut": lambda: cut_everywhere(LSTM(INPUT, HIDDEN)),
        "GRU-cut": lambda: cut_everywhere(GRU(INPUT, HIDDEN)),
        "LSTM-some-cuts": lambda: cut_everywhere(LSTM(INPUT, HIDDEN), slack=3),
    }


def compositions() -> dict[str, Callable[[], RecurrentCore]]:
    """Return makers for causal compositions."""
    return {
        "Stacked": lambda: Stacked(
            INPUT,
            lambda size: LSTM(size, HIDDEN),
            num_layers=2,
            residual=True,
            dropout=0.3,
            norm=True,
        ),
        "Stacked-plain": lambda: Stacked(INPUT, lambda size: LSTM(size, HIDDEN), num_layers=2),
        "Stacked-mixed": lambda: cut_everywhere(
            Stacked(
                INPUT,
                lambda size: GRU(size, 5) if size == INPUT else LSTM(size, 5),
                num_layers=2,
                residual=True,
            ),
            slack=3,
        ),
        "WeightDrop": lambda: WeightDrop(INPUT, lambda size: LSTM(size, HIDDEN), p=0.5),
        "WeightDrop-cut": lambda: cut_everywhere(
            WeightDrop(INPUT, lambda size: GRU(size, HIDDEN), p=0.5)
        ),
        "Zoneout": lambda: Zoneout(INPUT, lambda size: LSTM(size, HIDDEN), p=0.1, cell_p=0.5),
        "Stacked-WeightDrop": lambda: Stacked(
            INPUT, lambda size: WeightDrop(size, lambda inner: GRU(inner, HIDDEN)), num_layers=2
        ),
    }


def backward_readers() -> dict[str, Callable[[], RecurrentCore]]:
    """Return makers for compositions that read the future."""
    return {
        "Bidirectional": lambda: Bidirectional(INPUT, lambda size: LSTM(size, HIDDEN)),
        "Bidirectional-cut": lambda: cut_everywhere(
            Bidirectional(INPUT, lambda size: GRU(size, HIDDEN)), slack=2
        ),
        "Stacked-Bidirectional": lambda: Stacked(
            INPUT,
            lambda size: Bidirectional(size, lambda inner: GRU(inner, HIDDEN)),
            num_layers=2,
            norm=True,
        ),
    }


def cut_everywhere(core: RecurrentCore, slack: int = 0) -> RecurrentCore:
    """Make a core cut the sequence although running past rows' ends would be faster here."""
    for module in core.modules():
        if isinstance(module, RecurrentCore):
            module._slack = min(module._slack, slack)
    return core


CAUSAL = {**plain_cores(), **options(), **compositions()}
EVERY = {**CAUSAL, **backward_readers()}


def make(maker: Callable[[], RecurrentCore], dtype: torch.dtype = torch.float64) -> RecurrentCore:
    """Make a core with fixed weights, in evaluation mode."""
    torch.manual_seed(1)
    return maker().to(dtype).eval()


@pytest.fixture(autouse=True)
def _device(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make tensors and cores where `--device` says."""
    device = request.config.getoption("--device")
    with torch.device(device) if device != "cpu" else nullcontext():
        yield


@pytest.fixture(params=list(CAUSAL))
def causal(request: pytest.FixtureRequest) -> RecurrentCore:
    """A causal core in float64."""
    return make(CAUSAL[request.param])


@pytest.fixture(params=list(EVERY))
def core(request: pytest.FixtureRequest) -> RecurrentCore:
    """Any core in float64."""
    return make(EVERY[request.param])


@pytest.fixture(params=list(plain_cores()))
def plain(request: pytest.FixtureRequest) -> type[RecurrentCore]:
    """The class of a core that is no composition."""
    return classes()[request.param]


@pytest.fixture
def random_state() -> Callable[..., State]:
    """A function that gives a non-zero state which differs in every row."""

    def draw(core: RecurrentCore, batch: int, dtype: torch.dtype = torch.float64) -> State:
        with torch.no_grad():
            return core(torch.randn(batch, 2, core.input_size, dtype=dtype))[1]

    return draw


@pytest.fixture
def same() -> Callable[..., None]:
    """A function that compares (output, state) pairs, or states."""

    def compare(found: object, expected: object, tolerance: float = 1e-10) -> None:
        if isinstance(expected, Tensor):
            torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
            return
        assert type(found) is type(expected)
        found_leaves, expected_leaves = leaves(found), leaves(expected)
        assert len(found_leaves) == len(expected_leaves)
        for one, other in zip(found_leaves, expected_leaves, strict=True):
            torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)

    return compare
