"""Gradients of gradients: what a gradient penalty, an influence or a meta-gradient is made of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from unrolled.core import (
    MLSTM,
    QRNN,
    AdditiveAttention,
    DotAttention,
    GatedAttention,
    GeneralAttention,
    IndRNN,
    LayerNormLSTM,
    LockedDropout,
    Memory,
    MinGRU,
    MinLSTM,
    MogrifierLSTM,
    RecurrentCore,
    SequenceDecoder,
    WeightDrop,
    Zoneout,
    reference,
)
from unrolled.core.kernels.scan import linear_recurrence, linear_recurrence_reference
from unrolled.core.schedule import rearrange
from unrolled.core.seq2seq.losses import (
    IGNORED,
    chunked_cross_entropy,
    sequence_cross_entropy,
    truncated_smoothness,
)
from unrolled.core.state import leaves, map_state

B, T, INPUT = 3, 4, 3
MORE: dict[str, Callable[[], RecurrentCore]] = {
    "IndRNN-chunk": lambda: IndRNN(INPUT, 4, chunk=2),
    "MinGRU-chunk": lambda: MinGRU(INPUT, 4, chunk=3),
    "MinGRU-linear": lambda: MinGRU(INPUT, 4, candidate="linear", bias=False),
    "MinLSTM-linear": lambda: MinLSTM(INPUT, 4, candidate="linear"),
    "QRNN-kernel": lambda: QRNN(INPUT, 4, kernel=1),
    "MLSTM-heads": lambda: MLSTM(INPUT, 4, num_heads=1, chunk_size=2),
    "MogrifierLSTM-two": lambda: MogrifierLSTM(INPUT, 4, rounds=2),
    "MogrifierLSTM-none": lambda: MogrifierLSTM(INPUT, 4, rounds=0),
}
DROPPED: dict[str, Callable[[], RecurrentCore]] = {
    "LayerNormLSTM": lambda: LayerNormLSTM(INPUT, 4, recurrent_dropout=0.4),
    "MogrifierLSTM": lambda: MogrifierLSTM(INPUT, 4, rank=2, recurrent_dropout=0.4),
}
MASKS = {
    "whole": {},
    "masked": {
        "lengths": torch.tensor([4, 0, 3]),
        "reset": torch.tensor([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1]], dtype=torch.bool),
    },
}


def inputs(core: RecurrentCore, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(
        B, T, core.input_size, dtype=dtype, generator=torch.Generator().manual_seed(2)
    )


def check(core: RecurrentCore, state: object, masks: dict[str, Tensor]) -> None:
    """By x, the state and the parameters, all in one vector: one check, which is the fastest."""
    names, parameters = zip(*core.named_parameters(), strict=True)
    tensors = [inputs(core), *leaves(state), *parameters]

    def run(everything: Tensor) -> Tensor:
        torch.manual_seed(4)  # dropout, if any
        parts = everything.split([tensor.numel() for tensor in tensors])
        x, *rest = (part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True))
        start = map_state(lambda _: rest.pop(0), state)
        replaced = dict(zip(names, rest, strict=True))
        output, last = torch.func.functional_call(core, replaced, (x, start), masks)
        return torch.cat([leaf.flatten() for leaf in (output, *leaves(last))])

    everything = torch.cat([tensor.detach().flatten() for tensor in tensors]).requires_grad_()
    assert torch.autograd.gradgradcheck(run, everything, fast_mode=True, atol=1e-5)


@pytest.mark.parametrize("masks", MASKS)
def test_gradients_of_gradients_are_right(core, masks, random_state):
    check(core, random_state(core, B), MASKS[masks])


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("name", MORE)
def test_they_are_right_with_options(name, masks, random_state):
    torch.manual_seed(1)
    core = MORE[name]().double()
    check(core, random_state(core, B), MASKS[masks])


def test_they_are_right_in_training(core, random_state):
    if not any(
        isinstance(module, LockedDropout | WeightDrop | Zoneout) for module in core.modules()
    ):
        pytest.skip("nothing is random in training")
    state = random_state(core, B)
    check(core.train(), state, MASKS["masked"])


@pytest.mark.parametrize("name", DROPPED)
def test_recurrent_dropout_keeps_its_mask(name, random_state):
    torch.manual_seed(1)
    core = DROPPED[name]().double()
    check(core, random_state(core, B), MASKS["masked"])


@pytest.mark.parametrize("graph", [False, True])
def test_chunks_keep_the_weights_of_the_forward_pass(graph):
    """What `chunk` computes again meets the same dropped weights."""
    found = []
    for chunk in (None, 2):
        torch.manual_seed(1)
        core = (
            WeightDrop(INPUT, lambda size, chunk=chunk: IndRNN(size, 4, chunk=chunk))
            .double()
            .train()
        )
        total = core(inputs(core))[0].square().sum()
        found.append(torch.autograd.grad(total, list(core.parameters()), create_graph=graph))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def penalty(run: Callable[[Tensor], Tensor], x: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    """The gradient of a gradient penalty of a sum: the incoming gradient needs none."""
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(run(x).sum(), x, create_graph=True)
    return [first, *torch.autograd.grad(first.square().sum(), [x, *parameters], allow_unused=True)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("masks", MASKS)
def test_a_gradient_penalty_is_that_of_the_definition(causal, dtype, tolerance, masks):
    """In float32 too: its kernels are others than those that gradgradcheck sees."""
    causal.to(dtype)
    x, parameters = inputs(causal, dtype), list(causal.parameters())
    found = penalty(lambda x: causal(x, **MASKS[masks])[0], x, parameters)
    expected = penalty(lambda x: reference(causal, x, **MASKS[masks])[0], x, parameters)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


def test_a_graph_changes_no_first_gradient(core):
    """Under autocast too: the formula runs in the precision of the forward pass."""
    core.float()
    x = inputs(core, torch.float32)
    for enabled, tolerance in ((False, 1e-5), (True, 0.02)):
        found = []
        for graph in (False, True):
            given = x.clone().requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                output = core(given)[0]
            total = output.float().square().sum()
            found.append(
                torch.autograd.grad(total, [given, *core.parameters()], create_graph=graph)
            )
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


def test_a_third_derivative(causal):
    x = inputs(causal)[:2, :3].clone().requires_grad_()

    def third(run: Callable[[Tensor], Tensor]) -> Tensor:
        total = run(x).sum()
        for _ in range(2):
            (gradient,) = torch.autograd.grad(total, x, create_graph=True)
            total = gradient.square().sum()
        return torch.autograd.grad(total, x)[0]

    # squared: a core that is linear has no second derivative
    torch.testing.assert_close(
        third(lambda x: causal(x)[0].square()), third(lambda x: reference(causal, x)[0].square())
    )


def test_only_some_arguments_need_gradients(core):
    x = inputs(core)
    output = core(x)[0]  # no gradient of x
    parameters = list(core.parameters())
    first = torch.autograd.grad(output.sum(), parameters, create_graph=True)
    assert any(gradient.requires_grad for gradient in first)
    for parameter in parameters:
        parameter.requires_grad_(False)
    penalty(lambda x: core(x)[0].square(), x, [])


@pytest.mark.parametrize("shape", [(1, 2, 2), (5, 2), (70, 1, 2)], ids=str)
def test_linear_recurrence(shape):
    generator = torch.Generator().manual_seed(0)
    a, b, initial = (
        torch.rand(s, generator=generator, dtype=torch.float64) for s in (shape, shape, shape[1:])
    )
    for leaf in (a, b, initial):
        leaf.requires_grad_()
    reset = torch.rand(shape[:2], generator=generator) < 0.3
    for given in ((a, b), (a, b, initial), (a, b, initial, reset)):
        assert torch.autograd.gradgradcheck(linear_recurrence, given, fast_mode=True)
        wanted = [leaf for leaf in given if leaf.requires_grad]
        found = []
        for run in (linear_recurrence, linear_recurrence_reference):
            first = torch.autograd.grad(run(*given).sum(), wanted, create_graph=True)
            total = sum(gradient.square().sum() for gradient in first)
            if total.requires_grad:  # one step without anything before it is linear
                found.append(
                    torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
                )
        for one, other in zip(*(found if len(found) == 2 else ((), ())), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("lengths", [None, torch.tensor([4, 0, 2])])
@pytest.mark.parametrize("bias", [True, False])
def test_losses(smoothing, lengths, bias):
    generator = torch.Generator().manual_seed(0)
    output, weight, offset = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((B, T, 4), (5, 4), (5,))
    )
    target = torch.randint(0, 5, (B, T), generator=generator)
    target[0, 0] = IGNORED

    def chunked(output: Tensor, weight: Tensor, *offset: Tensor) -> Tensor:
        one = offset[0] if offset else None
        return chunked_cross_entropy(
            output, weight, one, target, lengths, label_smoothing=smoothing
        )

    given = (output, weight, offset) if bias else (output, weight)
    assert torch.autograd.gradgradcheck(chunked, given)
    logits = output @ weight.t()
    expected = sequence_cross_entropy(logits, target, lengths)
    if not smoothing and not bias:
        for one, other in zip(
            penalty_of(chunked(*given), given), penalty_of(expected, given), strict=True
        ):
            torch.testing.assert_close(one, other)
    assert torch.autograd.gradgradcheck(
        lambda logits: sequence_cross_entropy(logits, target, lengths),
        logits.detach().requires_grad_(),
    )


def penalty_of(loss: Tensor, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    first = torch.autograd.grad(loss, given, create_graph=True)
    return torch.autograd.grad(sum(gradient.square().sum() for gradient in first), given)


def test_smoothness():
    # It stops the gradient of the step before, so that finite differences tell nothing: the formula
    # does.
    logits = torch.randn(
        B, T, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    lengths = torch.tensor([4, 1, 3])
    logs = logits.log_softmax(-1)
    jumps = (logs[:, 1:] - logs[:, :-1].detach()).square()
    expected = (
        sum(jumps[row, : length - 1].sum() for row, length in enumerate(lengths.tolist())) / 5
    )
    found = truncated_smoothness(logits, lengths, threshold=100.0)
    for one, other in zip(
        penalty_of(found, (logits,)), penalty_of(expected, (logits,)), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_rearranging():
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([2, 0, 1])
    assert torch.autograd.gradgradcheck(lambda x: rearrange(x * x, index, index.argsort()), x)


@pytest.mark.parametrize(
    "kind", [AdditiveAttention, DotAttention, GeneralAttention, GatedAttention]
)
@pytest.mark.parametrize("feeding", [True, False])
def test_attention_and_decoder(kind, feeding):
    torch.manual_seed(0)
    decoder = SequenceDecoder(
        torch.nn.Embedding(5, 3),
        lambda size: MinGRU(size, 4),
        memory_size=4,
        attention=kind,
        input_feeding=feeding,
    ).double()
    memory = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    tokens, lengths = torch.tensor([[1, 2, 3], [3, 0, 4]]), torch.tensor([3, 1])

    def run(output: Tensor) -> Tensor:
        found = Memory(output, lengths)
        return decoder(tokens, decoder.prepare(found), decoder.initial_state(found)).output

    assert torch.autograd.gradgradcheck(run, memory, fast_mode=True)
