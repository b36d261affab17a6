"""Attention: its equations, padding, and a memory of nothing."""

from __future__ import annotations

import math

import pytest
import torch
from unrolled.core.seq2seq.attention import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GatedAttention,
    GeneralAttention,
)
from unrolled.core.seq2seq.encoder import Memory

B, T, S, Q = 3, 2, 5, 4
KINDS = [AdditiveAttention, DotAttention, GeneralAttention]


def memory(lengths=None) -> Memory:
    output = torch.randn(B, S, Q, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Memory(output, None if lengths is None else torch.tensor(lengths))


def made(kind: type[Attention]) -> Attention:
    torch.manual_seed(0)
    return kind(Q, Q).double()


def query() -> torch.Tensor:
    return torch.randn(B, T, Q, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def score(attention: Attention, q: torch.Tensor, m: torch.Tensor) -> float:
    """One score by its paper's equation."""
    if isinstance(attention, AdditiveAttention):
        inner = torch.tanh(
            attention.query.weight @ q + attention.key.weight @ m + attention.key.bias
        )
        return float(attention.energy.weight[0] @ inner)
    if isinstance(attention, GeneralAttention):
        return float(q @ attention.key.weight @ m)
    return float(q @ m)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_equations(kind):
    attention, given, queries = made(kind), memory([S, 2, 3]), query()
    context, weights = attention(queries, attention.prepare(given))
    for row, length in enumerate((S, 2, 3)):
        for t in range(T):
            powers = [
                math.exp(score(attention, queries[row, t], m)) for m in given.output[row, :length]
            ]
            expected = torch.tensor(
                [power / sum(powers) for power in powers] + [0.0] * (S - length)
            )
            torch.testing.assert_close(weights[row, t], expected.double())
            torch.testing.assert_close(context[row, t], expected.double() @ given.output[row])


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_what_lies_past_the_length_is_not_seen(kind):
    attention, queries = made(kind), query()
    given = memory([3, 2, 1])
    spoilt = Memory(given.output.clone(), given.lengths)
    for row, length in enumerate((3, 2, 1)):
        spoilt.output[row, length:] = torch.nan
    short = Memory(given.output[:, :3], given.lengths)
    context, weights = attention(queries, attention.prepare(given))
    for other in (spoilt, short):
        again, seen = attention(queries, attention.prepare(other))
        torch.testing.assert_close(again, context, rtol=0, atol=1e-12)
        torch.testing.assert_close(seen[:, :, :3], weights[:, :, :3], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_memory_gives_zeros_and_finite_gradients(kind):
    attention, queries = made(kind), query().requires_grad_()
    given = memory([0, 2, 0])
    context, weights = attention(queries, attention.prepare(given))
    assert context[0].abs().sum() == 0
    assert weights.isfinite().all()
    context.sum().backward()
    assert queries.grad.isfinite().all()


@torch.no_grad()
def test_an_empty_memory_gives_zeros_in_half_precision():
    attention, given = made(AdditiveAttention), memory([0, 2, 0])
    # scores that would make minus infinity of the least number
    attention.energy.weight.fill_(-40.0)
    attention.key.bias.fill_(5.0)
    given = Memory(given.output.half(), given.lengths)
    context, weights = attention.half()(query().half(), attention.prepare(given))
    assert context[0].abs().sum() == 0
    assert weights.isfinite().all()
    assert weights[1, :, 2:].abs().sum() == 0


@torch.no_grad()
def test_the_gate_weighs_another_attentions_context():
    torch.manual_seed(0)
    gated = GatedAttention(
        Q, Q, attention=lambda query, memory: GeneralAttention(query, memory)
    ).double()
    given, queries = memory([S, 0, 3]), query()
    inner, expected = gated.attention(queries, gated.attention.prepare(given))
    context, weights = gated(queries, gated.prepare(given))
    assert torch.equal(weights, expected)
    for row in range(B):
        for t in range(T):
            beta = 1 / (
                1 + math.exp(-float(gated.gate.weight[0] @ queries[row, t] + gated.gate.bias))
            )
            torch.testing.assert_close(context[row, t], beta * inner[row, t])


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="query has 4 features and the memory 6"):
        DotAttention(4, 6)
    with pytest.raises(ValueError, match="memory_size is 0"):
        GeneralAttention(4, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 9.0, 400.0])
@torch.no_grad()
def test_a_searcher_attends_as_forward_does(dtype, scale):
    # 9: queries far beyond what hides a key; 400: keys too
    for kind in (*KINDS, GatedAttention):
        attention = made(kind).to(dtype)
        inner = getattr(attention, "attention", attention)
        if isinstance(inner, AdditiveAttention):
            inner.query.weight *= scale * scale
            inner.key.weight *= scale / 2
        given = memory([S, 2, 0])
        prepared = attention.prepare(Memory(given.output.to(dtype), given.lengths))
        queries = query().to(dtype)
        attend, ready = attention.searcher(prepared)
        found, expected = attend(queries, ready), attention(queries, prepared)
        torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_a_searcher_keeps_what_a_subclass_or_a_hook_does():
    class Doubled(AdditiveAttention):
        def scores(self, query, keys):
            return 2 * super().scores(query, keys)

    attention, queries = made(Doubled), query()
    prepared = attention.prepare(memory([S, 2, 3]))
    attend, ready = attention.searcher(prepared)
    torch.testing.assert_close(attend(queries, ready), attention(queries, prepared))
    for kind in (AdditiveAttention, GatedAttention):
        attention, calls = made(kind), []
        attention.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        attend, ready = attention.searcher(attention.prepare(memory([S, 2, 3])))
        attend(queries, ready)
        assert calls
