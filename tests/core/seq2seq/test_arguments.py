"""What attention, decoders, losses and choices say of wrong arguments: nothing is broadcast."""

from __future__ import annotations

import math

import pytest
import torch
from unrolled.core import (
    GRU,
    AdditiveAttention,
    DotAttention,
    GatedAttention,
    GeneralAttention,
    ImageEncoder,
    Memory,
    SequenceDecoder,
    SmallCNN,
    choose,
    linear_recurrence,
)
from unrolled.core.seq2seq.losses import (
    chunked_cross_entropy,
    sequence_cross_entropy,
    truncated_smoothness,
)

B, T, S, V, H = 5, 7, 3, 6, 4
ATTENTIONS = [AdditiveAttention, DotAttention, GeneralAttention, GatedAttention]


def test_losses_and_choices_do_not_broadcast():
    logits, target = torch.randn(B, T, 4), torch.zeros(B, T, dtype=torch.int64)
    weight = torch.randn(6, 4)
    for loss in (
        sequence_cross_entropy,
        lambda *given: chunked_cross_entropy(given[0], weight, None, *given[1:]),
    ):
        for wrong in (target[:1], target[:, :3], target.flatten()):
            with pytest.raises(ValueError, match="one target per step"):
                loss(logits, wrong)
        for lengths in ([7] * B, torch.tensor([3]), torch.full((B,), 3.0)):
            with pytest.raises(ValueError, match=r"lengths is .*it must be int64 \(5,\)"):
                loss(logits, target, lengths)
    with pytest.raises(ValueError, match=r"truncated_smoothness: lengths is int64 \(1,\)"):
        truncated_smoothness(logits, torch.tensor([3]))
    with pytest.raises(ValueError, match=r"Memory: lengths is int64 \(1,\)"):
        Memory(logits, torch.tensor([3])).valid()
    for wrong in (logits, logits[0, 0], target):
        with pytest.raises(ValueError, match=r"logits is .*it must be a float tensor \(B, V\)"):
            choose(wrong, top_k=2)
    encoder = ImageEncoder(lambda: SmallCNN([4]))
    for wrong in (torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(2, 9, 5), torch.zeros(8, 8)):
        with pytest.raises(ValueError, match="ImageEncoder: images is"):
            encoder(wrong)


def test_lengths_past_the_steps_are_refused_everywhere():
    logits, target = torch.randn(B, T, V), torch.zeros(B, T, dtype=torch.int64)
    weight = torch.randn(V, V)
    for wrong in (torch.tensor([8, 1, 1, 1, 1]), torch.tensor([1, 1, -1, 1, 1])):
        for call in (
            lambda given: sequence_cross_entropy(logits, target, given),
            lambda given: chunked_cross_entropy(logits, weight, None, target, given),
            lambda given: truncated_smoothness(logits, given),
            lambda given: Memory(logits, given).valid(),
            lambda given: DotAttention(V, V).prepare(Memory(logits, given)),
        ):
            with pytest.raises(ValueError, match="each must be 0 to 7"):
                call(wrong)


def test_a_loss_takes_its_own_kinds_and_ranges():
    logits, target = torch.randn(B, T, H), torch.zeros(B, T, dtype=torch.int64)
    weight, bias = torch.randn(V, H), torch.randn(V)

    def chunked(logits=logits, weight=weight, bias=bias, target=target, smoothing=0.0):
        return chunked_cross_entropy(logits, weight, bias, target, label_smoothing=smoothing)

    assert chunked(smoothing=1.0).isfinite()
    for wrong in (logits.long(), logits[0], logits.tolist()):
        for loss in (lambda x: sequence_cross_entropy(x, target), truncated_smoothness, chunked):
            with pytest.raises(ValueError, match="is no float tensor"):
                loss(wrong)
    for wrong in (target.int(), target.float(), target.tolist()):
        for loss in (lambda given: sequence_cross_entropy(logits, given),
                     lambda given: chunked(target=given)):  # fmt: skip
            with pytest.raises(ValueError, match=r"int64 \(B, T\), one target per step"):
                loss(wrong)
    for wrong in ({"bias": bias[:1]}, {"bias": bias.unsqueeze(1)}, {"weight": weight[:, :1]},
                  {"weight": weight.long()}, {"weight": weight[0]}):  # fmt: skip
        with pytest.raises(ValueError, match="chunked_cross_entropy: weight is"):
            chunked(**wrong)
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="label_smoothing is"):
            chunked(smoothing=wrong)
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="threshold is"):
            truncated_smoothness(logits, threshold=wrong)


@pytest.mark.parametrize("cls", ATTENTIONS)
def test_attention_neither_broadcasts_nor_guesses(cls):
    attention, vectors = cls(H, H), torch.randn(B, S, H)
    prepared, query = attention.prepare(Memory(vectors)), torch.randn(B, T, H)
    for wrong in (query[:1], query[:2], query.repeat(2, 1, 1), query[:, 0], query[..., :2],
                  query.unsqueeze(1), query[0]):  # fmt: skip
        with pytest.raises(ValueError, match=r"the queries are .* must be \(5, T, 4\)"):
            attention(wrong, prepared)
    with pytest.raises(ValueError, match=r"must be \(1, T, 4\)"):
        attention(query, attention.prepare(Memory(vectors[:1])))
    for wrong in (Memory(vectors[0]), Memory(vectors[..., :2]), Memory(vectors.long()), vectors):
        with pytest.raises(ValueError, match=r"the memory is .* float tensor \(B, S, 4\)"):
            attention.prepare(wrong)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_scheduled_sampling_has_a_probability(wrong):
    embedding = torch.nn.Embedding(V, H)
    decoder = SequenceDecoder(
        embedding, lambda size: GRU(size, H), memory_size=H, attention=DotAttention
    )
    memory, tokens = Memory(torch.randn(B, S, H)), torch.zeros(B, T, dtype=torch.int64)
    begin = decoder.prepare(memory), decoder.initial_state(memory)
    with pytest.raises(ValueError, match="sampling is"):
        decoder(tokens, *begin, sampling=wrong)


def test_a_recurrence_loses_no_part_of_its_start():
    a, b = torch.rand(T, B, H), torch.randn(T, B, H)
    for wrong in (b[0] + 1j, b[:1, 0], b[0].tolist()):
        with pytest.raises(ValueError, match="linear_recurrence: initial is"):
            linear_recurrence(a, b, wrong)
    for wrong in ((a.tolist(), b), (a, 1.0), (a.long(), b)):
        with pytest.raises(ValueError, match="both are float or complex tensors"):
            linear_recurrence(*wrong)
    with pytest.raises(ValueError, match="reset is a list"):
        linear_recurrence(a, b, reset=[[False] * B] * T)
