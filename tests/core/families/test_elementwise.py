"""What the cores without hidden-to-hidden matrices share: chunks, native resets."""

from __future__ import annotations

import inspect

import pytest
import torch
from unrolled.core import discover_cores
from unrolled.core.families.elementwise import ElementwiseCore
from unrolled.core.state import leaves, map_state

CORES = [cls for cls in discover_cores().values() if issubclass(cls, ElementwiseCore)]
B, T = 3, 23


def results(
    core: ElementwiseCore, masked: bool, dtype: torch.dtype = torch.float64
) -> list[torch.Tensor]:
    torch.manual_seed(1)
    x = torch.randn(B, T, core.input_size, dtype=dtype, requires_grad=True)
    lengths = torch.tensor([23, 11, 0]) if masked else None
    reset = torch.rand(B, T) < 0.2 if masked else None
    with torch.no_grad():
        state = core(torch.randn(B, 2, core.input_size, dtype=dtype))[1]
    state = map_state(lambda leaf: leaf.requires_grad_(), state)
    core.zero_grad()
    output, last = core(x, state, lengths=lengths, reset=reset)
    sum(leaf.square().sum() for leaf in leaves((output, last))).backward()
    return [
        output,
        *leaves(last),
        x.grad,
        *[leaf.grad for leaf in leaves(state)],
        *[p.grad for p in core.parameters()],
    ]


@pytest.mark.parametrize("cls", CORES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("chunk", [1, 5, 23, 100])
def test_chunks_change_nothing(cls, masked, chunk):
    torch.manual_seed(0)
    whole = cls(4, 6).double()
    cut = cls(4, 6, chunk=chunk).double()
    cut.load_state_dict(whole.state_dict())
    for one, other in zip(results(cut, masked), results(whole, masked), strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("cls", CORES)
def test_a_chunk_saves_memory(cls):
    kept = {}
    for chunk in (None, 8):
        core, total = cls(4, 64, chunk=chunk), 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            core(torch.randn(2, 512, 4))
        kept[chunk] = total
    assert kept[8] < kept[None] / 4


@pytest.mark.parametrize("cls", CORES)
def test_a_state_does_not_keep_the_sequence_alive(cls):
    _, state = cls(4, 6)(torch.randn(2, 50, 4))
    assert all(
        leaf.untyped_storage().nbytes() == leaf.numel() * leaf.element_size()
        for leaf in leaves(state)
    )


@pytest.mark.parametrize("cls", CORES)
def test_wrong_chunks_are_refused(cls):
    with pytest.raises(
        ValueError, match=f"{cls.__name__}: chunk is 0; it is at least 1 step, or None"
    ):
        cls(3, 4, chunk=0)


@pytest.mark.parametrize("cls", CORES)
def test_what_runs_again_for_a_gradient_asks_no_super(cls):
    """With `chunk` its `self` holds the weights of then and is no instance of the class."""
    for name in ("_run", "_factors", "_gates", "_parts", "_law", "_weights", "_diagonals"):
        for owner in cls.__mro__:
            if name in vars(owner):
                assert "super()" not in inspect.getsource(vars(owner)[name]), f"{owner}.{name}"
