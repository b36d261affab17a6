"""Graphs of every core: a step, and what is put together of steps, are what torch computes."""

from __future__ import annotations

import inspect
from functools import partial

import pytest
import torch
from unrolled import core as cores
from unrolled.apps.exports.graphs import Assembly, graph_of
from unrolled.apps.exports.modules import MaskedStep
from unrolled.apps.exports.needs import needed
from unrolled.core import (
    GRU,
    HGRN2,
    LRU,
    LSTM,
    RGLRU,
    Bidirectional,
    CfC,
    Mamba2,
    RecurrentCore,
    Stacked,
    WeightDrop,
    Zoneout,
)
from unrolled.core.state import leaves
from unrolled.errors import SetupError, UsageError

pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
onnxruntime = pytest.importorskip("onnxruntime")

SINGLE = [
    made
    for name in dir(cores)
    if inspect.isclass(made := getattr(cores, name))
    and issubclass(made, RecurrentCore)
    and not inspect.isabstract(made)
    and "hidden_size" in inspect.signature(made).parameters
]
COMPOSED = {
    "stacked": lambda: Stacked(4, partial(LSTM, hidden_size=8), num_layers=2, norm=True),
    "weight_drop": lambda: WeightDrop(4, partial(LSTM, hidden_size=8)),
    "zoneout": lambda: Zoneout(4, partial(GRU, hidden_size=8)),
    "both": lambda: Bidirectional(4, partial(GRU, hidden_size=8)),
    "deep": lambda: Stacked(
        4, partial(Bidirectional, core=partial(LSTM, hidden_size=2)), num_layers=2, residual=True
    ),
}
OPTIONS = {
    "projected": lambda: LSTM(4, 8, proj_size=3),
    "peepholes": lambda: LSTM(4, 8, peepholes=True),
    "both_peepholes": lambda: LSTM(4, 8, proj_size=3, peepholes=True, bias=False),
    "lru_of_other_size": lambda: LRU(4, 8, state_size=3),
    "rglru_heads": lambda: RGLRU(4, 8, num_heads=2),
    "rglru_released": lambda: RGLRU(4, 4, projection=False, unscaled_start=True),
    "hgrn2_bound": lambda: HGRN2(4, 8, num_heads=1, lower_bound=0.3),
    "mamba2_taps": lambda: Mamba2(4, 8, num_heads=2, state_size=3, taps=2),
    "cfc_deep": lambda: CfC(4, 8, backbone_size=5, backbone_layers=2),
    "cfc_stacked": lambda: Stacked(4, partial(CfC, hidden_size=8), num_layers=2),
    "projected_both": lambda: Bidirectional(4, partial(LSTM, hidden_size=8, proj_size=3)),
}
MADE = {made.__name__: partial(made, 4, hidden_size=8) for made in SINGLE} | COMPOSED | OPTIONS


def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString())


@pytest.mark.parametrize(
    "name",
    [name if name == "GRU" else pytest.param(name, marks=pytest.mark.slow) for name in MADE],
)
def test_a_core_over_rows_of_some_lengths_is_torchs(name):
    """1,000 steps, rows of another number than the example's, one of them empty."""
    torch.manual_seed(0)
    core = MADE[name]().eval()
    rows = {0: "batch", 1: "time"}
    inputs = {"x": (torch.randn(3, 5, 4), rows), "lengths": (torch.tensor([5, 1, 2]), {0: "batch"})}
    assembly = Assembly(inputs)
    output = assembly.run(core, "x", assembly.valid("x", "lengths"))
    graph = session(assembly.model({"output": output}, {"output": rows}))
    x, lengths = torch.randn(4, 1000, 4), torch.tensor([1000, 0, 1, 700])
    with torch.inference_mode():
        expected, _ = core(x, lengths=lengths)
    (found,) = graph.run(None, {"x": x.numpy(), "lengths": lengths.numpy()})
    # layer normalisation makes rounding grow over a thousand steps, torch's own as well; untrained
    # matrix memories give numbers up to 100, of which the last digits are meant
    allowed = 1e-4 if name == "LayerNormLSTM" else 1e-5
    relative = 1e-4 if name == "MLSTM" else 0
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=allowed, rtol=relative)


def test_a_core_that_reads_both_ways_by_itself_is_refused():
    class Centred(GRU):
        causal = False

    assembly = Assembly({"x": (torch.randn(3, 5, 4), {0: "batch", 1: "time"})})
    with pytest.raises(UsageError, match="Centred is not causal"):
        assembly.run(Centred(4, 8), "x", "x")


def test_a_size_that_would_be_frozen_is_refused():
    class Counted(torch.nn.Module):
        def forward(self, x):
            return x / len(x)

    with pytest.raises(UsageError, match="Counted"):
        graph_of(Counted(), (torch.randn(3, 4),), ({0: "batch"},), ["x"], ["y"])


def test_a_state_is_flat_and_keeps_its_order():
    core = Stacked(4, partial(LSTM, hidden_size=8), num_layers=2).eval()
    state = [torch.randn(2, 8) for _ in range(4)]
    x, valid = torch.randn(2, 4), torch.tensor([True, False])
    after, output = MaskedStep(core)(state, x, valid)
    first, second = core.initial_state(2)
    whole, last = core.step(x, (type(first)(*state[:2]), type(second)(*state[2:])))
    for one, two, before in zip(after, leaves(last), state, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], before[1])
    assert torch.equal(output[0], whole[0])
    assert not output[1].any()


def test_what_is_not_installed_is_named_with_its_remedy():
    with pytest.raises(SetupError, match=r"no_such_module.*\n.*pip install -e '\.\[export\]'"):
        needed("no_such_module")
