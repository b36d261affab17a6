"""The parts of a model as ONNX graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.state import leaves
from ...data.tokenizer import Subwords
from ...tasks.captioning.model import CaptioningModel
from ...tasks.sequence_model import EncoderDecoder
from ...tasks.translation.model import TranslationModel
from .examples import ROWS, STEPS, decoder_example, names_of
from .graphs import Assembly, graph_of
from .modules import Begin, DecoderStep, Frames, Looking, ModelStep, names


class OnnxFiles:
    """Writes graphs for onnxruntime.

    Args:
        folder: Where to.
    """

    form = "onnx"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stream(self, model: Any, inputs: Tensor) -> None:
        """Write a step, and a loop of it over a sequence; see `Files`."""
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
        self._save(proto, "step")
        both = {0: "batch", 1: "time"}
        named = {name: (leaf, rows) for name, leaf in zip(before, examples, strict=True)}
        assembly = Assembly({**named, "input": (inputs, both)})
        last, logits = assembly.scan(step, before, ["input"], graph=proto)
        outputs = dict(zip(after, last, strict=True)) | {"logits": logits}
        self._save(assembly.model(outputs, {"logits": both}), "sequence")

    def labels(self, model: Any, frames: Tensor) -> None:
        """Write a sequence that is read both ways, rows of some lengths; see `Files`."""
        rows, lengths = {0: "batch", 1: "time"}, torch.tensor([STEPS, 1, 2])
        assembly = Assembly({"input": (frames, rows), "lengths": (lengths, {0: "batch"})})
        (x,) = assembly.add(Frames(model), "input")
        output = assembly.run(model.core, x, assembly.valid(x, "lengths"))
        (logits,) = assembly.add(model.head, output)
        self._save(assembly.model({"logits": logits}, {"logits": rows}), "sequence")

    def sentences(self, model: TranslationModel) -> None:
        """Write the encoder of sentences of some lengths; see `Files`."""
        rows = {0: "batch", 1: "time"}
        tokens, lengths = torch.full((ROWS, STEPS), Subwords.END), torch.tensor([STEPS, 1, 2])
        assembly = Assembly({"tokens": (tokens, rows), "lengths": (lengths, {0: "batch"})})
        x = assembly.looked_up(model.encoder.embedding.weight, "tokens")
        output = assembly.run(model.encoder.core, x, assembly.valid(x, "lengths"))
        found = assembly.add(Begin(model.decoder), output, "lengths")
        memory, state = names_of(model)
        outputs = dict(zip([*memory, *state], found, strict=True))
        self._save(assembly.model(outputs, dict.fromkeys(memory, rows)), "encoder")

    def images(self, model: CaptioningModel, images: Tensor) -> None:
        """Write the encoder of images; see `Files`."""
        memory, state = names_of(model)
        proto = graph_of(Looking(model), (images,), ({0: "batch"},), ["images"], [*memory, *state])
        self._save(proto, "encoder")

    def decoder(self, model: EncoderDecoder) -> None:
        """Write the decoder's step; see `Files`."""
        memory, state = names_of(model)
        before, tokens, prepared = decoder_example(model)
        beams, places = {0: "batch", 1: "beams"}, {0: "batch", 1: "places"}
        after = [name.replace("state", "next", 1) for name in state]
        proto = graph_of(
            DecoderStep(model.decoder),
            (before, tokens, prepared),
            ([beams] * len(before), beams, [places] * len(prepared)),
            [*state, "tokens", *memory],
            [*after, "logits", *(["attention"] if prepared else [])],
        )
        self._save(proto, "decoder")

    def _save(self, proto: Any, name: str) -> None:
        (self.folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
