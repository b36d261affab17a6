"""What the program says of errors that are not its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from unrolled import cli
from unrolled.apps.shell import commands
from unrolled.apps.shell.messages import memory_full


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: torch.empty(1 << 60), "(4611686018427387904 bytes)"),
        (lambda: np.zeros(1 << 58), "(Unable to allocate 2.00 EiB"),
        (lambda: [0] * (1 << 58), "There is not enough memory: try fewer"),
    ],
)
def test_a_full_memory_is_named_with_what_was_asked_for(ask, told):
    with pytest.raises((MemoryError, RuntimeError)) as found:
        ask()
    said = memory_full(found.value)
    assert told in said
    assert "a smaller --batch_size" in said


def test_a_full_gpu_is_named_and_other_errors_are_not():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    assert memory_full(error).startswith("The GPU's memory is full")
    assert memory_full(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("libtorch_cpu.so: failed to map segment from shared object", "not enough memory to load"),
        ("libx.so.1: cannot open shared object file", "`unrolled doctor` looks at"),
    ],
)
def test_a_library_that_can_not_be_loaded_is_the_machines_fault(monkeypatch, capsys, said, told):
    def fail(name, words):
        raise ImportError(said)

    monkeypatch.setattr(commands, "carry_out", fail)
    assert cli.main(["list"]) == 4
    error = capsys.readouterr().err
    assert said in error
    assert told in error
    assert error.count("\n") == 1
