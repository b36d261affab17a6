"""Put a trained model on the Hugging Face hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .shell.models import checkpoint_file


def push(checkpoint: str, name: str, *, private: bool = False, trust: str = "") -> None:
    """Put a trained model on the Hugging Face hub: weights without code, JSON, and a model card.

    `hf auth login` says once who you are. Then every command, and unrolled.load, take hf://NAME in
    a checkpoint's place.

    Args:
        checkpoint: A checkpoint, or the folder of a run.
        name: Its name there, USER/MODEL; made if it is not there.
        private: true: a new one can be seen by you alone.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    from ..hub import check_name, uploaded

    check_name(name)  # before anything is read
    path = checkpoint_file(checkpoint)

    from ..loading import CheckedCheckpoint
    from .exports.weights import write_weights

    with tempfile.TemporaryDirectory() as folder:
        found = CheckedCheckpoint(path, trust=trust)
        write_weights(found, Path(folder), f"hf://{name}", trust=trust)
        place = uploaded(Path(folder), name, private=private)
    print(f"{place}\nuse it as hf://{name}")
