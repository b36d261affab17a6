"""Two exported folders of one model side by side: size, speed, and how far they agree.

No data are needed: the first model writes the text by which both are judged. Frames and pictures
are noise, which is harder than what a model was trained on.

Shapes: B rows, T steps, V symbols or classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...core.seq2seq.sampling import choose
from ...core.state import State
from ...data.batch import padded
from ...data.tokenizer import Subwords
from ...errors import UsageError, a
from ...tasks.sequence_model import EncoderDecoder, with_end
from .running import (
    ExportedCaptioning,
    ExportedCharModel,
    ExportedTranslation,
    ExportedVideo,
    open_folder,
)

_STEPS, _ROWS, _REPEATS = 1000, 16, 5


class Measured(NamedTuple):
    """What there is to say about one of two folders.

    Attributes:
        megabytes: Size of its graphs.
        microseconds: Time of one step of one row.
        nats: Mean cross-entropy of what the first of both wrote; of frames, of its labels.
        agreement: Fraction of steps at which the most probable symbol is the first's.
    """

    megabytes: float
    microseconds: float
    nats: float
    agreement: float


@torch.inference_mode()
def compared(before: Path, after: Path) -> tuple[Measured, Measured]:
    """Measure two folders of one model.

    Args:
        before: The one that is taken for right.
        after: The other.
    """
    models = open_folder(before), open_folder(after)
    generator = torch.Generator().manual_seed(0)
    steps, logits, target = _judged(models[0], models[1], generator)
    times = [float("inf")] * 2
    for _ in range(_REPEATS):  # in turn: the machine may be busy with something else
        for place, step in enumerate(steps):
            begin = time.perf_counter()
            for _ in range(20):
                step()
            times[place] = min(times[place], (time.perf_counter() - begin) / 20)
    best = logits[0].argmax(-1)
    first, second = (
        Measured(
            sum(path.stat().st_size for path in folder.glob("*.onnx")) / 1e6,
            1e6 * seconds,
            float(torch.nn.functional.cross_entropy(found, target)),
            float((found.argmax(-1) == best).float().mean()),
        )
        for folder, seconds, found in zip((before, after), times, logits, strict=True)
    )
    return first, second


_Judged = tuple[list[Callable[[], Any]], list[Tensor], Tensor]


def _judged(first: Any, second: Any, generator: torch.Generator) -> _Judged:
    """Return each one's step, their logits (N, V), and what the first would say (N,)."""
    models = [first, second]
    if isinstance(first, ExportedCharModel):
        symbols = _written(first, generator)  # (1, T)
        input = torch.cat((symbols.new_full((1, 1), first.vocabulary.END), symbols[:, :-1]), 1)
        steps = [_step(model, input[:, 0]) for model in models]
        return steps, [model(input)[0][0] for model in models], symbols[0]
    if isinstance(first, ExportedVideo):
        side, size = first.spec["image_size"], first.spec["feature_size"]
        if size:
            frames = torch.randn(1, _STEPS, size, generator=generator)
        else:
            shape = (1, _ROWS, 3, side, side)
            frames = torch.randint(256, shape, generator=generator).to(torch.uint8)
        logits = [model.core.whole(frames, None)[0][0] for model in models]
        if first.causal:
            steps = [_step(model, frames[:, 0]) for model in models]
        else:
            steps = [_run(model, frames) for model in models]
        return steps, logits, logits[0].argmax(-1)
    inputs = _inputs(first, generator)
    memories = [model.read(inputs) for model in models]
    rows = [with_end(found[0]) for found in first.search(memories[0], max_length=30, beam_size=1)]
    target, lengths = padded(rows)  # (B, T)
    valid = torch.arange(target.shape[1]) < lengths.unsqueeze(1)
    logits = [
        model.decode(memory, target).output[valid]
        for model, memory in zip(models, memories, strict=True)
    ]
    steps = [_decoder_step(model, inputs[:1]) for model in models]
    return steps, logits, target[valid]


def _inputs(model: EncoderDecoder, generator: torch.Generator) -> Any:
    """Return what an encoder reads: subwords by chance, or pictures of noise."""
    if isinstance(model, ExportedTranslation):
        shape = (_ROWS, 12)
        ids = torch.randint(Subwords.UNKNOWN + 1, model.source.size, shape, generator=generator)
        return ids.tolist()
    if isinstance(model, ExportedCaptioning):
        side = model.image_size
        pictures = torch.randint(256, (_ROWS, 3, side, side), generator=generator)
        return list(pictures.to(torch.uint8))
    raise UsageError(f"There is nothing to compare {a(type(model))} by.")


def _written(model: ExportedCharModel, generator: torch.Generator) -> Tensor:
    """Return symbols (1, T) that a model draws."""
    state: State = model.graphs.initial_state(1)
    step, symbol, drawn = model.stepper(), torch.tensor([model.vocabulary.END]), []
    for _ in range(_STEPS):
        logits, state = step(symbol, state)
        symbol = choose(logits, generator=generator)
        drawn.append(symbol)
    return torch.stack(drawn, 1)


def _step(model: Any, input: Tensor) -> Callable[[], Any]:
    step, state = model.stepper(), _graphs(model).initial_state(1)
    return lambda: step(input, state)


def _graphs(model: Any) -> Any:
    return model.graphs if isinstance(model, ExportedCharModel) else model.core


def _run(model: ExportedVideo, frames: Tensor) -> Callable[[], Any]:
    core: Any = model.core
    return lambda: core.whole(frames, None)


def _decoder_step(model: Any, inputs: Any) -> Callable[[], Any]:
    prepared, state = model.read(inputs).state
    step, prepared = model.decoder.searcher(prepared)
    token = torch.tensor([Subwords.START])
    return lambda: step(token, state, prepared)
