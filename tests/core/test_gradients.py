"""Gradients of every core: by everything, in both precisions, and to everything."""

from __future__ import annotations

import pytest
import torch
from core_inputs import B, inputs, lengths_of, reset_of
from torch import Tensor
from unrolled.core.state import leaves, map_state


@pytest.mark.parametrize("masks", [("none", "none"), ("ragged", "some")])
def test_gradients_are_right(core, random_state, masks):
    lengths, reset = lengths_of(masks[0]), reset_of(masks[1])
    lengths, reset = (None if mask is None else mask[:3] for mask in (lengths, reset))
    lengths = None if lengths is None else lengths.clamp(max=4)
    reset = None if reset is None else reset[:, :4]
    state = random_state(core, 3)
    x = inputs(core)[:3, :4].clone().requires_grad_()
    flat = [leaf.requires_grad_() for leaf in leaves(map_state(torch.clone, state))]
    parameters = [parameter for parameter in core.parameters() if parameter.requires_grad]

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        given = iter(rest)
        output, last = core(
            x, map_state(lambda leaf: next(given), state), lengths=lengths, reset=reset
        )
        return (output, *leaves(last))

    assert torch.autograd.gradcheck(run, (x, *flat, *parameters), fast_mode=True)


def test_float32_gradients_are_those_of_float64(core, random_state):
    """The fused kernels for float32 are others than those that gradcheck sees."""
    lengths, reset = lengths_of("ragged"), reset_of("some")
    state, x = random_state(core, B), inputs(core)
    found = {}
    for dtype in (torch.float64, torch.float32):
        core.to(dtype).zero_grad()
        given = map_state(
            lambda leaf, dtype=dtype: leaf.detach().to(dtype, copy=True).requires_grad_(), state
        )
        values = x.to(dtype, copy=True).requires_grad_()
        output, last = core(values, given, lengths=lengths, reset=reset)
        sum((leaf * leaf).sum() for leaf in leaves((output, last))).backward()
        tensors = [values, *leaves(given), *core.parameters()]
        found[dtype] = [
            tensor.grad.double().clone() for tensor in tensors if tensor.grad is not None
        ]
    for single, double in zip(found[torch.float32], found[torch.float64], strict=True):
        torch.testing.assert_close(single, double, atol=1e-5, rtol=1e-4)


def test_gradients_reach_everything(core, random_state):
    state = map_state(
        lambda leaf: leaf.clone().requires_grad_(leaf.is_floating_point()), random_state(core, B)
    )
    core.train()
    output, _ = core(inputs(core), state, lengths=torch.tensor([7, 7, 5, 6, 7]))
    output.square().sum().backward()
    for name, parameter in core.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    for leaf in leaves(state):
        assert leaf.grad is not None
        assert (leaf.grad.flatten(1).abs().sum(1) > 0).all()


def test_what_is_overwritten_before_the_backward_pass_is_noticed(causal, random_state):
    """A core that reads it again raises, also one that computes in chunks; others need it not."""
    state, x, parameters = random_state(causal, B), inputs(causal), list(causal.parameters())

    def gradients(overwritten: str) -> list[Tensor]:
        given = x.clone().requires_grad_()
        before = map_state(
            lambda leaf: leaf.clone().requires_grad_(not leaf.dtype.is_complex), state
        )
        values, start = given * 1, map_state(lambda leaf: leaf * 1, before)
        output = causal(values, start, lengths=lengths_of("ragged"))[0]
        places = {"": [], "input": [values], "state": leaves(start), "weights": parameters}
        with torch.no_grad():
            for tensor in places[overwritten]:
                tensor.fill_(0.5)
        ends = [given, *leaves(before), *parameters]
        return list(torch.autograd.grad(output.square().sum(), ends, allow_unused=True))

    wanted = gradients("")
    for overwritten in ("input", "state", "weights"):  # the weights last: they stay so
        try:
            found, said = gradients(overwritten), ""
        except RuntimeError as error:
            found, said = wanted, str(error)
        assert not said or "inplace" in said
        torch.testing.assert_close(found, wanted)
