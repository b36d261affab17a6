"""RGLRU against the paper's equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import RGLRU, RGLRUState


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def equations(core: RGLRU, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Equations 1 to 4 of the paper, row by row and step by step, with the power written out."""
    size = core.hidden_size
    outputs = []
    for row, h in zip(x, hidden, strict=True):
        for x_t in row:
            u = core.weight_in @ x_t + core.bias_in
            r = sigmoid(core.weight_gates[:size] @ u + core.bias_gates[:size])
            i = sigmoid(core.weight_gates[size:] @ u + core.bias_gates[size:])
            a = sigmoid(core.decay) ** (8 * r)
            h = a * h + torch.sqrt(1 - a**2) * (i * u)
            outputs.append(h)
    output = torch.stack(outputs).view(*x.shape[:2], size)
    return output, output[:, -1]


@pytest.mark.parametrize("decay", ["initial", "any"])
def test_is_the_paper_with_its_gradients(decay):
    torch.manual_seed(0)
    core = RGLRU(3, 4).double()
    torch.nn.init.normal_(core.bias_in)
    torch.nn.init.normal_(core.bias_gates)
    if decay == "any":
        torch.nn.init.normal_(core.decay)
    x, hidden = torch.randn(2, 9, 3).double(), torch.randn(2, 4).double()
    results = []
    for run in (equations, lambda core, x, hidden: core(x, RGLRUState(hidden))):
        leaves = [leaf.clone().requires_grad_() for leaf in (x, hidden)]
        core.zero_grad()
        output, last = run(core, *leaves)
        last = getattr(last, "hidden", last)
        (output.sin().sum() + last.square().sum()).backward()
        results.append([output, last, *[leaf.grad for leaf in (*leaves, *core.parameters())]])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-8)


def test_the_size_of_the_state_is_that_of_the_input():
    """What sqrt(1 - a^2) is for: white noise of variance v in, v out, whatever the decay."""
    torch.manual_seed(0)
    core = RGLRU(4, 4).double()
    with torch.no_grad():
        core.weight_in.copy_(torch.eye(4))
        core.weight_gates.zero_()
        core.bias_gates.fill_(40.0)  # both gates open
        output, _ = core(torch.randn(8, 4000, 4).double())
    assert output[:, 1000:].var().item() == pytest.approx(1.0, rel=0.2)


def test_gradients_stay_finite_where_nothing_is_forgotten():
    core = RGLRU(3, 4)
    with torch.no_grad():
        core.bias_gates[:4] = -200.0  # r underflows to 0: a is 1 and the root 0
    output, _ = core(torch.randn(2, 6, 3))
    output.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in core.parameters())


def test_initialisation_and_options():
    torch.manual_seed(0)
    core = RGLRU(64, 400)
    power = torch.sigmoid(core.decay.double()) ** 8
    assert 0.9 - 1e-4 <= power.min() < 0.91 < 0.99 < power.max() <= 0.999 + 1e-4
    assert core.weight_in.std().item() == pytest.approx(64**-0.5, rel=0.05)
    assert core.weight_gates.std().item() == pytest.approx(400**-0.5, rel=0.05)
    assert not core.bias_in.any()
    assert not core.bias_gates.any()
    assert repr(RGLRU(3, 4, chunk=7)) == "RGLRU(3, 4, chunk=7)"


def test_heads_are_a_block_diagonal_matrix():
    torch.manual_seed(0)
    core, whole = RGLRU(3, 6, num_heads=3).double(), RGLRU(3, 6).double()
    torch.nn.init.normal_(core.bias_gates)
    weights = dict(core.state_dict())
    blocks = weights["weight_gates"].view(2, 3, 2, 2)
    weights["weight_gates"] = torch.cat([torch.block_diag(*gate) for gate in blocks])
    whole.load_state_dict(weights)
    x = torch.randn(2, 5, 3).double()
    torch.testing.assert_close(core(x), whole(x), atol=1e-14, rtol=0)


def released(width: int, heads: int, dtype: torch.dtype, prefix: str = "") -> dict[str, Tensor]:
    """Random weights of one layer, named and shaped as DeepMind's code does."""
    size = width // heads
    shapes = {
        "a_param": (width,),
        **{f"{gate}.w": (heads, size, size) for gate in ("input_gate", "a_gate")},
        **{f"{gate}.b": (heads, size) for gate in ("input_gate", "a_gate")},
    }
    return {prefix + name: torch.randn(shape).to(dtype) for name, shape in shapes.items()}


