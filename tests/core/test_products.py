"""Products in 8 bits: how far they are off, that rows go by themselves, and who takes them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from unrolled.core import GRU, LSTM, AdditiveAttention, Memory, MinGRU, SequenceDecoder, Stacked
from unrolled.core.products import eight_bits, has_eight_bits, layer, product

needed = pytest.mark.skipif(
    not has_eight_bits(), reason="this processor has no products in 8 bits (AVX-512 with VNNI)"
)
CORES = {
    "GRU": lambda: GRU(24, 40),
    "GRU without biases": lambda: GRU(24, 40, bias=False),
    "LSTM": lambda: LSTM(24, 40),
    "LSTM with a projection": lambda: LSTM(24, 40, proj_size=16),
    "two layers": lambda: Stacked(24, partial(LSTM, hidden_size=40), num_layers=2),
}


def made(weight, bias=None):
    with eight_bits():
        return product(weight, bias)


@needed
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("shape", [(1, 3, 2), (5, 64, 33), (70, 129, 300)])
def test_a_product_is_off_by_its_rounding_at_most(shape, scale):
    torch.manual_seed(0)
    rows, inputs, outputs = shape
    x, weight = torch.randn(rows, inputs) * scale, torch.randn(outputs, inputs)
    bias = torch.randn(outputs) * scale
    a = x.abs().amax(1, keepdim=True).double() / 127  # a step of each row
    b = weight.abs().amax(1).double() / 127  # a step of each output
    sizes = (x.double() / a).abs().sum(1, keepdim=True) + (weight.double().T / b).abs().sum(0)
    most = a * b * (sizes / 2 + inputs / 4)  # half a step of either, times the other's
    exact = x.double() @ weight.double().T + bias.double()
    off = (made(weight, bias)(x).double() - exact).abs()
    assert (off <= most * 1.001 + exact.abs() * 1e-6).all()
    assert off.max() > 0


@needed
def test_whole_numbers_come_out_exactly():
    weight, x = torch.randint(-127, 128, (9, 400)).float(), torch.randint(-127, 128, (6, 400))
    weight[:, 0], x[:, 0] = 127.0, -127
    exact = (x.double() @ weight.double().T).float()
    torch.testing.assert_close(made(weight)(x.float()), exact, rtol=1e-6, atol=0)


@needed
def test_a_row_does_not_depend_on_its_neighbours():
    run = made(torch.randn(50, 70), torch.randn(50))
    x = torch.randn(40, 70) * torch.logspace(-3, 3, 40).unsqueeze(1)
    together = run(x)
    for row in range(40):
        torch.testing.assert_close(run(x[row : row + 1])[0], together[row], rtol=0, atol=0)


@needed
def test_odd_rows_and_shapes():
    weight, bias = torch.randn(5, 8), torch.randn(5)
    bias[2] = -torch.inf
    run = made(weight, bias)
    assert run(torch.zeros(0, 8)).shape == (0, 5)
    assert run(torch.zeros(2, 0, 8)).shape == (2, 0, 5)
    torch.testing.assert_close(run(torch.zeros(1, 8))[0], bias)
    x = torch.randn(4, 8)
    torch.testing.assert_close(run(x.view(2, 2, 8)).flatten(0, 1), run(x))
    x[1, 3], x[2, 0] = torch.nan, torch.inf
    assert run(x)[[0, 3]][:, [0, 1, 3, 4]].isfinite().all()
    assert not run(x)[[1, 2]].isfinite().any()
    torch.testing.assert_close(made(torch.zeros(3, 8))(torch.randn(2, 8)), torch.zeros(2, 3))


@needed
def test_what_is_made_keeps_its_weights_and_leaves_the_context():
    weight, x = torch.nn.Parameter(torch.randn(5, 8), requires_grad=False), torch.randn(3, 8)
    with eight_bits():
        inside = product(weight)
    before, outside = inside(x), product(weight)
    assert not torch.equal(before, x @ weight.T)
    torch.testing.assert_close(outside(x), x @ weight.T)
    weight.zero_()
    torch.testing.assert_close(inside(x), before, rtol=0, atol=0)
    assert outside(x).any()


@needed
def test_a_parameter_is_rounded_once_and_anew_when_it_has_changed():
    head, x = torch.nn.Linear(8, 5), torch.randn(3, 8)
    with eight_bits():
        first = layer(head)
        assert layer(head) is first
        for changed in (head.weight, head.bias):
            with torch.no_grad():
                changed.mul_(2)
            assert (layer(head)(x) - head(x)).abs().max() < 0.1
    with eight_bits():
        assert layer(head) is not first


@needed
def test_other_dtypes_and_devices_stay_as_they_are():
    for dtype in (torch.float64, torch.bfloat16):
        weight, x = torch.randn(5, 8, dtype=dtype), torch.randn(3, 8, dtype=dtype)
        torch.testing.assert_close(made(weight)(x), x @ weight.T)
    assert made(torch.empty(5, 8, device="meta"))(torch.empty(3, 8, device="meta")).is_meta
    head = torch.nn.Linear(8, 5)
    assert layer(head) is head


@needed
@pytest.mark.parametrize("name", CORES)
def test_a_stepper_follows_the_core(name):
    torch.manual_seed(0)
    core = CORES[name]()
    with eight_bits():
        run = core.stepper()
    one = other = core.initial_state(12)
    off = 0.0
    for x in torch.randn(30, 12, 24):
        with torch.inference_mode():
            (expected, one), (output, other) = core.step(x, one), run(x, other)
        off = max(off, float((output - expected).abs().max()))
    assert 0 < off < 0.03  # of outputs within -1 and 1


@needed
def test_cores_without_such_products_stay_as_they_are():
    core = MinGRU(6, 8)
    x, state = torch.randn(3, 6), core.initial_state(3)
    with eight_bits():
        run = core.stepper()
    with torch.inference_mode():
        torch.testing.assert_close(run(x, state)[0], core.step(x, state)[0], rtol=0, atol=0)


@needed
def test_a_decoder_takes_all_of_its_products_so():
    torch.manual_seed(0)
    decoder = SequenceDecoder(
        torch.nn.Embedding(90, 24), partial(GRU, hidden_size=40), memory_size=32,
        attention=AdditiveAttention,
    ).eval()  # fmt: skip
    memory, tokens = Memory(torch.randn(2, 5, 32)), torch.randint(90, (6,))
    prepared, state = decoder.prepare(memory), decoder.initial_state(memory)
    state = type(state)(*(part.repeat_interleave(3, 0) for part in (state.core[0], state.feed)))
    state = state._replace(core=type(decoder.core.initial_state(1))(state.core))
    called = []
    for linear in (decoder.combine, decoder.head):
        linear.register_forward_hook(lambda *_: called.append(1))
    with torch.inference_mode():
        expected, _ = decoder.step(tokens, state, prepared)
        assert len(called) == 2
        with eight_bits():
            search, ready = decoder.searcher(prepared)
            step = decoder.stepper()
        found = [search(tokens, state, ready)[0], step(tokens, state, prepared)[0]]
    assert len(called) == 2
    for logits in found:
        assert 0 < (logits - expected).abs().max() < 0.05 * expected.abs().max()


def test_a_processor_without_them_says_so(monkeypatch):
    monkeypatch.setattr("unrolled.core.products.has_eight_bits", lambda: False)
    with pytest.raises(RuntimeError, match="for this processor"), eight_bits():
        pass
