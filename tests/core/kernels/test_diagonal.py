"""Newton's method and the gradients of diagonal recurrences against their steps, on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import ParaGRU, ParaLSTM, RecurrentCore
from unrolled.core.families import diagonal as family
from unrolled.core.kernels import block_scan, diagonal
from unrolled.core.state import leaves, map_state

CORES = [ParaGRU, ParaLSTM]
B, T, D, H = 3, 97, 5, 4


def batch(core: RecurrentCore, dtype: torch.dtype) -> tuple[Tensor, object, dict[str, Tensor]]:
    x = torch.randn(B, T, D, dtype=dtype, requires_grad=True)
    state = map_state(
        lambda leaf: leaf.detach().requires_grad_(), core(torch.randn(B, 2, D, dtype=dtype))[1]
    )
    return x, state, {"lengths": torch.tensor([T, 50, 0]), "reset": torch.rand(B, T) < 0.05}


def results(core: RecurrentCore, x: Tensor, state: object, masks: dict) -> list[Tensor]:
    """Outputs, states, and the gradients of everything."""
    found = leaves(core(x, state, **masks))
    total = sum(leaf.sin().sum() for leaf in found)
    return [*found, *torch.autograd.grad(total, [x, *leaves(state), *core.parameters()])]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 3e-5)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("tile", [1 << 17, 20 * B * H])
@pytest.mark.parametrize("spread", [0.2, 1.0])
@pytest.mark.parametrize("kind", CORES)
def test_newton_finds_what_the_steps_do(monkeypatch, kind, spread, tile, masked, dtype, tolerance):
    torch.manual_seed(0)
    core = kind(D, H).to(dtype)
    for parameter in core.parameters():
        torch.nn.init.normal_(parameter, 0.0, spread)
    x, state, masks = batch(core, dtype)
    given = x, state, masks if masked else {}
    expected = results(core, *given)
    monkeypatch.setattr(diagonal, "_TILE", tile)
    monkeypatch.setattr(family, "worth_newton", lambda x: True)
    monkeypatch.setattr(diagonal, "_steps", None)  # which it falls back to
    for one, other in zip(results(core, *given), expected, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("kind", CORES)
def test_few_iterations_do(monkeypatch, kind):
    """As the paper says, at the weights that a core begins with: here at most 5 for float64."""
    torch.manual_seed(0)
    core = kind(32, 32).double()
    monkeypatch.setattr(family, "worth_newton", lambda x: True)
    monkeypatch.setattr(diagonal, "_MOST_ITERATIONS", 5)
    monkeypatch.setattr(diagonal, "_steps", None)
    core(torch.randn(2, 400, 32).double())


@pytest.mark.parametrize("kind", CORES)
def test_where_newton_does_not_converge_the_steps_are_run(monkeypatch, kind):
    torch.manual_seed(0)
    core = kind(D, H).double()
    torch.nn.init.normal_(core.weight_hh, 0.0, 30.0)  # an unstable recurrence
    x, state, masks = batch(core, torch.float64)
    expected = results(core, x, state, masks)
    monkeypatch.setattr(family, "worth_newton", lambda x: True)
    monkeypatch.setattr(diagonal, "_MOST_ITERATIONS", 2)
    for one, other in zip(results(core, x, state, masks), expected, strict=True):
        torch.testing.assert_close(one, other, atol=0.0, rtol=1e-9)


@pytest.mark.parametrize("kind", CORES)
def test_newton_runs_in_inference_mode(monkeypatch, kind):
    torch.manual_seed(0)
    core, x = kind(D, H).double(), torch.randn(B, T, D).double()
    expected = core(x)[0]
    monkeypatch.setattr(family, "worth_newton", lambda x: True)
    with torch.inference_mode():
        torch.testing.assert_close(core(x)[0], expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("kind", CORES)
def test_what_is_not_a_number_stays_in_its_row(monkeypatch, kind):
    torch.manual_seed(0)
    core, x = kind(D, H).double(), torch.randn(B, T, D).double()
    x[1, 60] = float("nan")
    expected = core(x)[0]
    monkeypatch.setattr(family, "worth_newton", lambda x: True)
    torch.testing.assert_close(core(x)[0], expected, atol=1e-11, rtol=0, equal_nan=True)


@pytest.mark.parametrize("few_channels", [0, 10**9], ids=["steps", "halves"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("time", [1, 2, 3, 8, 21])
@pytest.mark.parametrize("numbers", [1, 2, 3])
def test_block_scan_is_its_definition(monkeypatch, numbers, time, reverse, few_channels):
    monkeypatch.setattr(block_scan, "_FEW_CHANNELS", few_channels)
    generator = torch.Generator().manual_seed(0)
    links = torch.randn(numbers, numbers, time - 1, B, H, generator=generator).double()
    h = torch.randn(numbers, time, B, H, generator=generator).double()
    expected = h.clone()
    for t in range(time - 2, -1, -1) if reverse else range(1, time):
        if reverse:
            expected[:, t] += torch.einsum("ijbh,ibh->jbh", links[:, :, t], expected[:, t + 1])
        else:
            expected[:, t] += torch.einsum("ijbh,jbh->ibh", links[:, :, t - 1], expected[:, t - 1])
    found = [part.clone() for part in h]
    block_scan.block_scan_([list(row) for row in links], found, reverse=reverse)
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-9, rtol=1e-11)
