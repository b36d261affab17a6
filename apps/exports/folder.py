"""A trained model as a folder of graphs, plain JSON, and a page that says how to run them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ... import __version__
from ...checkpoints import EXPORTED
from ...core.state import leaves
from ...core.vision.encoders import FrameEncoder, ImageEncoder
from ...data.tokenizer import Subwords
from ...errors import UsageError, a
from ...tasks.captioning.model import CaptioningModel
from ...tasks.char_lm.model import CharModel
from ...tasks.model import Model
from ...tasks.sequence_model import EncoderDecoder
from ...tasks.translation.model import TranslationModel
from ...tasks.video.model import VideoModel
from ..plots.attention import shift_of
from .examples import ROWS, STEPS, names_of
from .modules import AtOnce, names
from .readmes.page import readme
from .vocabularies import readable


class Files(Protocol):
    """Writes the parts of models as files that run elsewhere."""

    form: str
    folder: Path

    def stream(self, model: Any, inputs: Tensor) -> None:
        """Write `step` and `sequence` of a causal model.

        Args:
            model: A language model, or one that labels frames.
            inputs: An example of a sequence (B, T, ...).
        """

    def labels(self, model: Any, frames: Tensor) -> None:
        """Write `sequence` of a model that labels frames and reads both ways.

        Args:
            model: The model.
            frames: An example (B, T, ...).
        """

    def sentences(self, model: TranslationModel) -> None:
        """Write `encoder`, which reads sentences.

        Args:
            model: The model.
        """

    def images(self, model: CaptioningModel, images: Tensor) -> None:
        """Write `encoder`, which looks at images.

        Args:
            model: The model.
            images: An example (R, 3, S, S).
        """

    def decoder(self, model: EncoderDecoder) -> None:
        """Write `decoder`, one step of it.

        Args:
            model: The model.
        """


def write_folder(model: Model, files: Files) -> None:
    """Write a model's graphs and what is needed to run them.

    Args:
        model: A trained model of one of the four tasks, on the CPU.
        files: Writes its graphs, into an empty folder.

    Raises:
        UsageError: It is another task's model, or torch can't turn it into a graph.
        SetupError: The extra `export` is not installed.
    """
    model, folder = model.float().eval(), files.folder
    with torch.no_grad():
        description = _written(model, folder, files)
    description = {
        "format": f"unrolled {files.form}",
        "version": __version__,
        "spec": plain_spec(model),
        **description,
    }
    _write_json(folder / EXPORTED, description)
    (folder / "README.md").write_text(readme(description, files.form), encoding="utf-8")


def _written(model: Model, folder: Path, files: Files) -> dict[str, Any]:
    if isinstance(model, CharModel):
        return _language_model(model, folder, files)
    if isinstance(model, VideoModel):
        return _video(model, folder, files)
    if isinstance(model, TranslationModel):
        return _translation(model, folder, files)
    if isinstance(model, CaptioningModel):
        return _captioning(model, folder, files)
    raise UsageError(
        f"{a(type(model), capital=True)} is a model of your own: it is exported as "
        "--format safetensors; graphs are made of the models of unrolled."
    )


def plain_spec(model: Model) -> dict[str, Any]:
    """Return what a model knows of its data, without vocabularies, which are files of their own.

    Args:
        model: The model.
    """
    words = ("vocabulary", "source", "target")
    return {name: value for name, value in model.spec.items() if name not in words}


def _language_model(model: CharModel, folder: Path, files: Files) -> dict[str, Any]:
    _write_json(folder / "vocabulary.json", readable(model.vocabulary))
    files.stream(model, torch.zeros(ROWS, STEPS, dtype=torch.int64))
    _write_start(model, folder)
    kind = {"kind": model.vocabulary.kind}
    return {"task": "char_lm", "graphs": ["step", "sequence"], **kind}


def _video(model: VideoModel, folder: Path, files: Files) -> dict[str, Any]:
    side, size = model.spec["image_size"], model.spec["feature_size"]
    if isinstance(model.encoder, FrameEncoder):
        model.encoder = AtOnce(model.encoder)
    if size:
        frames = torch.randn(ROWS, STEPS, size)
    else:
        frames = torch.zeros(ROWS, STEPS, 3, side, side, dtype=torch.uint8)
    settings: dict[str, Any] = {
        "median": model.median,
        "min_length": model.min_length,
        "causal": model.causal,
        "background": model.background,
        "thresholds": None if model.thresholds is None else model.thresholds.tolist(),
    }
    if model.causal:
        files.stream(model, frames)
        _write_start(model, folder)
    else:
        files.labels(model, frames)
    graphs = ["step", "sequence"] if model.causal else ["sequence"]
    return {"task": "video", "graphs": graphs, "settings": settings}


def _write_start(model: Any, folder: Path) -> None:
    start = model.core.initial_state(1)
    values = {
        name: leaf.tolist() for name, leaf in zip(names(start, "state"), leaves(start), strict=True)
    }
    _write_json(folder / "start.json", values, indent=None)


def _translation(model: TranslationModel, folder: Path, files: Files) -> dict[str, Any]:
    for name in ("source", "target"):
        _write_subwords(folder / f"{name}.json", getattr(model, name))
    files.sentences(model)
    files.decoder(model)
    return {"task": "translation", "graphs": ["encoder", "decoder"], **_settings(model)}


def _captioning(model: CaptioningModel, folder: Path, files: Files) -> dict[str, Any]:
    if not isinstance(model.encoder, ImageEncoder):
        raise UsageError("A captioning model of features is not exported; one of pictures is.")
    _write_subwords(folder / "vocabulary.json", model.vocabulary)
    side = model.image_size
    files.images(model, torch.zeros(ROWS, 3, side, side, dtype=torch.uint8))
    files.decoder(model)
    height, width = model.encoder.grid(side, side)
    said = _settings(model)
    said["settings"] |= {
        "max_length": model.max_length,
        "grid": [height, width],
        "grid_shift": shift_of(model),
    }
    return {"task": "captioning", "graphs": ["encoder", "decoder"], **said}


def _settings(model: EncoderDecoder) -> dict[str, Any]:
    memory, _ = names_of(model)
    return {
        "kind": model.vocabulary.kind,
        "memory": len(memory),
        "settings": {"beam_size": model.beam_size, "length_penalty": model.length_penalty},
    }


def _write_subwords(path: Path, vocabulary: Subwords) -> None:
    """Write a vocabulary of subwords in the form of the `tokenizers` library."""
    _write_json(path, json.loads(vocabulary.to_spec()["tokenizer"]))


def _write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    path.write_text(f"{text}\n", encoding="utf-8")
