"""Exported folders as models: onnxruntime computes, everything else is the trained model's own.

What a folder's model says is what the checkpoint's would, and it is used in the same way.

Shapes: B rows, T steps, V symbols or classes; R rows of a memory, k hypotheses of each.
"""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...checkpoints import EXPORTED
from ...core.seq2seq.attention import Prepared
from ...core.seq2seq.decoder import Decoded, DecoderState
from ...core.seq2seq.encoder import Memory
from ...core.seq2seq.sampling import Step
from ...core.seq2seq.shortlist import Allowed
from ...core.state import State, leaves, map_state
from ...data.tokenizer import Subwords
from ...data.vocabulary import vocabulary_from_spec
from ...errors import DataError, SetupError, UsageError, quoted
from ...tasks.captioning.model import CaptioningModel
from ...tasks.char_lm.model import CharModel
from ...tasks.model import Model
from ...tasks.translation.model import TranslationModel
from ...tasks.video.frames import FrameLike, as_input
from ...tasks.video.model import VideoModel
from .described import check
from .sessions import Graph, read_json
from .vocabularies import symbols_of


def open_folder(folder: Path) -> Model:
    """Return the model of an exported folder.

    Args:
        folder: What `unrolled export` wrote.

    Raises:
        DataError: It is none, or parts are missing.
        SetupError: onnxruntime is not installed.
        UsageError: It holds programs of torch.
    """
    description = read_json(folder / EXPORTED)
    kinds: dict[str, Any] = {
        "char_lm": ExportedCharModel,
        "translation": ExportedTranslation,
        "captioning": ExportedCaptioning,
        "video": ExportedVideo,
    }
    if isinstance(description, dict) and description.get("format") == "unrolled torch":
        raise UsageError(
            f"'{folder}' holds programs of torch.export, which commands don't run: they could do "
            "anything.\nIts README.md runs them; or take the checkpoint, or `export --format onnx`."
        )
    task = description.get("task") if isinstance(description, dict) else None
    if not isinstance(task, str) or task not in kinds:
        raise DataError(f"'{folder / EXPORTED}' describes no exported model.")
    try:
        check(task, description)
        model: Model = kinds[task](folder, description)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RuntimeError) as error:
        if isinstance(error, DataError | SetupError):
            raise
        lacking = "it lacks " if isinstance(error, KeyError) else ""
        raise DataError(
            f"'{folder / EXPORTED}' is not as `unrolled export` writes it: "
            f"{lacking}{quoted(str(error), 100)}."
        ) from error
    return model.eval()


def _subwords(path: Path, kind: str) -> Subwords:
    return Subwords.from_spec({"kind": cast("Any", kind), "tokenizer": json.dumps(read_json(path))})


