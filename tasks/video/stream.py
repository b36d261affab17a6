"""A video that is labelled while it comes.

Shapes: D features of a frame, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .frames import FrameLike
from .labels import FrameLabel

if TYPE_CHECKING:
    from .model import VideoModel


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

    def __init__(self, model: VideoModel) -> None:
        if not model.causal:
            raise ValueError(
                f"{type(model.core).__name__} is not causal: it reads the frames to come, so it "
                "can't label a stream; train with a core that reads forwards only, or label whole "
                "videos"
            )
        self.model = model.eval()
        self._step = model.stepper()
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
        x = self.model.features(self.model.read(frame)[None].to(self.model.device))  # (1, D)
        # not before: a refused frame has no label to repeat
        self._waiting = self.model.spec["stride"] - 1
        logits, self.state = self._step(x, self.state)  # (1, C)
        scores = self.model.probabilities(logits[0])  # (C,)
        if self.model.thresholds is not None:
            self._label = self.model.named(scores, scores >= self.model.thresholds)
            return self._label
        probability, number = scores.max(-1)
        self._label = FrameLabel(self.model.classes[int(number)], float(probability))
        return self._label
