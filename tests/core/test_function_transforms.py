"""The transforms of torch.func over `forward`: grad, vmap, jacrev, jvp, and those of each other."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, jacrev, jvp, vmap
from unrolled.core import (
    SLSTM,
    AdditiveAttention,
    Memory,
    MinGRU,
    MogrifierLSTM,
    RecurrentCore,
    SequenceDecoder,
    reference,
)
from unrolled.core.families.elementwise import ElementwiseCore
from unrolled.core.kernels.scan import linear_recurrence, linear_recurrence_reference
from unrolled.core.seq2seq.losses import chunked_cross_entropy
from unrolled.core.state import leaves, map_state

pytestmark = [
    # torch's own forward mode still uses what it deprecates.
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning"),
    # The maxima of the mLSTM are differentiated one by one.
    pytest.mark.filterwarnings(
        "ignore:There is a performance drop because we have not yet implemented:UserWarning"
    ),
]

B, T = 2, 3
ByHand = (ElementwiseCore, MogrifierLSTM, SLSTM)
RANDOM = {
    "lengths": torch.tensor([3, 1]),
    "reset": torch.tensor([[0, 1, 0], [1, 0, 0]], dtype=torch.bool),
}


def inputs(core: RecurrentCore, *more: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(
        *more, B, T, core.input_size, dtype=dtype, generator=torch.Generator().manual_seed(2)
    )


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_vmap_is_a_loop(core, dtype, tolerance, random_state):
    core.to(dtype)
    x = inputs(core, 3, dtype=dtype)
    states = [random_state(core, B, dtype) for _ in x]
    output, state = vmap(core)(x, map_state(lambda *given: torch.stack(given), *states))
    for i, one in enumerate(x):
        expected, last = core(one, states[i])
        close(output[i], expected, tolerance)
        for leaf, other in zip(leaves(state), leaves(last), strict=True):
            close(leaf[i], other, tolerance)


@pytest.mark.parametrize("masks", [{}, RANDOM], ids=["whole", "masked"])
def test_grad_is_autograd(core, masks):
    parameters = dict(core.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(core, parameters, (x,), masks)[0].square().sum()

    x = inputs(core)
    found = grad(loss, argnums=(0, 1))(
        {name: value.detach() for name, value in parameters.items()}, x
    )
    x.requires_grad_()
    expected = torch.autograd.grad(loss(parameters, x), [*parameters.values(), x])
    for one, other in zip([*found[0].values(), found[1]], expected, strict=True):
        close(one, other)


def test_gradients_of_each_sample(core):
    """What differential privacy and influence functions take."""
    parameters = {name: value.detach() for name, value in core.named_parameters()}

    def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(core, parameters, (row.unsqueeze(0),))[0].square().sum()

    x = inputs(core)
    found = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for i, row in enumerate(x):
        total = core(row.unsqueeze(0))[0].square().sum()
        for one, other in zip(
            found.values(), torch.autograd.grad(total, list(core.parameters())), strict=True
        ):
            close(one[i], other)


def test_models_side_by_side(core):
    """`vmap` over parameters: an ensemble."""
    parameters = {
        name: torch.stack((value, value * 0.5)).detach() for name, value in core.named_parameters()
    }
    x = inputs(core)
    found = vmap(lambda given: functional_call(core, given, (x,))[0])(parameters)
    close(found[0], core(x)[0])
    close(
        found[1],
        functional_call(core, {name: value[1] for name, value in parameters.items()}, (x,))[0],
    )


def test_jacobian_is_that_of_the_definition(causal):
    x = inputs(causal)[:1, :2]
    expected = torch.autograd.functional.jacobian(lambda x: reference(causal, x)[0], x)
    close(jacrev(lambda x: causal(x)[0])(x), expected)
    _, along = jvp(lambda x: causal(x)[0], (x,), (torch.ones_like(x),))
    close(along, expected.flatten(3).sum(3))


def test_hessian_is_that_of_the_definition(causal):
    x = inputs(causal)[:1, :2]
    expected = torch.autograd.functional.hessian(lambda x: reference(causal, x)[0].sum(), x)
    close(hessian(lambda x: causal(x)[0].sum())(x), expected)
    close(jacrev(grad(lambda x: causal(x)[0].sum()))(x), expected)


def test_forward_mode_without_a_transform_is_right_or_raises(causal):
    x = inputs(causal)
    _, expected = jvp(lambda x: causal(x)[0], (x,), (torch.ones_like(x),))
    by_hand = any(isinstance(module, ByHand) for module in causal.modules())
    raises = pytest.raises((RuntimeError, NotImplementedError), match=r"forward AD|jvp")
    with torch.autograd.forward_ad.dual_level(), raises if by_hand else contextlib.nullcontext():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        close(torch.autograd.forward_ad.unpack_dual(causal(dual)[0]).tangent, expected)


def test_dropout_draws_as_vmap_says(core):
    core.train()
    x = inputs(core)
    many = x.expand(4, *x.shape)
    output = vmap(lambda x: core(x)[0], randomness="same")(many)
    for one in output[1:]:
        close(one, output[0])
    assert vmap(lambda x: core(x)[0], randomness="different")(many).shape == output.shape


def test_chunks_of_steps():
    """`chunk` saves memory by checkpoints, which no transform passes; it changes no number."""
    core = MinGRU(3, 4, chunk=2).double()
    x = inputs(core)
    found = vmap(grad(lambda x: core(x)[0].sum()))(x.unsqueeze(1))
    x.requires_grad_()
    close(found.squeeze(1), torch.autograd.grad(core(x)[0].sum(), x)[0])


def test_linear_recurrence():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 3, 5, 2, 2, generator=generator, dtype=torch.float64)
    initial = torch.rand(3, 2, 2, generator=generator, dtype=torch.float64)
    reset = torch.rand(3, 5, 2, generator=generator) < 0.3
    found = vmap(linear_recurrence)(a, b, initial, reset)
    expected = [
        linear_recurrence_reference(*given) for given in zip(a, b, initial, reset, strict=True)
    ]
    close(found, torch.stack(expected))
    close(
        jacrev(lambda a: linear_recurrence(a, b[0], initial[0], reset[0]))(a[0]),
        torch.autograd.functional.jacobian(
            lambda a: linear_recurrence_reference(a, b[0], initial[0], reset[0]), a[0]
        ),
    )


def test_chunked_loss():
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(3, B, T, 4, generator=generator)
    weight, target = (
        torch.randn(5, 4, generator=generator),
        torch.randint(0, 5, (B, T), generator=generator),
    )
    found = vmap(grad(chunked_cross_entropy), in_dims=(0, None, None, None))(
        output, weight, None, target
    )
    for one, given in zip(found, output.requires_grad_(), strict=True):
        close(
            one,
            torch.autograd.grad(chunked_cross_entropy(given, weight, None, target), given)[0],
            1e-5,
        )


def test_decoder():
    torch.manual_seed(0)
    decoder = SequenceDecoder(
        torch.nn.Embedding(5, 3),
        lambda size: MinGRU(size, 4),
        memory_size=4,
        attention=AdditiveAttention,
    ).double()
    output = torch.randn(3, 2, 3, 4, dtype=torch.float64)
    tokens = torch.tensor([[1, 2, 3], [3, 0, 4]])

    def run(output: Tensor) -> Tensor:
        memory = Memory(output, torch.tensor([3, 1]))
        return decoder(tokens, decoder.prepare(memory), decoder.initial_state(memory)).output.sum()

    found = vmap(grad(run))(output)
    output.requires_grad_()
    close(found, torch.autograd.grad(sum(run(one) for one in output), output)[0])