class GraphCore(nn.Module):
    """What models ask of a core, of graphs that have the layers around it in them too.

    Args:
        folder: The exported folder; it has `step.onnx`, `sequence.onnx` and `start.json`, the first
            and the last where the core is causal.
        size: V, the symbols or classes that it tells apart.
        causal: Whether it is.
    """

    def __init__(self, folder: Path, size: int, *, causal: bool = True) -> None:
        super().__init__()
        self.causal = causal
        self._sequence = Graph(folder / "sequence.onnx", size)
        if causal:
            self._step = Graph(folder / "step.onnx", size)
            start = read_json(folder / "start.json")
            names = [name for name in self._step.inputs if name != "input"]
            self._start = tuple(torch.tensor(start[name], dtype=torch.float32) for name in names)
            fields = (name.removeprefix("state").removeprefix("_") for name in names)
            called = [f"layer_{name}" if name[:1].isdigit() else name for name in fields]
            made: Any = namedtuple  # whose fields are known now only
            self._made = made("GraphState", called, rename=True)._make

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first step."""
        return cast(
            "State",
            self._made(leaf.repeat(batch_size, *[1] * (leaf.dim() - 1)) for leaf in self._start),
        )

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Return logits (B, V) of inputs (B, ...), and the state after them."""
        *after, logits = self._step(*leaves(state), input)
        return logits, self._made(after)

    def whole(self, input: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Return logits (B, T, V) of rows (B, T, ...), and the state after them."""
        if not self.causal:
            lengths = torch.full((len(input),), input.shape[1])
            return self._sequence(input, lengths)[0], ()
        before = self.initial_state(len(input)) if state is None else state
        *after, logits = self._sequence(*leaves(before), input)
        return logits, self._made(after)


class _Exported:
    """What models without parameters of torch have in common."""

    @property
    def device(self) -> torch.device:
        """Where tensors are."""
        return torch.device("cpu")


class ExportedCharModel(_Exported, CharModel):
    """A language model in onnxruntime.

    Args:
        folder: Where it is.
        description: What its `model.json` says.
    """

    def __init__(self, folder: Path, description: dict[str, Any]) -> None:
        kind, said = description["kind"], read_json(folder / "vocabulary.json")
        spec = {"vocabulary": {"kind": kind, "symbols": symbols_of(kind, said)}}
        Model.__init__(self, spec)
        self.vocabulary = vocabulary_from_spec(spec["vocabulary"])
        self.core = cast("Any", GraphCore(folder, self.vocabulary.size))

    @property
    def graphs(self) -> GraphCore:
        """The graphs, which have all layers in them."""
        return cast("GraphCore", self.core)

    def forward(
        self,
        input: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Predict the next character after every character; see `CharModel.forward`.

        Raises:
            ValueError: Rows start anew, which the graph knows nothing of.
        """
        if reset is not None:
            raise ValueError("an exported model reads rows without resets")
        if lengths is None or bool((lengths == input.shape[1]).all()):
            return self.graphs.whole(input, state)
        before = self.graphs.initial_state(len(input)) if state is None else state
        nothing = torch.zeros(1, 0, self.vocabulary.size)
        rows = [
            self.graphs.whole(input[row : row + 1, :length], _row(before, row))
            if length
            else (nothing, _row(before, row))
            for row, length in enumerate(lengths.tolist())
        ]
        padded = nn.utils.rnn.pad_sequence([logits[0] for logits, _ in rows], batch_first=True)
        after = map_state(lambda *parts: torch.cat(parts), *(state for _, state in rows))
        return padded, after  # (B, T, V)

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Predict the next character after one character; see `CharModel.step`."""
        return self.graphs.step(input, state)

    def last(
        self, input: Tensor, lengths: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Predict what follows each row; see `CharModel.last`."""
        logits, state = self(input, state, lengths=lengths)  # (B, T, V)
        return logits[torch.arange(len(input)), lengths - 1], state

    def stepper(self, forbidden: Sequence[int] = ()) -> Step:
        """Make `step` ready for many calls; see `CharModel.stepper`."""
        index = torch.tensor(list(forbidden), dtype=torch.int64)

        def step(input: Tensor, state: State) -> tuple[Tensor, State]:
            logits, state = self.graphs.step(input, state)
            return logits.index_fill_(1, index, -torch.inf), state

        return step


def _row(state: State, row: int) -> State:
    return map_state(lambda leaf: leaf[row : row + 1], state)


class ExportedVideo(_Exported, VideoModel):
    """A model that labels frames, in onnxruntime.

    Args:
        folder: Where it is.
        description: What its `model.json` says.
    """

    def __init__(self, folder: Path, description: dict[str, Any]) -> None:
        Model.__init__(self, description["spec"])
        settings = description["settings"]
        self.classes = self.spec["classes"]
        self.background = settings["background"]
        self.median, self.min_length = settings["median"], settings["min_length"]
        least = settings["thresholds"]
        if least is not None and len(least) != len(self.classes):
            raise ValueError(f"{len(least)} thresholds of {len(self.classes)} classes")
        self.multilabel = least is not None
        self.register_buffer("thresholds", None if least is None else torch.tensor(least))
        core = GraphCore(folder, len(self.classes), causal=settings["causal"])
        self.core = cast("Any", core)

    def features(self, input: Tensor) -> Tensor:
        """Return the frames themselves: the graph has the encoder in it."""
        return input

    def classify(
        self, features: Tensor, lengths: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        """Label the frames of one row; see `VideoModel.classify`."""
        if len(lengths) != 1:
            raise ValueError("an exported model labels one video at a time")
        logits, after = cast("GraphCore", self.core).whole(features.unsqueeze(0), state)
        return logits, after  # (1, T, C)

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Label one frame of each row; see `VideoModel.step`."""
        return cast("GraphCore", self.core).step(input, state)

    def stepper(self) -> Step:
        """Return `step`, which is ready."""
        return self.step

    def read(self, frame: FrameLike) -> Tensor:
        """Return a frame as the model reads it; see `VideoModel.read`."""
        return as_input(frame, self.spec, torch.float32)


class GraphDecoder(nn.Module):
    """What models ask of a decoder, of a graph of one step.

    The memory of an exported encoder has all that is needed in its state.

    Args:
        folder: The exported folder.
        size: V, the symbols that it writes with.
    """

    def __init__(self, folder: Path, size: int) -> None:
        super().__init__()
        self._step = Graph(folder / "decoder.onnx", size)
        self._memory = [name for name in self._step.inputs if name.startswith("memory")]
        self.attention = "attention" in self._step.outputs or None
        self.head = nn.Identity()

    def prepare(self, memory: Memory) -> State:
        """Return what every step needs: see `SequenceDecoder.prepare`."""
        return memory.state[0]

    def initial_state(self, memory: Memory) -> State:
        """Return the state before the first symbol, tensors (R, ...)."""
        return memory.state[1]

    def searcher(self, prepared: State, allowed: Allowed | None = None) -> tuple[Any, State]:
        """Return the step, and what to give it for `prepared`: see `SequenceDecoder.searcher`.

        Args:
            prepared: What `prepare` returned.
            allowed: None: a graph's head knows all symbols.
        """
        assert allowed is None  # an exported model has no shortlist
        return lambda tokens, state, prepared: self._run(tokens, state, prepared)[:2], prepared

    def _run(
        self, tokens: Tensor, state: State, prepared: State
    ) -> tuple[Tensor, State, list[Tensor]]:
        rows = leaves(prepared)[0].shape[0] if leaves(prepared) else len(tokens)
        shape = (rows, len(tokens) // max(rows, 1))  # (R, k)
        before = [leaf.unflatten(0, shape) for leaf in leaves(state)]
        found = self._step(*before, tokens.view(shape), *leaves(prepared))
        after = tuple(leaf.flatten(0, 1) for leaf in found[: len(before)])
        return found[len(before)].flatten(0, 1), after, found[len(before) + 1 :]

    def forward(
        self, tokens: Tensor, prepared: State, state: State, *, sampling: float = 0.0
    ) -> Decoded:
        """Read known targets; the output is logits, which `head` leaves as they are."""
        outputs, weights = [], []
        for token in tokens.unbind(1):
            logits, state, seen = self._run(token, state, prepared)
            outputs.append(logits)
            weights += seen
        output = torch.stack(outputs, 1)  # (B, T, V)
        attention = torch.cat(weights, 1) if weights else output[..., :0]  # (B, T, S)
        return Decoded(output, attention, cast("DecoderState", state))


class GraphMemory(Memory):
    """What an exported encoder found; its state is all that the decoder needs."""

    def row(self, number: int) -> GraphMemory:
        """Return one row by itself; see `Memory.row`."""
        length = None if self.lengths is None else int(self.lengths[number])
        prepared, state = cast("tuple[State, State]", self.state)
        one = map_state(lambda leaf: leaf[number : number + 1, :length], prepared)
        return GraphMemory(self.output[number : number + 1], None, (one, _row(state, number)))


class GraphEncoder(nn.Module):
    """An encoder's graph, which makes all that the decoder needs.

    Args:
        folder: The exported folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._graph = Graph(folder / "encoder.onnx")

    def forward(self, *given: Tensor) -> Memory:
        """Read inputs; the lengths come second where there are any."""
        found = dict(zip(self._graph.outputs, self._graph(*given), strict=True))
        kept = [value for name, value in found.items() if name.startswith("memory")]
        prepared: State = Prepared(*kept) if kept else ()
        states = [value for name, value in found.items() if name.startswith("state")]
        state = tuple(value.squeeze(1) for value in states)
        output = found.get("memory_values", states[0])  # (R, S, M)
        return GraphMemory(output, given[1] if len(given) > 1 else None, (prepared, state))


class ExportedTranslation(_Exported, TranslationModel):
    """A translation model in onnxruntime.

    Args:
        folder: Where it is.
        description: What its `model.json` says.
    """

    def __init__(self, folder: Path, description: dict[str, Any]) -> None:
        Model.__init__(self, description["spec"])
        self.source = _subwords(folder / "source.json", description["kind"])
        self.target = self.vocabulary = _subwords(folder / "target.json", description["kind"])
        self.beam_size = description["settings"]["beam_size"]
        self.length_penalty = description["settings"]["length_penalty"]
        self.encoder = cast("Any", GraphEncoder(folder))
        self.decoder = cast("Any", GraphDecoder(folder, self.vocabulary.size))


class ExportedCaptioning(_Exported, CaptioningModel):
    """A captioning model in onnxruntime.

    Args:
        folder: Where it is.
        description: What its `model.json` says.
    """

    def __init__(self, folder: Path, description: dict[str, Any]) -> None:
        Model.__init__(self, description["spec"])
        settings = description["settings"]
        self.vocabulary = _subwords(folder / "vocabulary.json", description["kind"])
        self.image_size, self.feature_size = self.spec["image_size"], 0  # of pictures only
        self.max_length = settings["max_length"]
        self.beam_size, self.length_penalty = settings["beam_size"], settings["length_penalty"]
        self._grid = settings["grid"]  # instead of what the backbone would say
        self.grid_shift = float(settings.get("grid_shift", 0))
        self.encoder = cast("Any", GraphEncoder(folder))
        self.decoder = cast("Any", GraphDecoder(folder, self.vocabulary.size))
