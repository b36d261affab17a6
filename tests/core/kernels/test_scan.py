from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from unrolled.core.kernels import scan
from unrolled.core.kernels.scan import linear_recurrence, linear_recurrence_reference

SHAPES = [(1, 2, 3), (2, 1, 4), (63, 2, 3), (64, 2, 3), (65, 1, 1), (97, 3), (200, 2, 3, 2)]


def problem(
    *shape: int, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    b = torch.randn(shape, generator=generator, dtype=torch.float64)
    initial = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    reset = torch.rand(shape[:2], generator=generator) < 0.1
    return a.to(dtype), b.to(dtype), initial.to(dtype), reset


def gradients(function, a, b, initial, reset):
    leaves = [leaf.clone().requires_grad_() for leaf in (a, b, initial) if leaf is not None]
    given = (*leaves, *[None] * (3 - len(leaves)))
    h = function(*given, reset)
    weight = torch.randn(
        h.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
    ).to(h.dtype)
    total = (h * weight).sum()
    (total.real - 2 * total.imag if h.is_complex() else total).backward()
    return [h, *[leaf.grad for leaf in leaves]]


@pytest.mark.parametrize("few_channels", [0, 10**9], ids=["steps", "blocks"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("with_initial", [False, True])
@pytest.mark.parametrize("with_reset", [False, True])
def test_is_the_reference(monkeypatch, few_channels, shape, with_initial, with_reset):
    monkeypatch.setattr(scan, "_FEW_CHANNELS", few_channels)
    a, b, initial, reset = problem(*shape)
    arguments = (a, b, initial if with_initial else None, reset if with_reset else None)
    for one, other in zip(
        gradients(linear_recurrence, *arguments),
        gradients(linear_recurrence_reference, *arguments),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("few_channels", [0, 10**9], ids=["steps", "blocks"])
@pytest.mark.parametrize("with_reset", [False, True])
def test_complex_numbers(monkeypatch, few_channels, with_reset):
    monkeypatch.setattr(scan, "_FEW_CHANNELS", few_channels)
    (a, b, initial, reset), others = problem(70, 2, 3), problem(70, 2, 3, seed=1)
    a, b, initial = (
        torch.complex(real, imaginary / 2).requires_grad_()
        for real, imaginary in zip((a, b, initial), others, strict=False)
    )
    reset = reset if with_reset else None
    found = gradients(linear_recurrence, a.detach(), b.detach(), initial.detach(), reset)
    expected = gradients(
        linear_recurrence_reference, a.detach(), b.detach(), initial.detach(), reset
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
def test_factors_that_share_memory_have_second_gradients(kind):
    """An expanded tensor is copied for the loop; the copy must be in the graph."""
    a = torch.tensor([0.5, -0.8], dtype=kind).requires_grad_()
    b = torch.randn(4, 2, 2, dtype=torch.float64).to(kind).requires_grad_()

    def run(a: Tensor, b: Tensor) -> Tensor:
        return linear_recurrence(a.expand(4, 2, 2), b)

    assert torch.autograd.gradgradcheck(run, (a, b))


@pytest.mark.parametrize("few_channels", [0, 10**9], ids=["steps", "blocks"])
def test_gradcheck(monkeypatch, few_channels):
    monkeypatch.setattr(scan, "_FEW_CHANNELS", few_channels)
    a, b, initial, reset = problem(70, 2, 2)
    for leaf in (a, b, initial):
        leaf.requires_grad_()
    assert torch.autograd.gradcheck(linear_recurrence, (a, b, initial, reset), fast_mode=True)
    assert torch.autograd.gradcheck(lambda a, b: linear_recurrence(a, b), (a[:5], b[:5]))


@pytest.mark.parametrize("few_channels", [0, 10**9], ids=["steps", "blocks"])
@pytest.mark.parametrize("decay", ["anything", "slow"])
def test_long_sequences_stay_exact(monkeypatch, few_channels, decay):
    monkeypatch.setattr(scan, "_FEW_CHANNELS", few_channels)
    generator = torch.Generator().manual_seed(1)
    a = torch.rand(16384, 2, 8, generator=generator)
    a = 1 - a * 1e-3 if decay == "slow" else a
    b = torch.rand(16384, 2, 8, generator=generator)
    single = gradients(linear_recurrence, a, b, None, None)
    double = gradients(linear_recurrence, a.double(), b.double(), None, None)
    for one, other in zip(single, double, strict=True):
        assert ((one.double() - other).norm() / other.norm()) < 1e-6


def test_half_precision_accumulates_in_float32():
    a, b, initial, _ = problem(3000, 2, 2, dtype=torch.bfloat16)
    a = a.abs().clamp(max=0.99)
    h = linear_recurrence(a, b, initial)
    assert h.dtype == torch.bfloat16
    torch.testing.assert_close(
        h, linear_recurrence(a.double(), b.double(), initial.double()).bfloat16()
    )
    assert linear_recurrence(a, b.float()).dtype == torch.float32


def test_keeps_its_arguments_and_takes_any_layout():
    a, b, initial, reset = problem(70, 3, 4)
    copies = [value.clone() for value in (a, b, initial, reset)]
    expected = linear_recurrence(a, b, initial, reset)
    for value, copied in zip((a, b, initial, reset), copies, strict=True):
        assert torch.equal(value, copied)
    strided = [value.transpose(0, 1).contiguous().transpose(0, 1) for value in (a, b)]
    assert torch.equal(linear_recurrence(*strided, initial, reset), expected)
    constant = a[:1].expand_as(b)
    torch.testing.assert_close(
        linear_recurrence(constant, b), linear_recurrence_reference(constant, b)
    )
    assert linear_recurrence(a[:0], b[:0]).shape == (0, 3, 4)
    assert linear_recurrence(a[:, :0], b[:, :0]).shape == (70, 0, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": torch.zeros(4, 2, 2)}, r"a is float32 \(4, 2, 3\), b is float32 \(4, 2, 2\)"),
        ({"a": torch.zeros(4, 2, 3).long()}, "both are float or complex tensors"),
        ({"initial": torch.zeros(3, 3)}, r"initial is float32 \(3, 3\); it must be \(2, 3\)"),
        ({"reset": torch.zeros(2, 4).bool()}, r"reset is bool \(2, 4\); it must be bool \(4, 2\)"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    arguments = {"a": torch.zeros(4, 2, 3), "b": torch.zeros(4, 2, 3), **change}
    with pytest.raises(ValueError, match=message):
        linear_recurrence(**arguments)


INTERPRETED = """
import torch
from unrolled.core.kernels.scan import scan_
from unrolled.core.kernels.scan_triton import scan_ as triton_scan_
SIZES = (1, 1, 1, 0), (31, 4, 10, 0), (33, 32, 1, 0), (5, 1, 3, 1), (70, 2, 17, 1)
for time, rows, numbers, cut in SIZES:
    for reverse in (False, True):
        links = torch.rand(time - 1, rows, numbers) * 2 - 1
        expected = torch.randn(time, rows, numbers)
        cuts = torch.rand(time - 1, rows) < 0.2 if cut else None
        if cut:  # what is cut off may be anything
            links[cuts] = float("inf")
            expected[-1 if reverse else 0, 0] = float("nan")
            expected[time // 2, -1, 0] = float("inf")
        found = expected.clone()
        scan_(links, expected, reverse=reverse, cuts=cuts)
        triton_scan_(links, found, reverse, cuts)
        torch.testing.assert_close(found, expected, equal_nan=True)
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no triton")
def test_triton_kernel_in_its_interpreter():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("triton", [True, False])
@pytest.mark.parametrize("shape", [(1, 2, 3), (300, 3, 50), (2000, 2, 8)], ids=str)
def test_cuda_is_the_cpu(monkeypatch, triton, shape):
    if triton and not scan.has_triton():
        pytest.skip("no triton")
    monkeypatch.setattr(scan, "has_triton", lambda: triton)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        arguments = problem(*shape, dtype=dtype)
        expected = gradients(linear_recurrence, *arguments)
        found = gradients(
            lambda *given: linear_recurrence(*given).cpu(), *(value.cuda() for value in arguments)
        )
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.cpu(), other, atol=tolerance, rtol=tolerance)
