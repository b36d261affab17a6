"""What the cores with a memory of matrices share."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from unrolled.core import GatedDeltaNet, Mamba2, discover_cores, reference
from unrolled.core.families.chunked import ChunkedCore, pairwise_decay
from unrolled.core.families.short_convolution import Rows, ShortConvolution
from unrolled.core.state import leaves, map_state

CORES = [cls for cls in discover_cores().values() if issubclass(cls, ChunkedCore)]


def test_there_are_some():
    assert len(CORES) >= 3


@pytest.mark.parametrize("cls", CORES)
@pytest.mark.parametrize("chunk_size", [1, 4, 64])
@pytest.mark.parametrize("share", [0.02, 0.4])
@pytest.mark.parametrize("slack", [0, 64])
def test_lengths_and_resets_within_chunks(cls, chunk_size, share, slack, same):
    """Few resets cut the sequence, many are taken within the chunks: the definition either way."""
    torch.manual_seed(0)
    core = cls(3, 4, chunk_size=chunk_size).double()
    core._slack = slack
    x, lengths = torch.randn(5, 19, 3, dtype=torch.float64), torch.tensor([19, 0, 4, 2, 19])
    reset = torch.rand(5, 19) < share
    _, state = core(torch.randn(5, 3, 3, dtype=torch.float64))
    for masks in ({"lengths": lengths}, {"reset": reset}, {"lengths": lengths, "reset": reset}):
        same(core(x, state, **masks), reference(core, x, state, **masks))


@pytest.mark.parametrize("cls", CORES)
@pytest.mark.parametrize("chunk_size", [4, 64])
def test_gradients_of_resets_within_chunks(cls, chunk_size):
    torch.manual_seed(0)
    core = cls(3, 4, chunk_size=chunk_size).double()
    reset, lengths = torch.rand(4, 11) < 0.4, torch.tensor([11, 7, 1, 11])
    x = torch.randn(4, 11, 3, dtype=torch.float64, requires_grad=True)
    state = map_state(
        lambda leaf: torch.rand_like(leaf).requires_grad_(),
        core.initial_state(4, dtype=torch.float64),
    )
    found = []
    for run in (core, partial(reference, core)):
        output, last = run(x, state, lengths=lengths, reset=reset)
        loss = output.sin().sum() + sum(leaf.sin().sum() for leaf in leaves(last))
        given = [x, *leaves(state), *core.parameters()]
        found.append(torch.autograd.grad(loss, given))
    torch.testing.assert_close(*found, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("cls", CORES)
def test_a_document_has_all_its_digits(cls):
    """In single precision, after documents whose gates are as good as shut."""
    torch.manual_seed(0)
    core, x = cls(3, 4), torch.randn(2, 24, 3)
    reset = torch.zeros(2, 24, dtype=torch.bool)
    reset[:, ::4] = True
    with torch.no_grad():
        alone = core(x[:, 20:])[0]
        x[:, :20] *= 3e4
        found = core(x, reset=reset)[0][:, 20:]
    torch.testing.assert_close(found, alone, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("cls", CORES)
def test_many_resets_run_in_one_piece(cls, monkeypatch):
    core, pieces = cls(3, 4), []
    run = cls._run
    monkeypatch.setattr(cls, "_run", lambda *given: pieces.append(given[1].shape) or run(*given))
    reset = torch.ones(2, 30, dtype=torch.bool)
    with torch.no_grad():
        core(torch.randn(2, 30, 3), reset=reset)
        assert pieces == [(2, 30, 3)]
        core(torch.full((2, 30, 3), torch.nan), reset=reset)
    assert pieces[1:] == [(60, 1, 3)]  # where a product would carry NaN over a reset


@pytest.mark.parametrize("cls", CORES)
def test_long_sequences_in_half_precision(cls):
    """bf16 in the products with the weights alone: the error does not grow with the length."""
    torch.manual_seed(0)
    core, x = cls(8, 16), torch.randn(1, 8192, 8)
    with torch.no_grad():
        expected = core(x)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            error = (core(x)[0] - expected).abs()
    assert error.isfinite().all()
    assert error[:, -1024:].mean() < 2 * error[:, :1024].mean()
    assert error.mean() < 0.05 * expected.abs().mean()


@pytest.mark.parametrize("cls", CORES)
def test_a_state_does_not_keep_the_sequence_alive(cls):
    _, state = cls(4, 8)(torch.randn(2, 50, 4))
    for leaf in leaves(state):
        assert leaf.untyped_storage().nbytes() == leaf.numel() * leaf.element_size()


def test_decays_between_steps_keep_their_digits():
    """Where a strong decay comes before weak ones, whose sums are lost in its own."""
    log_decay = torch.tensor([-1.0, -30000.0, -0.001, -0.002, -torch.inf, -0.5])
    between, before = pairwise_decay(log_decay)
    wanted = torch.zeros(6, 6, dtype=torch.float64)
    for t in range(6):
        for s in range(t + 1):
            wanted[t, s] = torch.exp(log_decay[s + 1 : t + 1].double().sum())
    torch.testing.assert_close(between.double(), wanted, atol=0.0, rtol=1e-6)
    torch.testing.assert_close(before.double(), torch.exp(log_decay.double().cumsum(0)))


@pytest.mark.parametrize("taps", [1, 2, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_the_convolution_is_its_step(taps, bias):
    torch.manual_seed(0)
    convolution = ShortConvolution(5, taps, bias=bias).double()
    x, start = torch.randn(3, 7, 5).double(), torch.randn(3, taps - 1, 5).double()
    for share in (0.0, 0.3):
        reset = torch.rand(3, 7) < share
        found, last = convolution(x.split((2, 3), 2), start, Rows(reset=reset if share else None))
        previous, outputs = start, []
        for t in range(7):
            previous = torch.where(reset[:, t, None, None], 0.0, previous)
            output, previous = convolution.step(x[:, t], previous)
            outputs.append(output)
        torch.testing.assert_close(torch.cat(found, 2), torch.stack(outputs, 1))
        torch.testing.assert_close(last, previous)


@pytest.mark.parametrize("cls", [Mamba2, GatedDeltaNet])
def test_one_tap_carries_no_input(cls, same):
    core = cls(3, 4, taps=1).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    assert core(x)[1].previous.shape[1] == 0
    same(core(x), reference(core, x))
