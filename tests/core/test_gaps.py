"""Time gaps, in every core that takes them and in every composition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from core_inputs import B, T, inputs, lengths_of, reset_of
from torch import Tensor
from unrolled.core import (
    GRU,
    LSTM,
    Bidirectional,
    CfC,
    RecurrentCore,
    Stacked,
    WeightDrop,
    Zoneout,
    discover_cores,
    reference,
)
from unrolled.core.state import leaves, select_rows

INPUT = 3
TAKING = {name: cls for name, cls in discover_cores().items() if cls.takes_gaps}
CAUSAL: dict[str, Callable[[], RecurrentCore]] = {
    **{name: (lambda cls=cls: cls(INPUT, 4)) for name, cls in TAKING.items()},
    "CfC-deep": lambda: CfC(INPUT, 4, backbone_size=5, backbone_layers=3),
    "Stacked": lambda: Stacked(INPUT, lambda size: CfC(size, 4), num_layers=2, norm=True),
    "Stacked-mixed": lambda: Stacked(
        INPUT, lambda size: GRU(size, 5) if size == INPUT else CfC(size, 5), num_layers=2
    ),
    "WeightDrop": lambda: WeightDrop(INPUT, lambda size: CfC(size, 4)),
    "Zoneout": lambda: Zoneout(INPUT, lambda size: CfC(size, 4), p=0.1),
}


def make(maker: Callable[[], RecurrentCore]) -> RecurrentCore:
    torch.manual_seed(1)
    return maker().double().eval()


@pytest.fixture(params=list(CAUSAL))
def timed(request: pytest.FixtureRequest) -> RecurrentCore:
    return make(CAUSAL[request.param])


def gaps_of(batch: int = B, time: int = T) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.rand(batch, time, generator=generator, dtype=torch.float64) * 3


@pytest.mark.parametrize("masked", [False, True])
def test_forward_is_the_definition(timed, random_state, same, masked):
    x, state, gaps = inputs(timed), random_state(timed, B), gaps_of()
    masks = {"lengths": lengths_of("ragged"), "reset": reset_of("some")} if masked else {}
    found = timed(x, state, gaps=gaps, **masks)
    same(found, reference(timed, x, state, gaps=gaps, **masks))
    assert not torch.equal(found[0], timed(x, state, **masks)[0])


def test_they_are_one_where_not_given(timed, same):
    x = inputs(timed)
    same(timed(x, gaps=torch.ones(B, T)), timed(x))
    same(timed(x, gaps=torch.ones(B, T, dtype=torch.int64)), timed(x))
    state = timed.initial_state(B)
    same(timed.step(x[:, 0], state, gaps=torch.ones(B)), timed.step(x[:, 0], state))


def test_the_stepper_and_hooks_take_them(timed, same):
    x, gaps = inputs(timed), gaps_of()
    state = timed.initial_state(B)
    with torch.no_grad():
        expected = timed.step(x[:, 0], state, gaps=gaps[:, 0])
        stepper = timed.stepper()
        for _ in range(2):
            same(stepper(x[:, 0], state, gaps=gaps[:, 0]), expected)
        timed.register_forward_hook(lambda module, given, result: None)
        same(timed.step(x[:, 0], state, gaps=gaps[:, 0]), expected)


def test_padding_and_batch_mates_do_not_matter(timed, same):
    x, gaps, lengths = inputs(timed), gaps_of(), lengths_of("ragged")
    gaps[torch.arange(T) >= lengths.unsqueeze(1)] = float("nan")
    output, last = timed(x, gaps=gaps, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        piece = timed(x[row : row + 1, :length], gaps=gaps[row : row + 1, :length])
        same((output[row : row + 1, :length], select_rows(last, slice(row, row + 1))), piece)


def test_gradients_by_them_are_right(timed):
    x, gaps = inputs(timed)[:2, :4], gaps_of(2, 4).requires_grad_()

    def run(gaps: Tensor) -> tuple[Tensor, ...]:
        output, last = timed(x, gaps=gaps, lengths=torch.tensor([3, 4]))
        return (output, *leaves(last))

    assert torch.autograd.gradcheck(run, gaps)
    assert torch.autograd.gradgradcheck(run, gaps, fast_mode=True)
    many = torch.stack((gaps, gaps * 2)).detach()
    found = torch.func.vmap(lambda gaps: timed(x, gaps=gaps)[0])(many)
    torch.testing.assert_close(found[1], timed(x, gaps=many[1])[0])


@pytest.mark.parametrize("masked", [False, True])
def test_read_backward_the_time_to_a_step_is_the_gap_after_it(same, masked):
    core = make(lambda: Bidirectional(INPUT, lambda size: CfC(size, 4)))
    x, gaps = inputs(core), gaps_of()
    lengths, reset = lengths_of("ragged"), reset_of("some")
    masks = {"lengths": lengths, "reset": reset} if masked else {}
    output, (_, back) = core(x, gaps=gaps, **masks)
    for row, length in enumerate((lengths if masked else torch.full((B,), T)).tolist()):
        state, fresh = core.back.initial_state(1), True
        for t in range(length - 1, -1, -1):
            gap = torch.ones(1) if fresh else gaps[row : row + 1, t + 1]
            y, state = core.back.step(x[row : row + 1, t], state, gaps=gap)
            torch.testing.assert_close(output[row, t, 4:], y[0])
            if fresh := bool(masked and reset[row, t] and t):
                state = core.back.initial_state(1)
        same(select_rows(back, slice(row, row + 1)), state)


def test_others_refuse_them(core):
    x = inputs(core)
    if core.takes_gaps:
        core(x, gaps=gaps_of())
        return
    with pytest.raises(ValueError, match=f"{type(core).__name__} takes no gaps: .* features of x"):
        core(x, gaps=gaps_of())
    if core.causal:
        with pytest.raises(ValueError, match="takes no gaps"):
            core.step(x[:, 0], core.initial_state(B), gaps=gaps_of()[:, 0])


@pytest.mark.parametrize(
    ("gaps", "message"),
    [
        ([1.0], "gaps is a list; .*torch.as_tensor makes one"),
        (torch.ones(B, T, 1), r"gaps is float32 \(5, 7, 1\); it must be a tensor of numbers"),
        (torch.ones(B), r"gaps is float32 \(5,\); .* \(5, 7\), of every step the time"),
        (torch.ones(B, T, dtype=torch.bool), r"gaps is bool \(5, 7\)"),
        (torch.ones(B, T, device="meta"), "gaps are on meta and x is on cpu; move one"),
    ],
)
def test_wrong_gaps_are_refused(gaps, message):
    for core in (make(CAUSAL["CfC"]), make(CAUSAL["Stacked"])):
        with pytest.raises(ValueError, match=message):
            core(inputs(core), gaps=gaps)


def test_an_own_core_takes_them():
    """As docs/extend.md has it: the attribute, and a keyword of `step`."""

    class Decay(LSTM):
        takes_gaps = True

        def step(self, x: Tensor, state: object, *, gaps: Tensor | None = None) -> object:
            gap = torch.ones(len(x), 1) if gaps is None else gaps.unsqueeze(1)
            return super().step(x, state._replace(hidden=state.hidden * torch.exp(-gap)))

        _sequence = RecurrentCore._sequence

    core = Decay(3, 4).double()
    core._slack = 0
    x, gaps = inputs(core), gaps_of()
    masks = {"lengths": lengths_of("ragged"), "reset": reset_of("some")}
    found, expected = core(x, gaps=gaps, **masks), reference(core, x, gaps=gaps, **masks)
    torch.testing.assert_close(found, expected)
