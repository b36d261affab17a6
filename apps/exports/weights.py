"""A trained model as weights without code and plain JSON, with a page that says what it is."""

from __future__ import annotations

import json
from pathlib import Path

from ...checkpoints import CONFIG, WEIGHTS
from ...errors import UsageError
from ...loading import CheckedCheckpoint
from ..pages.card import model_card
from ..pages.runs import run_around
from .needs import needed

_KEPT = ("hyper_parameters", "unrolled", "global_step", "epoch")


def write_weights(
    checkpoint: CheckedCheckpoint, folder: Path, place: str, *, trust: str = ""
) -> None:
    """Write a checkpoint as `model.safetensors` and `config.json`; `unrolled.load` reads them.

    The weights are the model's. What only training needs, as the optimizer's state, is left out.

    Args:
        checkpoint: The checkpoint.
        folder: An empty folder.
        place: Where the model will be found, for its card.
        trust: Packages whose classes the checkpoint may name.

    Raises:
        UsageError: The checkpoint holds what JSON can't.
        SetupError: The extra `export` is not installed.
    """
    library = needed("safetensors.torch")
    content = {key: checkpoint.content[key] for key in _KEPT if key in checkpoint.content}
    try:
        text = json.dumps(content, ensure_ascii=False, indent=1)
    except (TypeError, ValueError) as error:
        raise UsageError(f"'{checkpoint.path}' can't be written as JSON: {error}.") from error
    (folder / CONFIG).write_text(f"{text}\n", encoding="utf-8")
    # each by itself: two names of one tensor are not for this format
    weights = {key: value.clone().contiguous() for key, value in checkpoint.weights.items()}
    library.save_file(weights, str(folder / WEIGHTS), metadata={"format": "pt"})
    page = model_card(run_around(checkpoint, trust), place)
    (folder / "README.md").write_text(page, encoding="utf-8")
