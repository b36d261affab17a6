"""Damaged files: every reader takes one or refuses it in two lines, in time and in little memory.

`UNROLLED_FUZZ_EXAMPLES=100000` gives each reader so many, `UNROLLED_FUZZ_SEED=1` others.
"""

from __future__ import annotations

import json
import os
import re

import pytest
from app_readers import OF_APPS
from covering import ALL_OR_SOME, in_turn
from foreign_readers import FOREIGN
from fuzzing import answer, attack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import READERS, Checkpoints

ALL = READERS | FOREIGN | OF_APPS
EXAMPLES = int(os.environ.get("UNROLLED_FUZZ_EXAMPLES", "0"))
SEED = int(os.environ.get("UNROLLED_FUZZ_SEED", "0"))


@ALL_OR_SOME
@pytest.mark.parametrize("name", ALL)
def test_damaged_files_are_read_or_refused(tmp_path, name, every):
    if EXAMPLES and every:
        pytest.skip("so many are given anyway")
    examples = EXAMPLES or (200 if name in READERS else 12) * (4 if every else 1)
    counts = attack(name, ALL[name], tmp_path, examples, SEED)
    print(f"{name}: {counts}")
    assert counts["refused"] > 0


LONG = (b"9" * 5_000, b"-" + b"9" * 400, b"0." + b"1" * 5_000, b"x" * 5_000)


@ALL_OR_SOME
@pytest.mark.parametrize("name", ALL)
def test_a_long_word_or_number_anywhere_is_read_or_refused(tmp_path, name, every):
    """What a file says is quoted in part, wherever it stands."""
    reader = ALL[name]
    whole = reader.make(tmp_path)[0]
    if b"\0" in whole or len(whole) > 100_000:
        pytest.skip("no text")
    words = [match.span() for match in re.finditer(rb"[\w.-]+", whole)]
    path = tmp_path / reader.file
    for number, (begin, end) in enumerate(words[:: len(words) // 20 + 1]):
        for word in in_turn(LONG, number, every=every):
            path.unlink(missing_ok=True)  # a reader may have the last one mapped
            path.write_bytes(reader.pack(whole[:begin] + word + whole[end:]))
            answer(reader.read, path)


KEYS = st.sampled_from(
    [
        *("images", "annotations", "sentences", "raw", "id", "image_id", "file_name", "filename"),
        *("filepath", "split", "caption", "kind", "symbols", "model", "vocab", "merges", "type"),
    ]
)
LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    st.sampled_from(["train", "val", "characters", "bytes", "BPE", "a.jpg"]),
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@ALL_OR_SOME
@pytest.mark.parametrize("name", [name for name, reader in ALL.items() if reader.tree])
def test_documents_are_read_or_refused(tmp_path, name, every):
    """JSON is YAML, too."""
    if EXAMPLES and every:
        pytest.skip("so many are given anyway")
    reader = ALL[name]
    reader.make(tmp_path)

    @settings(
        max_examples=EXAMPLES or (100 if every else 40),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(DOCUMENTS)
    def read(document):
        (tmp_path / reader.file).write_text(json.dumps(document))
        answer(reader.read, tmp_path / reader.file)

    read()


@pytest.mark.parametrize("name", ["checkpoint archive", "checkpoint pickle"])
def test_damaged_checkpoints_are_read_or_refused(tmp_path, trained, name):
    reader = dict(Checkpoints(trained / "runs/char_lm/a/checkpoints/last.ckpt").readers())[name]
    counts = attack(name, reader, tmp_path, EXAMPLES or 200, SEED)
    print(f"{name}: {counts}")
    assert counts["refused"] > 0
