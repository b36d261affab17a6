"""The parts of a model as programs of `torch.export`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...core.state import leaves
from ...data.tokenizer import Subwords
from ...errors import UsageError
from ...tasks.captioning.model import CaptioningModel
from ...tasks.char_lm.model import CharModel
from ...tasks.sequence_model import EncoderDecoder
from ...tasks.translation.model import TranslationModel
from .examples import ROWS, STEPS, decoder_example
from .modules import DecoderStep, Frames, Looking, ModelSequence, ModelStep, SentenceReader


class TorchFiles:
    """Writes programs that torch runs.

    All rows of a batch have one length: a program can't cut where the lengths say.

    Args:
        folder: Where to.
    """

    form = "torch"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stream(self, model: Any, inputs: Tensor) -> None:
        """Write a step and a sequence; see `Files`."""
        state = [leaf.detach() for leaf in leaves(model.core.initial_state(ROWS))]
        rows, both = {0: "batch"}, {0: "batch", 1: "time"}
        each = [rows] * len(state)
        self._save("step", ModelStep(model), (state, inputs[:, 0]), (each, rows))
        reading = _reading(model)
        sequence = ModelSequence(reading, model.core, model.head)
        self._save("sequence", sequence, (state, inputs), (each, both))

    def labels(self, model: Any, frames: Tensor) -> None:
        """Write a sequence that is read both ways; see `Files`."""
        sequence = ModelSequence(Frames(model), model.core, model.head)
        self._save("sequence", sequence, ([], frames), ([], {0: "batch", 1: "time"}))

    def sentences(self, model: TranslationModel) -> None:
        """Write the encoder of sentences; see `Files`."""
        tokens = torch.full((ROWS, STEPS), Subwords.END)
        self._save("encoder", SentenceReader(model), (tokens,), ({0: "batch", 1: "time"},))

    def images(self, model: CaptioningModel, images: Tensor) -> None:
        """Write the encoder of images; see `Files`."""
        self._save("encoder", Looking(model), (images,), ({0: "batch"},))

    def decoder(self, model: EncoderDecoder) -> None:
        """Write the decoder's step; see `Files`."""
        before, tokens, prepared = decoder_example(model)
        beams, places = {0: "batch", 1: "beams"}, {0: "batch", 1: "places"}
        axes = ([beams] * len(before), beams, [places] * len(prepared))
        self._save("decoder", DecoderStep(model.decoder), (before, tokens, prepared), axes)

    def _save(self, name: str, module: nn.Module, given: tuple[Any, ...], axes: Any) -> None:
        dims: dict[str, Any] = {}

        def dimensions(part: Any) -> Any:
            if isinstance(part, dict):
                return {
                    axis: dims.setdefault(name, torch.export.Dim(name))
                    for axis, name in part.items()
                }
            return type(part)(map(dimensions, part))

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch's own older parts
                program = torch.export.export(
                    module.eval(), given, dynamic_shapes=dimensions(axes), strict=False
                )
                _forget_places(program.graph_module)
                torch.export.save(program, self.folder / f"{name}.pt2")
        except Exception as error:  # a program is made by many passes, which raise anything
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise UsageError(
                f"torch {torch.__version__} can't make a program of {type(module).__name__}: "
                f"{lines[0][:200] if lines else type(error).__name__}"
            ) from error


def _forget_places(graphs: nn.Module) -> None:
    """Leave out where in the source each node came from: that has paths of this machine."""
    for graph in graphs.modules():
        if isinstance(graph, torch.fx.GraphModule):
            for node in graph.graph.nodes:
                node.meta.pop("stack_trace", None)


def _reading(model: Any) -> nn.Module:
    """Return what makes the core's input (B, T, D) of a stream's."""
    return model.embedding if isinstance(model, CharModel) else Frames(model)
