"""A trained model as a folder of ONNX graphs, plain JSON, and a page that says how to run them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import __version__
from ...checkpoints import EXPORTED
from ...core.seq2seq.decoder import DecoderState
from ...core.seq2seq.encoder import Memory
from ...core.state import State, leaves
from ...core.vision.encoders import FrameEncoder, ImageEncoder
from ...data.tokenizer import Subwords
from ...data.vocabulary import ByteVocabulary, CharacterVocabulary, Vocabulary, WordVocabulary
from ...errors import UsageError
from ...tasks.captioning.model import CaptioningModel
from ...tasks.char_lm.model import CharModel
from ...tasks.model import Model
from ...tasks.sequence_model import EncoderDecoder
from ...tasks.translation.model import TranslationModel
from ...tasks.video.model import VideoModel
from .graphs import Assembly, graph_of
from .modules import AtOnce, Begin, DecoderStep, Frames, Looking, ModelStep, carried, names
from .readmes import readme

ROWS, WIDTH, STEPS = 3, 2, 5  # of examples


def write_onnx(model: Model, folder: Path) -> None:
    """Write a model's graphs and what is needed to run them.

    Args:
        model: A trained model of one of the four tasks, on the CPU.
        folder: An empty folder.

    Raises:
        UsageError: It is another task's model, or torch can't turn it into a graph.
        SetupError: The extra `export` is not installed.
    """
    model = model.float().eval()
    with torch.no_grad():
        description = _written(model, folder)
    description = {
        "format": "unrolled onnx",
        "version": __version__,
        "spec": plain_spec(model),
        **description,
    }
    _write_json(folder / EXPORTED, description)
    (folder / "README.md").write_text(readme(description), encoding="utf-8")


def _written(model: Model, folder: Path) -> dict[str, Any]:
    if isinstance(model, CharModel):
        return _language_model(model, folder)
    if isinstance(model, VideoModel):
        return _video(model, folder)
    if isinstance(model, TranslationModel):
        return _translation(model, folder)
    if isinstance(model, CaptioningModel):
        return _captioning(model, folder)
    raise UsageError(
        f"A {type(model).__name__} is a model of your own: it is exported as "
        "--format safetensors; graphs are made of the models of unrolled."
    )


def plain_spec(model: Model) -> dict[str, Any]:
    """Return what a model knows of its data, without vocabularies, which are files of their own.

    Args:
        model: The model.
    """
    words = ("vocabulary", "source", "target")
    return {name: value for name, value in model.spec.items() if name not in words}


def _language_model(model: CharModel, folder: Path) -> dict[str, Any]:
    _write_json(folder / "vocabulary.json", characters(model.vocabulary))
    symbols = torch.zeros(ROWS, STEPS, dtype=torch.int64)
    _streams(model, symbols, folder)
    kind = {"kind": model.vocabulary.kind}
    return {"task": "char_lm", "graphs": ["step", "sequence"], **kind}


def characters(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the vocabulary of a language model as people read it: what each id stands for.

    Args:
        vocabulary: The vocabulary.
    """
    symbols: list[Any]
    if isinstance(vocabulary, ByteVocabulary):
        symbols = [None, *range(256)]
    elif isinstance(vocabulary, WordVocabulary):
        symbols = [None, None, "\n", *vocabulary.symbols]
    elif isinstance(vocabulary, CharacterVocabulary):
        symbols = [None, None, *vocabulary.symbols]
    else:  # pieces of UTF-8, a character a byte
        symbols = [None, *(piece.decode("latin-1") for piece in vocabulary.symbols)]
    return {
        "kind": vocabulary.kind,
        "spec": vocabulary.to_spec()["symbols"],
        "end": vocabulary.END,
        "never_written": list(vocabulary.never_written),
        "symbols": symbols,
    }


def _video(model: VideoModel, folder: Path) -> dict[str, Any]:
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
    graphs = ["sequence"]
    if model.causal:
        graphs = ["step", "sequence"]
        _streams(model, frames, folder)
    else:
        rows, lengths = {0: "batch", 1: "time"}, torch.tensor([STEPS, 1, 2])
        assembly = Assembly({"input": (frames, rows), "lengths": (lengths, {0: "batch"})})
        (x,) = assembly.add(Frames(model), "input")
        output = assembly.run(model.core, x, assembly.valid(x, "lengths"))
        (logits,) = assembly.add(model.head, output)
        _save(assembly.model({"logits": logits}, {"logits": rows}), folder, "sequence")
    return {"task": "video", "graphs": graphs, "settings": settings}


def _streams(model: Any, inputs: Tensor, folder: Path) -> None:
    """Write a step, a loop of it over a sequence, and the state to start with."""
    start = model.core.initial_state(1)
    before, after = names(start, "state"), names(start, "next")
    rows = {0: "batch"}
    examples = [leaf.detach() for leaf in leaves(model.core.initial_state(ROWS))]
    step = ModelStep(model)
    proto = graph_of(
        step,
        (examples, inputs[:, 0]),
        ([rows] * len(examples), rows),
        [*before, "input"],
        [*after, "logits"],
    )
    _save(proto, folder, "step")
    both = {0: "batch", 1: "time"}
    named = {name: (leaf, rows) for name, leaf in zip(before, examples, strict=True)}
    assembly = Assembly({**named, "input": (inputs, both)})
    last, logits = assembly.scan(step, before, ["input"], graph=proto)
    outputs = dict(zip(after, last, strict=True)) | {"logits": logits}
    _save(assembly.model(outputs, {"logits": both}), folder, "sequence")
    _save_start(folder, before, start)


