"""Frames that come one after the other, and their labels.

Shapes: H, W a picture's height and width, S the side of the model's square pictures, D features, C
classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...core.state import State
from .postprocess import label_video

if TYPE_CHECKING:
    from .task import VideoLabelling

FrameLike: TypeAlias = Any
"""A picture: numpy (H, W, 3) uint8, a PIL image, a tensor (3, H, W) uint8. For models of features: (D,) numbers."""


class FrameLabel(NamedTuple):
    """What a frame shows.

    Attributes:
        name: The class.
        probability: Its probability.
    """

    name: str
    probability: float


class VideoStream:
    """Labels frames as they come: one frame in, one label out, a state that never grows.

    The labels are those of the whole video at once. Give it every frame of the source: of a model
    with a stride it reads one of so many, and repeats the label for those in between, which it
    doesn't look at.

    Args:
        model: A model whose core is causal.

    Raises:
        ValueError: The model's core is not causal.
    """

    def __init__(self, model: VideoLabelling) -> None:
        if not model.causal:
            raise ValueError(
                f"{type(model.core).__name__} is not causal: it reads the frames to come, so it can't label a stream; "
                "train with a core that reads forwards only, or label whole videos"
            )
        self.model = model.eval()
        self._step: Callable[[Tensor, State], tuple[Tensor, State]] = model.core.stepper()
        self._weight, self._bias = model.head.weight.t(), model.head.bias
        self.reset()

    def reset(self) -> None:
        """Start a new video."""
        self.state = self.model.core.initial_state(1)
        self._waiting = 0
        self._label = FrameLabel("", 0.0)

    @torch.inference_mode()
    def __call__(self, frame: FrameLike) -> FrameLabel:
        """Label the next frame.

        Args:
            frame: See `FrameLike`.

        Raises:
            ValueError: It is no such frame.
        """
        if self._waiting:
            self._waiting -= 1
            return self._label
        x = self.model.features(as_input(frame, self.model)[None].to(self.model.device))
        # not before: a refused frame has no label to repeat
        self._waiting = self.model.spec["stride"] - 1
        output, self.state = self._step(x, self.state)
        probability, number = torch.addmm(self._bias, output, self._weight).softmax(-1)[0].max(-1)
        self._label = FrameLabel(self.model.classes[int(number)], float(probability))
        return self._label


@torch.inference_mode()
def label_frames(
    model: VideoLabelling, frames: Iterable[FrameLike], *, chunk: int = 64
) -> Iterator[FrameLabel]:
    """Label the frames of a video; see `VideoLabelling.label_frames`.

    Args:
        model: The model.
        frames: The frames.
        chunk: How many frames are read at a time.
    """
    if chunk < 1:
        raise ValueError(f"chunk={chunk}: must be at least 1")
    model.eval()
    whole = not model.causal or model.postprocesses
    state: State | None = None
    collected: list[Tensor] = []
    given: list[int] = []  # frames of the source that each chunk stands for
    for inputs, count in _chunks(model, frames, chunk):
        features = model.features(inputs.to(model.device))
        if whole:
            collected.append(features)
            given.append(count)
            continue
        logits, state = model.run_core(features, torch.tensor([len(features)]), state)
        yield from _labels(model, logits[0].softmax(-1), count)
    if collected:
        features = torch.cat(collected)
        logits, _ = model.run_core(features, torch.tensor([len(features)]), None)
        yield from _labels(model, logits[0].softmax(-1), sum(given))


def _chunks(
    model: VideoLabelling, frames: Iterable[FrameLike], chunk: int
) -> Iterator[tuple[Tensor, int]]:
    """Yield the inputs of up to `chunk` read frames, and how many frames of the source they stand for."""
    stride = model.spec["stride"]
    inputs: list[Tensor] = []
    count = 0
    for number, frame in enumerate(frames):
        if number % stride == 0:
            if len(inputs) == chunk:
                yield torch.stack(inputs), count
                inputs, count = [], 0
            inputs.append(as_input(frame, model))
        count += 1
    if inputs:
        yield torch.stack(inputs), count


def _labels(model: VideoLabelling, scores: Tensor, count: int) -> Iterator[FrameLabel]:
    scores = scores.cpu().repeat_interleave(model.spec["stride"], 0)[:count]
    labels = label_video(scores, median=model.median, min_length=model.min_length)
    for number, probability in zip(
        labels.tolist(), scores.gather(1, labels[:, None])[:, 0].tolist(), strict=True
    ):
        yield FrameLabel(model.classes[number], probability)


def as_input(frame: FrameLike, model: VideoLabelling) -> Tensor:
    """Turn a frame into what the model reads.

    Args:
        frame: See `FrameLike`. A picture of another size is stretched to the model's square, as
            files are read.
        model: The model.

    Returns:
        (3, S, S) uint8, or (D,) of the model's type.

    Raises:
        ValueError: It is no such frame.
    """
    size = model.spec["feature_size"]
    if size:
        try:
            features = torch.as_tensor(frame, dtype=model.head.weight.dtype)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"a frame is no numbers ({error}); this model reads ({size},) features"
            ) from error
        if features.shape != (size,):
            raise ValueError(
                f"a frame has the shape {tuple(features.shape)}; this model reads ({size},) features"
            )
        # one pass over them; a stream has no time for two
        if not math.isfinite(features.sum().item()):
            raise ValueError(
                "a frame has a feature that is not finite (NaN, infinity); the state would never recover"
            )
        return features
    if hasattr(frame, "convert"):  # a PIL image of any kind
        frame = np.array(frame.convert("RGB"))
    if isinstance(frame, np.ndarray):
        found = f"numpy {frame.dtype} {frame.shape}"
        # torch knows neither mirrored nor read-only arrays
        frame = np.require(frame, requirements=["C", "W"])
        picture = torch.from_numpy(frame).movedim(-1, 0) if frame.ndim == 3 else None
    else:
        found = f"{type(frame).__name__} {getattr(frame, 'dtype', '')} {tuple(getattr(frame, 'shape', ()))}"
        picture = frame if isinstance(frame, Tensor) and frame.dim() == 3 else None
    if (
        picture is None
        or picture.dtype != torch.uint8
        or picture.shape[0] != 3
        or not picture.numel()
    ):
        raise ValueError(
            f"a frame is {found}; this model reads pictures: numpy (H, W, 3) uint8, a tensor (3, H, W) uint8, "
            "or a PIL image"
        )
    side = model.spec["image_size"]
    if picture.shape[1:] != (side, side):
        picture = functional.interpolate(
            picture[None], (side, side), mode="bilinear", antialias=True
        )[0]
    return picture
