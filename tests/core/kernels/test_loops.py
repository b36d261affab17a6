"""Every loop with a gradient written by hand against the formula of the core that it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from unrolled.core import (
    SLSTM,
    IndRNN,
    MinGRU,
    MogrifierLSTM,
    ParaGRU,
    ParaLSTM,
    RecurrentCore,
)
from unrolled.core.kernels import loops, min_gru
from unrolled.core.state import leaves, map_state

B, T, D, H = 3, 17, 5, 4
CORES: dict[str, list[Callable[[], RecurrentCore]]] = {
    "DiagonalLoop": [
        *(lambda kind=kind: kind(D, H) for kind in (ParaGRU, ParaLSTM)),
        *(lambda kind=kind: kind(D, H, bias=False, chunk=5) for kind in (ParaGRU, ParaLSTM)),
    ],
    "IndRNNLoop": [lambda: IndRNN(D, H), lambda: IndRNN(D, H, bias=False)],
    "MinGRULoop": [lambda: MinGRU(D, H), lambda: MinGRU(D, H, candidate="linear", bias=False)],
    "MogrifierLoop": [
        *(lambda rounds=rounds: MogrifierLSTM(D, H, rounds=rounds) for rounds in range(4)),
        lambda: MogrifierLSTM(D, H, rank=2, recurrent_dropout=0.4),
    ],
    "SLSTMLoop": [lambda: SLSTM(D, H, num_heads=1), lambda: SLSTM(D, H, num_heads=2)],
}
LOOPS = [
    loop.__name__
    for loop in loops.Loop.__subclasses__()
    if loop.__module__.startswith("unrolled.core.kernels")
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", LOOPS)
def test_is_its_formula_with_its_gradients(monkeypatch, name, masked, dtype, tolerance):
    for make in CORES[name]:
        torch.manual_seed(0)
        core = make().to(dtype)
        x = torch.randn(B, T, D, dtype=dtype, requires_grad=True)
        state = core(torch.randn(B, 2, D, dtype=dtype))[1]
        state = map_state(lambda leaf: leaf.detach().requires_grad_(), state)
        masks = {"lengths": torch.tensor([T, 9, 0]), "reset": torch.rand(B, T) < 0.2}
        given = [x, *leaves(state), *core.parameters()]
        found = []
        for plain in (False, True):
            monkeypatch.setattr(loops, "transformed", lambda plain=plain: plain)
            torch.manual_seed(1)  # recurrent dropout
            results = leaves(core(x, state, **masks if masked else {}))
            total = sum(leaf.sin().sum() for leaf in results)
            found.append([*results, *torch.autograd.grad(total, given)])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("steps", [1, 4, 16, 17])
def test_tiles_change_nothing(monkeypatch, steps):
    torch.manual_seed(0)
    core = MinGRU(D, H).double()
    x, reset = torch.randn(B, T, D, dtype=torch.float64, requires_grad=True), torch.rand(B, T) < 0.2
    found = []
    for elements in (min_gru._TILE, steps * B * H):
        monkeypatch.setattr(min_gru, "_TILE", elements)
        output, state = core(x, lengths=torch.tensor([T, 9, 0]), reset=reset)
        total = output.sin().sum() + state.hidden.sin().sum()
        found.append([output, *state, *torch.autograd.grad(total, [x, *core.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)
