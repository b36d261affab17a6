"""Data modules of a small folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from unrolled.data import CaptionData


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Makes data modules of a small folder, with a cache of their own."""
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))

    def make(root: Path = tmp_path, **settings) -> CaptionData:
        small = {
            "image_size": 8,
            "min_count": 1,
            "batch_size": 4,
            "val_fraction": 0.1,
            "test_fraction": 0.1,
        }
        return CaptionData(None if "dataset" in settings else str(root), **{**small, **settings})

    return make
