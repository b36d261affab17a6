"""A trained model as weights without code and plain JSON, with a page that says what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ... import __version__
from ...checkpoints import CONFIG, WEIGHTS
from ...errors import UsageError
from ...loading import CheckedCheckpoint
from .needs import needed

_KEPT = ("hyper_parameters", "unrolled", "global_step", "epoch")
_USES = {
    "CharModel": ("text-generation", 'print(model.generate("", length=200))'),
    "TranslationModel": ("translation", 'print(model.translate("..."))'),
    "CaptioningModel": ("image-to-text", 'print(model.caption("image.jpg"))'),
    "VideoModel": ("video-classification", "print(model.label(frames))"),
}


def write_weights(checkpoint: CheckedCheckpoint, folder: Path, *, name: str = "") -> None:
    """Write a checkpoint as `model.safetensors` and `config.json`; `unrolled.load` reads them.

    The weights are the model's. What only training needs, as the optimizer's state, is left out.

    Args:
        checkpoint: The checkpoint.
        folder: An empty folder.
        name: Where the folder will be found on the Hugging Face hub; else here.

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
    page = card(checkpoint, name or f"./{folder.name}", hub=bool(name))
    (folder / "README.md").write_text(page, encoding="utf-8")


def card(checkpoint: CheckedCheckpoint, name: str, *, hub: bool) -> str:
    """Return a model card in the form of the Hugging Face hub, of what the checkpoint says.

    Args:
        checkpoint: The checkpoint.
        name: Where the model will be found.
        hub: Whether that is a name on the hub.
    """
    from ..info import describe

    kind = str(checkpoint.content["unrolled"]["model"]).rpartition(".")[2]
    tag, use = _USES.get(kind, ("", "print(model)"))
    head = ["---", "library_name: unrolled", *([f"pipeline_tag: {tag}"] if tag else []), "tags:"]
    head += ["- recurrent-neural-network", "- pytorch", "---"]
    rows = [f"| {key} | {_cell(value)} |" for key, value in describe(checkpoint)]
    where = f"hf://{name}" if hub else name
    body = f"""
# {name.rpartition("/")[2]}

A recurrent network of `unrolled` {__version__}: weights without code, and plain JSON.

```python
import unrolled

model = unrolled.load("{where}")
{use}
```

| | |
|---|---|
{chr(10).join(rows)}
"""
    return "\n".join(head) + "\n" + body


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", r"\|").split())
