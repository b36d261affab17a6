"""The small models that are exported."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_models import write_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a trained model of each task, and inputs for them."""
    made = tmp_path_factory.mktemp("models")
    write_models(made)
    return made
