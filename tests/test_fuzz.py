"""Damaged files: every reader takes one or refuses it in two lines, in time and in little memory.

`UNROLLED_FUZZ_EXAMPLES=100000` gives each reader so many, `UNROLLED_FUZZ_SEED=1` others.
"""

from __future__ import annotations

import os

import pytest
from fuzzing import attack
from readers import READERS, Checkpoints

EXAMPLES = int(os.environ.get("UNROLLED_FUZZ_EXAMPLES", "200"))
SEED = int(os.environ.get("UNROLLED_FUZZ_SEED", "0"))


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    counts = attack(name, READERS[name], tmp_path, EXAMPLES, SEED)
    print(f"{name}: {counts}")
    assert counts["refused"] > 0


@pytest.mark.parametrize("name", ["checkpoint archive", "checkpoint pickle"])
def test_damaged_checkpoints_are_read_or_refused(tmp_path, trained, name):
    reader = dict(Checkpoints(trained / "runs/char_lm/a/checkpoints/last.ckpt").readers())[name]
    counts = attack(name, reader, tmp_path, EXAMPLES, SEED)
    print(f"{name}: {counts}")
    assert counts["refused"] > 0
