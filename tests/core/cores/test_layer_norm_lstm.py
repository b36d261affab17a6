"""LayerNormLSTM against the equations of Ba et al., and recurrent dropout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unrolled.core import LayerNormLSTM, LSTMState, WeightDrop, reference
from unrolled.core.state import leaves


def normalise(v: Tensor, gain: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    mean = v.sum() / len(v)
    deviation = ((v - mean) ** 2).sum() / len(v)
    return gain * (v - mean) / torch.sqrt(deviation + 1e-5) + bias


def equations(core: LayerNormLSTM, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
    """Row by row, step by step, gate by gate."""
    size, outputs, hiddens, cells = core.hidden_size, [], [], []
    for row in range(len(x)):
        h, c, output = hidden[row], cell[row], []
        for x_t in x[row]:
            a = (
                normalise(core.weight_ih @ x_t, core.gain_ih)
                + normalise(core.weight_hh @ h, core.gain_hh)
                + core.bias
            )
            i, f, g, o = (a[k * size : (k + 1) * size] for k in range(4))
            c = c / (1 + torch.exp(-f)) + torch.tanh(g) / (1 + torch.exp(-i))
            h = torch.tanh(normalise(c, core.gain_cell, core.bias_cell)) / (1 + torch.exp(-o))
            output.append(h)
        outputs.append(torch.stack(output))
        hiddens.append(h)
        cells.append(c)
    return torch.stack(outputs), torch.stack(hiddens), torch.stack(cells)


def make(**options: float) -> LayerNormLSTM:
    torch.manual_seed(0)
    core = LayerNormLSTM(3, 5, **options).double()
    for parameter in core.parameters():
        torch.nn.init.normal_(parameter, 0.3, 0.7)
    return core


def test_is_the_paper_with_its_gradients():
    core = make()
    results = []
    for run in (
        equations,
        lambda core, x, *state: (lambda out: (out[0], *out[1]))(core(x, LSTMState(*state))),
    ):
        torch.manual_seed(1)
        given = [
            torch.randn(*shape, dtype=torch.float64).requires_grad_()
            for shape in ((4, 9, 3), (4, 5), (4, 5))
        ]
        core.zero_grad()
        found = run(core, *given)
        sum(
            (leaf * torch.arange(leaf.numel()).view_as(leaf).cos()).sum() for leaf in found
        ).backward()
        results.append([*found, *(tensor.grad for tensor in (*given, *core.parameters()))])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


def test_long_sequences_with_large_gates_stay_finite():
    core = make().float()
    with torch.no_grad():
        for name, parameter in core.named_parameters():
            parameter.mul_(50 if name.startswith("gain") or name == "bias" else 1)
    x = (torch.randn(2, 500, 3) * 100).requires_grad_()
    output, state = core(x)
    (output.sum() + sum(leaf.sum() for leaf in state)).backward()
    for tensor in (output, *state, x.grad, *(parameter.grad for parameter in core.parameters())):
        assert tensor.isfinite().all()


def test_recurrent_dropout_keeps_one_mask_and_the_mean():
    core = make(recurrent_dropout=0.5).eval()
    x = torch.randn(6, 8, 3, dtype=torch.float64)
    expected = core(x)[0]
    torch.testing.assert_close(expected, reference(core, x)[0])
    core.train()
    with torch.no_grad():
        # both gates wide open: a dropped unit's cell stays zero, the others count g twice
        core.bias[:10] = 100.0
    lengths = torch.tensor([8, 8, 3, 5, 8, 1])
    reset = torch.rand(6, 8) < 0.2
    _, state = core(x, lengths=lengths, reset=reset)
    dropped = state.cell == 0
    assert 0 < dropped.sum() < 30
    cells = [core(x[:, :1])[1].cell for _ in range(400)]
    mean = sum(cells) / len(cells)
    core.eval()
    torch.testing.assert_close(mean, core(x[:, :1])[1].cell, atol=0.25, rtol=0)
    core.train()
    torch.manual_seed(5)
    whole = core(x)[1]
    torch.manual_seed(5)  # the same mask at every step, also where the sequence is cut
    cut = core(
        x, reset=torch.zeros(6, 8, dtype=torch.bool).index_fill(1, torch.tensor([4]), False)
    )[1]
    for one, other in zip(leaves(whole), leaves(cut), strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(ValueError, match=r"LayerNormLSTM: recurrent_dropout is 1.5; a probability"):
        LayerNormLSTM(3, 5, recurrent_dropout=1.5)


def test_recurrent_dropout_gradients_are_right():
    core = make(recurrent_dropout=0.4).train()
    x = torch.randn(3, 4, 3, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(3)
        output, state = core(x, reset=torch.eye(3, 4, dtype=torch.bool))
        return output, *state

    assert torch.autograd.gradcheck(run, (x, *core.parameters()), fast_mode=True)


def test_weight_drop_holds_for_all_steps():
    torch.manual_seed(0)
    core = WeightDrop(3, lambda size: LayerNormLSTM(size, 5), p=0.5).double().train()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    torch.manual_seed(1)
    dropped = core(x)[0]
    torch.manual_seed(1)
    plain = LayerNormLSTM(3, 5).double()
    dropped_weights = core.state_dict()
    weight_hh = dropped_weights.pop("core.parametrizations.weight_hh.original")
    weights = {name.removeprefix("core."): value for name, value in dropped_weights.items()}
    plain.load_state_dict(weights | {"weight_hh": weight_hh})
    torch.manual_seed(1)
    with torch.no_grad():
        plain.weight_hh.copy_(torch.nn.functional.dropout(plain.weight_hh, 0.5))
    torch.testing.assert_close(dropped, plain(x)[0])
