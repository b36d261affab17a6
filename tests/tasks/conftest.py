from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch import Trainer


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Makes quiet trainers on the CPU."""

    def make(**arguments) -> Trainer:
        settings = {
            "default_root_dir": tmp_path,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "use_distributed_sampler": False,
        }
        return Trainer(**{**settings, **arguments})

    return make


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog;\n" * 20)
    return path
