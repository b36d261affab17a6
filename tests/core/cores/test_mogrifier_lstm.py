"""MogrifierLSTM against the equations of Melis et al."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from unrolled.core import LSTM, LSTMState, MogrifierLSTM, reference


def sigmoid(v: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-v))


def equations(core: MogrifierLSTM, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
    """Row by row, step by step, round by round."""

    def matrix(name: str, index: int) -> Tensor:
        if core.rank is None:
            return getattr(core, f"weight_{name}")[index]
        return (
            getattr(core, f"weight_{name}_left")[index]
            @ getattr(core, f"weight_{name}_right")[index]
        )

    size, outputs, hiddens, cells = core.hidden_size, [], [], []
    for row in range(len(x)):
        h, c, output = hidden[row], cell[row], []
        for x_t in x[row]:
            for round_ in range(1, core.rounds + 1):
                if round_ % 2 == 1:
                    x_t = 2 * sigmoid(matrix("q", (round_ - 1) // 2) @ h) * x_t
                else:
                    h = 2 * sigmoid(matrix("r", round_ // 2 - 1) @ x_t) * h
            a = core.weight_ih @ x_t + core.weight_hh @ h + core.bias
            i, f, g, o = (a[k * size : (k + 1) * size] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * torch.tanh(g)
            h = sigmoid(o) * torch.tanh(c)
            output.append(h)
        outputs.append(torch.stack(output))
        hiddens.append(h)
        cells.append(c)
    return torch.stack(outputs), torch.stack(hiddens), torch.stack(cells)


def make(**options: int | float | None) -> MogrifierLSTM:
    torch.manual_seed(0)
    core = MogrifierLSTM(3, 5, **options).double()
    for parameter in core.parameters():
        nn.init.normal_(parameter, 0.1, 0.7)
    return core


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("rounds", range(7))
def test_is_the_paper_with_its_gradients(rounds, rank):
    core = make(rounds=rounds, rank=rank)
    results = []
    for run in (
        equations,
        lambda core, x, *state: (lambda out: (out[0], *out[1]))(core(x, LSTMState(*state))),
    ):
        torch.manual_seed(1)
        given = [
            torch.randn(*shape, dtype=torch.float64).requires_grad_()
            for shape in ((4, 7, 3), (4, 5), (4, 5))
        ]
        core.zero_grad()
        found = run(core, *given)
        sum(
            (leaf * torch.arange(leaf.numel()).view_as(leaf).cos()).sum() for leaf in found
        ).backward()
        results.append([*found, *(tensor.grad for tensor in (*given, *core.parameters()))])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("options", [{"rounds": 0}, {"rounds": 1}, {"rounds": 2}, {"rank": 2}])
def test_options_follow_the_definition(options, same):
    core = make(**options)
    x, lengths, reset = (
        torch.randn(4, 6, 3, dtype=torch.float64),
        torch.tensor([6, 0, 4, 2]),
        torch.rand(4, 6) < 0.3,
    )
    same(core(x, lengths=lengths, reset=reset), reference(core, x, lengths=lengths, reset=reset))
    expected = core.float()(x.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, state = core(x.float())
    same((output, state), expected, 0.1)
    output.sum().backward()


def test_without_rounds_it_is_the_lstm(same):
    core = make(rounds=0)
    plain = LSTM(3, 5).double()
    plain.load_state_dict(
        {
            "weight_ih": core.weight_ih,
            "weight_hh": core.weight_hh,
            "bias_ih": core.bias,
            "bias_hh": core.bias * 0,
        }
    )
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    same(core(x), plain(x))


def test_long_sequences_with_large_gates_stay_finite():
    core = make().float()
    with torch.no_grad():
        core.bias.mul_(200)
    x = (torch.randn(2, 500, 3) * 100).requires_grad_()
    output, state = core(x)
    (output.sum() + sum(leaf.sum() for leaf in state)).backward()
    for tensor in (output, *state, x.grad, *(parameter.grad for parameter in core.parameters())):
        assert tensor.isfinite().all()


def test_recurrent_dropout_gradients_are_right():
    core = make(recurrent_dropout=0.4).train()
    x = torch.randn(3, 4, 3, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(3)
        output, state = core(x, reset=torch.eye(3, 4, dtype=torch.bool))
        return output, *state

    assert torch.autograd.gradcheck(run, (x, *core.parameters()), fast_mode=True)


def test_options_are_checked():
    with pytest.raises(ValueError, match="rounds is -1; it is at least 0"):
        MogrifierLSTM(3, 4, rounds=-1)
    with pytest.raises(ValueError, match="rank is 0; it is at least 1"):
        MogrifierLSTM(3, 4, rank=0)
