"""Encoder and decoder: step by step is the whole target, batch mates change nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from unrolled.core import GRU, LSTM, Bidirectional, LayerNormLSTM, Stacked
from unrolled.core.seq2seq.attention import AdditiveAttention, DotAttention, GeneralAttention
from unrolled.core.seq2seq.decoder import SequenceDecoder
from unrolled.core.seq2seq.encoder import Memory, SequenceEncoder

from ..conftest import plain_cores

B, T, S, E, H, V = 4, 6, 5, 4, 4, 7


@dataclass
class Kind:
    attention: type | None = AdditiveAttention
    input_feeding: bool = True
    bridge: bool = True
    tie_weights: bool = False
    core: type = GRU


KINDS = {
    "additive": Kind(),
    "general": Kind(attention=GeneralAttention),
    "no feeding": Kind(input_feeding=False),
    "no attention": Kind(attention=None),
    "no attention, no feeding": Kind(attention=None, input_feeding=False),
    "no bridge": Kind(bridge=False),
    "tied": Kind(tie_weights=True, core=LSTM),
    **{name: Kind(core=type(make())) for name, make in plain_cores().items()},
}


def decoder(kind: Kind, dropout: float = 0.0, memory_size: int = 3) -> SequenceDecoder:
    torch.manual_seed(0)
    return SequenceDecoder(
        nn.Embedding(V, E),
        lambda size: kind.core(size, H),
        memory_size=memory_size,
        attention=kind.attention,
        input_feeding=kind.input_feeding,
        bridge=kind.bridge,
        tie_weights=kind.tie_weights,
        dropout=dropout,
    ).double()


def given(memory_size: int = 3) -> tuple[Memory, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    output = torch.randn(B, S, memory_size, dtype=torch.float64, generator=generator)
    return Memory(output, torch.tensor([5, 0, 3, 1])), torch.randint(
        0, V, (B, T), generator=generator
    )


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@torch.no_grad()
def test_step_by_step_is_the_whole_target(kind):
    made, (memory, tokens) = decoder(kind).eval(), given()
    prepared = made.prepare(memory)
    whole = made(tokens, prepared, made.initial_state(memory))
    for step in (made.step, made.stepper()):
        state = made.initial_state(memory)
        for t in range(T):
            logits, state = step(tokens[:, t], state, prepared)
            torch.testing.assert_close(logits, made.head(whole.output[:, t]), rtol=0, atol=1e-10)
    again = made(
        tokens[:, 2:], prepared, made(tokens[:, :2], prepared, made.initial_state(memory)).state
    )
    torch.testing.assert_close(again.output, whole.output[:, 2:], rtol=0, atol=1e-10)
    assert whole.attention.shape == (B, T, S if kind.attention else 0)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@torch.no_grad()
def test_a_row_alone_is_the_row_in_a_batch(kind):
    made, (memory, tokens) = decoder(kind).eval(), given()
    whole = made(tokens, made.prepare(memory), made.initial_state(memory))
    for row, length in enumerate(memory.lengths.tolist()):
        one = Memory(memory.output[row : row + 1, :length])
        alone = made(tokens[row : row + 1], made.prepare(one), made.initial_state(one))
        torch.testing.assert_close(alone.output[0], whole.output[row], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_gradients_reach_every_parameter_with_dropout(kind):
    made, (memory, tokens) = decoder(kind, dropout=0.3).train(), given()
    memory.output.requires_grad_()
    decoded = made(tokens, made.prepare(memory), made.initial_state(memory))
    made.head(decoded.output).sum().backward()
    missing = [name for name, parameter in made.named_parameters() if parameter.grad is None]
    assert missing == []
    assert memory.output.grad.abs().sum() > 0


@torch.no_grad()
def test_beams_read_their_rows_memory():
    made, (memory, tokens) = decoder(KINDS["additive"]).eval(), given()
    prepared, state = made.prepare(memory), made.initial_state(memory)
    logits, _ = made.step(tokens[:, 0], state, prepared)
    twice = torch.arange(B).repeat_interleave(2)
    core = (
        state.core[twice]
        if isinstance(state.core, torch.Tensor)
        else type(state.core)(*(s[twice] for s in state.core))
    )
    beams, _ = made.step(tokens[twice, 0], type(state)(core, state.feed[twice]), prepared)
    torch.testing.assert_close(beams, logits[twice], rtol=0, atol=1e-12)


def test_scheduled_sampling_reads_its_own_symbols():
    made, (memory, tokens) = decoder(KINDS["additive"]).train(), given()
    prepared, state = made.prepare(memory), made.initial_state(memory)
    plain = made(tokens, prepared, state)
    torch.manual_seed(0)
    sampled = made(tokens, prepared, state, sampling=1.0)
    # the start symbol is always the start symbol
    torch.testing.assert_close(sampled.output[:, 0], plain.output[:, 0])
    with torch.no_grad():
        made.head.weight.zero_()
        # every drawn symbol is the last one
        made.head.bias.copy_(torch.tensor([0.0] * (V - 1) + [1e4]))
    forced = torch.cat((tokens[:, :1], torch.full((B, T - 1), V - 1)), 1)
    torch.testing.assert_close(
        made(tokens, prepared, state, sampling=1.0).output, made(forced, prepared, state).output
    )


def test_empty_targets_and_rows():
    made, (memory, tokens) = decoder(KINDS["additive"]), given()
    assert made(tokens[:, :0], made.prepare(memory), made.initial_state(memory)).output.shape == (
        B,
        0,
        H,
    )
    none = Memory(memory.output[:0], memory.lengths[:0])
    assert made(tokens[:0], made.prepare(none), made.initial_state(none)).output.shape == (0, T, H)


def test_mistakes_are_named():
    table = nn.Embedding(V, E)
    with pytest.raises(ValueError, match="never sees the memory"):
        SequenceDecoder(
            table, lambda size: GRU(size, H), memory_size=3, attention=None, bridge=False
        )
    with pytest.raises(ValueError, match="Bidirectional is not causal"):
        SequenceDecoder(
            table,
            lambda size: Bidirectional(size, lambda inner: GRU(inner, H)),
            memory_size=3,
            attention=None,
        )
    with pytest.raises(
        ValueError, match="tie_weights needs an output of the embedding's size 4, not 9"
    ):
        SequenceDecoder(
            table,
            lambda size: GRU(size, H),
            memory_size=3,
            attention=None,
            tie_weights=True,
            output_size=9,
        )
    with pytest.raises(ValueError, match="must be equal"):
        SequenceDecoder(table, lambda size: GRU(size, H), memory_size=3, attention=DotAttention)


@pytest.mark.parametrize("core", [GRU, LayerNormLSTM], ids=lambda core: core.__name__)
@torch.no_grad()
def test_the_encoder_reads_a_row_alone_as_in_a_batch(core):
    torch.manual_seed(0)
    encoder = SequenceEncoder(
        nn.Embedding(V, E),
        lambda size: Stacked(
            size, lambda inner: Bidirectional(inner, lambda each: core(each, H)), num_layers=2
        ),
        dropout=0.5,
    ).double()
    _, tokens = given()
    lengths = torch.tensor([6, 0, 3, 1])
    memory = encoder.eval()(tokens, lengths)
    assert memory.output.shape == (B, T, encoder.output_size)
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(tokens[row : row + 1, :length])
        torch.testing.assert_close(memory.output[row, :length], alone.output[0], rtol=0, atol=1e-10)
        assert memory.output[row, length:].abs().sum() == 0
        assert memory.valid()[row].tolist() == [step < length for step in range(T)]


def test_drawn_symbols_are_dropped_and_learnt_as_given_ones_are():
    made, (memory, tokens) = decoder(KINDS["additive"], dropout=0.4).train(), given()
    with torch.no_grad():
        made.head.weight.zero_()
        # every drawn symbol is the last one
        made.head.bias.copy_(torch.tensor([0.0] * (V - 1) + [1e4]))
    prepared, state = made.prepare(memory), made.initial_state(memory)
    tokens = tokens.clamp(max=V - 2)
    forced = torch.cat((tokens[:, :1], torch.full((B, T - 1), V - 1)), 1)
    seen, gradients = [], []
    for target, sampling in ((tokens, 1.0), (forced, 0.0)):
        torch.manual_seed(0)
        seen.append(made(target, prepared, state, sampling=sampling).attention)
        (gradient,) = torch.autograd.grad(
            seen[-1][:, :, 0].sum(), made.embedding.weight, retain_graph=True
        )
        gradients.append(gradient)
    torch.testing.assert_close(*seen)
    torch.testing.assert_close(*gradients)
    assert gradients[0][V - 1].abs().sum() > 0
