"""The chunked cross-entropy is torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from unrolled.core.seq2seq import losses
from unrolled.core.seq2seq.losses import chunked_cross_entropy, sequence_cross_entropy

B, T, H, V = 3, 5, 4, 11


def problem(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((B, T, H), (V, H), (V,))
    tensors = [
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes
    ]
    return (*tensors, torch.randint(0, V, (B, T), generator=generator))


@pytest.mark.parametrize("chunk", [1, 4 * V, 1 << 20])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("lengths", [None, [5, 2, 0], [0, 0, 0]])
def test_value_and_gradients_are_torchs(chunk, smoothing, lengths, monkeypatch):
    monkeypatch.setattr(losses, "_CHUNK", chunk)
    output, weight, bias, target = problem()
    lengths = None if lengths is None else torch.tensor(lengths)
    expected_target = target.clone()
    for row, length in enumerate([T] * B if lengths is None else lengths.tolist()):
        expected_target[row, length:] = -100
    expected = F.cross_entropy(
        (output @ weight.t() + bias).flatten(0, 1),
        expected_target.flatten(),
        reduction="sum",
        label_smoothing=smoothing,
    )
    wanted = torch.autograd.grad(3 * expected, (output, weight, bias))
    found = chunked_cross_entropy(output, weight, bias, target, lengths, label_smoothing=smoothing)
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(
        torch.autograd.grad(3 * found, (output, weight, bias)), wanted, strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_without_gradients_bias_or_some_parameters():
    output, weight, _, target = problem()
    with torch.no_grad():
        free = chunked_cross_entropy(output, weight, None, target)
        torch.testing.assert_close(free, sequence_cross_entropy(output @ weight.t(), target))
    chunked_cross_entropy(output.detach(), weight, None, target).backward()
    assert output.grad is None
    assert weight.grad is not None


def test_half_precision_sums_in_single():
    output, weight, bias, target = problem(torch.float32)
    expected = chunked_cross_entropy(output, weight, bias, target)
    narrow = chunked_cross_entropy(output.bfloat16(), weight, bias, target)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, expected, rtol=0.02, atol=0.0)
    narrow.backward()
    assert weight.grad.dtype == torch.float32
