"""Cores as a user writes them: the state declared, inherited or made by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from unrolled.core import RecurrentCore, reference
from unrolled.core.state import HiddenState, State, leaves

B, T = 5, 7


class Average(NamedTuple):
    """A state with a part of another shape."""

    hidden: Tensor
    count: Tensor


class Declared(RecurrentCore):
    """A core that declares its state and says nothing else of it."""

    state_type = Average

    def __init__(self, size: int) -> None:
        super().__init__(size, size)
        self.weight = nn.Parameter(torch.ones(size))

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """One count a row."""
        return super().state_shapes() | {"count": (1,)}

    def step(self, x: Tensor, state: Average) -> tuple[Tensor, Average]:
        """Add to the average."""
        count = state.count + 1
        hidden = state.hidden + (self.weight * x - state.hidden) / count
        return hidden.to(x.dtype), Average(hidden, count)


def test_a_declared_state_is_made_checked_and_reset(same):
    core = Declared(3)
    state = core.initial_state(B)
    assert type(state) is Average
    assert [leaf.shape for leaf in state] == [(B, 3), (B, 1)]
    assert core.bfloat16().initial_state(1).hidden.dtype == torch.float32
    core.double()
    x, lengths = torch.randn(B, T, 3).double(), torch.tensor([7, 3, 0, 1, 2])
    reset = torch.rand(B, T) < 0.3
    same(core(x, lengths=lengths, reset=reset), reference(core, x, lengths=lengths, reset=reset))
    same(core(x, tuple(state)), core(x))
    with pytest.raises(
        ValueError, match=r"here Average\(hidden: float \(5, 3\), count: float \(5, 1"
    ):
        core(x, (state.hidden, state.hidden))


def test_a_state_that_is_not_declared_is_the_last_output():
    class Sum(RecurrentCore):
        def step(self, x: Tensor, state: HiddenState) -> tuple[Tensor, HiddenState]:
            total = state.hidden + x
            return total.to(x.dtype), HiddenState(total)

    core = Sum(3, 3)  # without a parameter, too
    x = torch.randn(B, T, 3)
    output, state = core(x)
    assert torch.equal(output[:, -1], state.hidden)
    assert [leaf.device.type for leaf in leaves(core.initial_state(2, device="meta"))] == ["meta"]


class Counter(RecurrentCore):
    """A core as a user writes it: a count of steps beside the sum, the state a plain tuple."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size)

    def initial_state(self, batch_size: int, *, device: Any = None, dtype: Any = None) -> State:
        """Zeros."""
        count = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return torch.zeros(batch_size, self.input_size, device=device, dtype=dtype), count

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Add."""
        total, count = state
        return (total + x).to(x.dtype), (total + x, count + 1)


class Doubled(Counter):
    """A core that builds on another's step."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Add twice."""
        return super().step(2 * x, state)


class Mixin:
    """A step that comes from beside."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """Pass on."""
        return x, state


class Mixed(Mixin, Counter):
    """A core whose step is inherited from no core."""


@pytest.mark.parametrize("kind", [Counter, Doubled, Mixed])
def test_a_core_of_ones_own_is_checked_as_well(kind):
    core = kind(3)
    x = torch.randn(B, T, 3)
    output, (_, count) = core(x, lengths=torch.tensor([7, 3, 0, 1, 2]))
    if kind is not Mixed:
        torch.testing.assert_close(output[0], (2 if kind is Doubled else 1) * x[0].cumsum(0))
        assert count.tolist() == [7, 3, 0, 1, 2]
    total, count = core.initial_state(B)
    for wrong in (
        (total, count.float()),
        (total, count > 0),
        (total[:1], count),
        (total,),
        [total, count],
    ):
        for call in (lambda state: core(x, state), lambda state: core.step(x[:, 0], state)):
            with pytest.raises(ValueError, match=r"here \(float \(5, 3\), integer \(5,\)\)"):
                call(wrong)