def _save_start(folder: Path, named: list[str], start: State) -> None:
    values = {name: leaf.tolist() for name, leaf in zip(named, leaves(start), strict=True)}
    _write_json(folder / "start.json", values, indent=None)


def _translation(model: TranslationModel, folder: Path) -> dict[str, Any]:
    for name in ("source", "target"):
        _write_subwords(folder / f"{name}.json", getattr(model, name))
    rows = {0: "batch", 1: "time"}
    tokens, lengths = torch.full((ROWS, STEPS), Subwords.END), torch.tensor([STEPS, 1, 2])
    assembly = Assembly({"tokens": (tokens, rows), "lengths": (lengths, {0: "batch"})})
    x = assembly.looked_up(model.encoder.embedding.weight, "tokens")
    output = assembly.run(model.encoder.core, x, assembly.valid(x, "lengths"))
    found = assembly.add(Begin(model.decoder), output, "lengths")
    memory, state = _names_of(model)
    outputs = dict(zip([*memory, *state], found, strict=True))
    axes = dict.fromkeys(memory, rows)
    _save(assembly.model(outputs, axes), folder, "encoder")
    _decoder(model, folder, steps=STEPS)
    return {"task": "translation", "graphs": ["encoder", "decoder"], **_settings(model)}


def _captioning(model: CaptioningModel, folder: Path) -> dict[str, Any]:
    if not isinstance(model.encoder, ImageEncoder):
        raise UsageError("A captioning model of features is not exported; one of pictures is.")
    _write_subwords(folder / "vocabulary.json", model.vocabulary)
    side = model.image_size
    images = torch.zeros(ROWS, 3, side, side, dtype=torch.uint8)
    memory, state = _names_of(model)
    proto = graph_of(Looking(model), (images,), ({0: "batch"},), ["images"], [*memory, *state])
    _save(proto, folder, "encoder")
    _decoder(model, folder, steps=STEPS)
    height, width = model.encoder.grid(side, side)
    extra = {"max_length": model.max_length, "grid": [height, width]}
    said = _settings(model)
    said["settings"] |= extra
    return {"task": "captioning", "graphs": ["encoder", "decoder"], **said}


def _settings(model: EncoderDecoder) -> dict[str, Any]:
    return {
        "kind": model.vocabulary.kind,
        "settings": {"beam_size": model.beam_size, "length_penalty": model.length_penalty},
    }


def _example_state(model: EncoderDecoder) -> DecoderState:
    decoder = model.decoder
    size = decoder.bridge.in_features if decoder.bridge is not None else 1
    return decoder.initial_state(Memory(torch.zeros(ROWS, STEPS, size)))


def _names_of(model: EncoderDecoder) -> tuple[list[str], list[str]]:
    """Return the names of what a decoder reads of the memory, and of the state it begins with."""
    decoder = model.decoder
    memory = [] if decoder.attention is None else ["memory_keys", "memory_values", "memory_bias"]
    state = names(decoder.core.initial_state(1), "state")
    return memory, [*state, *(["state_feed"] if decoder.input_feeding else [])]


def _decoder(model: EncoderDecoder, folder: Path, *, steps: int) -> None:
    """Write the decoder's step."""
    decoder = model.decoder
    memory, state = _names_of(model)
    held = carried(decoder, _example_state(model))
    before = [leaf.unsqueeze(1).repeat(1, WIDTH, *[1] * (leaf.dim() - 1)) for leaf in held]
    tokens = torch.ones(ROWS, WIDTH, dtype=torch.int64)
    prepared: list[Tensor] = []
    if decoder.attention is not None:
        values = torch.zeros(ROWS, steps, decoder.attention.memory_size)
        prepared = leaves(decoder.prepare(Memory(values)))
    beams, places = {0: "batch", 1: "beams"}, {0: "batch", 1: "places"}
    after = [name.replace("state", "next", 1) for name in state]
    proto = graph_of(
        DecoderStep(decoder),
        (before, tokens, prepared),
        ([beams] * len(before), beams, [places] * len(prepared)),
        [*state, "tokens", *memory],
        [*after, "logits", *(["attention"] if prepared else [])],
    )
    _save(proto, folder, "decoder")


def _write_subwords(path: Path, vocabulary: Subwords) -> None:
    """Write a vocabulary of subwords in the form of the `tokenizers` library."""
    _write_json(path, json.loads(vocabulary.to_spec()["tokenizer"]))


def _write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    path.write_text(f"{text}\n", encoding="utf-8")


def _save(proto: Any, folder: Path, name: str) -> None:
    (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