def griffin(
    weights: dict[str, Tensor], x: Tensor, position: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """What that layer is said to do: a head's inputs times its matrix; no root at position 0."""

    def gate(name: str, x: Tensor) -> Tensor:
        heads = x.split(weights[f"{name}.w"].shape[1])
        parts = zip(heads, weights[f"{name}.w"], weights[f"{name}.b"], strict=True)
        return sigmoid(torch.cat([head @ w + b for head, w, b in parts]))

    outputs = []
    for row, places, last in zip(x, position, h, strict=True):
        for x_t, place in zip(row, places.tolist(), strict=True):
            log_a = -8 * gate("a_gate", x_t) * torch.log1p(torch.exp(weights["a_param"]))
            a = torch.exp(log_a)
            scale = 1.0 if place == 0 else torch.sqrt(1 - a**2)
            last = (0 if place == 0 else a * last) + scale * gate("input_gate", x_t) * x_t
            outputs.append(last)
    output = torch.stack(outputs).view(x.shape)
    return output, output[:, -1]


OTHER_NAMES = {
    "a_param": "recurrent_param",
    "a_gate.w": "recurrent_gate_weight",
    "a_gate.b": "recurrent_gate_bias",
    "input_gate.w": "input_gate_weight",
    "input_gate.b": "input_gate_bias",
}


@pytest.mark.parametrize("transformers", [False, True])
def test_a_released_layer_is_loaded(transformers):
    torch.manual_seed(0)
    weights = released(6, 3, torch.float64)
    named = {OTHER_NAMES[key] if transformers else key: value for key, value in weights.items()}
    core = RGLRU.from_recurrent_gemma(named)
    assert (core.input_size, core.hidden_size, core.num_heads) == (6, 6, 3)
    assert core.decay.dtype == torch.float64
    x = torch.randn(2, 9, 6).double()
    position = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 2, 0, 1, 2, 3, 0, 0]])
    expected, last = griffin(weights, x, position, torch.zeros(2, 6).double())
    output, state = core(x, reset=position == 0)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(state.hidden, last, atol=1e-12, rtol=1e-10)
    # from its state on, as in decoding
    more = torch.randn(2, 2, 6).double()
    expected, _ = griffin(weights, more, torch.tensor([[9, 10], [1, 2]]), last)
    for t in range(2):
        y, state = core.step(more[:, t], state)
        torch.testing.assert_close(y, expected[:, t], atol=1e-12, rtol=1e-10)
    # the first row has no reset but the start
    torch.testing.assert_close(core(x[:1])[0], output[:1], atol=1e-12, rtol=0)


def test_a_layer_is_found_by_its_prefix():
    weights = released(6, 3, torch.bfloat16, "blocks.0.recurrent_block.rg_lru.")
    core = RGLRU.from_recurrent_gemma(weights, prefix="blocks.0.recurrent_block.rg_lru.", chunk=2)
    assert core.weight_gates.dtype == torch.bfloat16
    assert repr(core) == "RGLRU(6, 6, num_heads=3, projection=False, unscaled_start=True, chunk=2)"
    with pytest.raises(ValueError, match=r"prefix is one of 'blocks.0.recurrent_block.rg_lru.'"):
        RGLRU.from_recurrent_gemma(weights)
    with pytest.raises(ValueError, match="it has no RG-LRU"):
        RGLRU.from_recurrent_gemma({})
    weights = released(6, 3, torch.float32)
    weights["input_gate.b"] = weights["input_gate.b"][:2]
    with pytest.raises(ValueError, match=r"\(2, 2\)\], not \[\(6,\), \(3, 2, 2\)"):
        RGLRU.from_recurrent_gemma(weights)


def test_sizes_that_do_not_agree_are_refused():
    with pytest.raises(ValueError, match=r"num_heads is 3; .* divides hidden_size, which is 4"):
        RGLRU(3, 4, num_heads=3)
    with pytest.raises(ValueError, match="without projection input_size, 3, must be hidden_size"):
        RGLRU(3, 4, projection=False)
