"""A folder of parallel text."""

from __future__ import annotations

import pytest
from corpora import PAIRS, write_pairs


@pytest.fixture
def root(tmp_path):
    for part, pairs in PAIRS.items():
        write_pairs(tmp_path, part, pairs)
    return tmp_path
