"""A network that labels every frame of a video, at once or as the frames come.

Shapes: B rows, T frames of the longest, N valid frames of all, D features, H output, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Self, TypeAlias

import torch
from torch import Tensor, nn

from ...core import GRU
from ...core.ensemble import EnsembleCore, EnsembleFeatures, EnsembleHead
from ...core.recurrent import CoreFactory
from ...core.seq2seq.sampling import Step
from ...core.state import State
from ...data.spec import VideoSpec
from ..model import Model, check_sizes, infers
from .frames import FrameLike, as_input
from .labels import FrameLabel, FrameLabels
from .postprocess import label_several, label_video

EncoderFactory: TypeAlias = Callable[[], nn.Module]
"""Makes what turns pictures (N, 3, H, W) uint8 into features (N, D), with D as `output_size`."""


class VideoModel(Model):
    """Frames in, a distribution over the classes out for every frame.

    Args:
        spec: What the data module found out about the videos.
        core: Makes the recurrent core from the size of its input.
        encoder: Makes the encoder of pictures, a `FrameEncoder`; null for features.
        projection_size: This and what follows `VideoLabelling` describes, which trains the model.
        input_noise: See `VideoLabelling`.
        input_dropout: See `VideoLabelling`.
        output_dropout: See `VideoLabelling`.
        multilabel: See `VideoLabelling`.
        background: See `VideoLabelling`.
        median: See `VideoLabelling`.
        min_length: See `VideoLabelling`.

    Raises:
        ValueError: Encoder and spec don't fit, or a setting is out of its range.

    Examples:
        >>> spec = dict(classes=["a", "b"], background=[], feature_size=16, image_size=0, stride=1)
        >>> len(VideoModel(spec).label(torch.randn(4, 16)))  # a label for each frame
        4
    """

    symbol_rows: ClassVar = dict.fromkeys(("head.weight", "head.bias"), "classes")
    spec: VideoSpec
    shared_by_members: ClassVar = {
        "classes": "the classes",
        "feature_size": "the size of the features",
        "image_size": "the size of the pictures",
        "stride": "the stride",
        "pose": "how features are made of poses",
        "multilabel": "whether a frame may have several labels",
    }
    feature_mean: Tensor | None
    feature_deviation: Tensor | None
    thresholds: Tensor | None

    def __init__(
        self,
        spec: VideoSpec,
        core: CoreFactory = lambda input_size: GRU(input_size, hidden_size=256),
        *,
        encoder: EncoderFactory | None = None,
        projection_size: int = 0,
        input_noise: float = 0.0,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        multilabel: bool = False,
        background: list[str] | None = None,
        median: int = 1,
        min_length: int = 1,
    ) -> None:
        super().__init__(spec)
        self.classes = spec["classes"]
        if not all(isinstance(name, str) for name in self.classes):
            raise ValueError(f"classes={self.classes!r:.100}: all must be names")
        self.background = spec["background"] if background is None else background
        if spec["feature_size"] and encoder is not None:
            raise ValueError(
                "these videos are features already: leave the encoder out (--model.encoder null)"
            )
        if not spec["feature_size"] and encoder is None:
            raise ValueError(
                "these videos are pictures: give an encoder, as --model.encoder FrameEncoder"
            )
        sides = {name: spec.get(name, 0) for name in ("image_size", "feature_size")}
        check_sizes(0, projection_size=projection_size, **sides)
        check_sizes(min_length=min_length, median=median, stride=spec.get("stride", 1))
        if median % 2 == 0:
            raise ValueError(f"median={median}: must be an odd number of frames")
        if unknown := [name for name in self.background if name not in self.classes]:
            known = ", ".join(self.classes)
            raise ValueError(f"background={unknown}: no such classes; there are {known}")
        self.encoder = None if encoder is None else encoder()
        size = spec["feature_size"]
        if self.encoder is not None:
            size = int(self.encoder.output_size)  # type: ignore[arg-type]
        mean, deviation = spec.get("feature_mean"), spec.get("feature_deviation")
        for name, values in (("feature_mean", mean), ("feature_deviation", deviation)):
            buffer = None if mean is None else torch.tensor(values)  # (D,)
            self.register_buffer(name, buffer, persistent=False)
        self.project: nn.Module = nn.Identity()
        if projection_size:
            self.project = nn.Sequential(
                nn.Linear(size, projection_size), nn.LayerNorm(projection_size), nn.ReLU()
            )
        self.input_noise = input_noise
        self.input_dropout = nn.Dropout(input_dropout)
        self.core = core(projection_size or size)
        self.output_dropout = nn.Dropout(output_dropout)
        self.head = nn.Linear(self.core.output_size, len(self.classes))
        self.multilabel = multilabel
        # the least probability at which a frame has a class (C,); validation finds them
        thresholds = torch.full((len(self.classes),), 0.5) if multilabel else None
        self.register_buffer("thresholds", thresholds)
        self.median = median
        self.min_length = min_length

    def join(self, members: Sequence[Self]) -> None:
        """Read with all members' cores; a frame's probabilities are the mean of theirs.

        Where it may have several labels, the thresholds are the mean of theirs as well.
        """
        # trained no more: who asks for a member's parts asks the member
        self.encoder = EnsembleFeatures([one.features for one in members], members)
        self.project = nn.Identity()
        self.core = EnsembleCore([one.core for one in members])  # type: ignore[assignment]
        heads = [one.head for one in members]
        self.head = EnsembleHead(heads, several=self.multilabel)  # type: ignore[assignment]
        limits = [one.thresholds for one in members if one.thresholds is not None]
        self.thresholds = torch.stack(limits).mean(0) if limits else None  # (C,)

    @property
    def causal(self) -> bool:
        """Whether a frame's label depends on no frame after it."""
        return self.core.causal

    @property
    def postprocesses(self) -> bool:
        """Whether labels are post-processed, for which a video has to be there as a whole."""
        return self.median > 1 or self.min_length > 1

    def features(self, input: Tensor) -> Tensor:
        """Return what the core reads of frames, each by itself.

        Args:
            input: Pictures (N, 3, H, W) uint8, or features (N, D).

        Returns:
            (N, D).
        """
        if self.encoder is not None:
            input = self.encoder(input)
        elif self.feature_mean is not None and self.feature_deviation is not None:
            input = (input - self.feature_mean) / self.feature_deviation
        if self.training and self.input_noise:
            input = input + self.input_noise * torch.randn_like(input)
        output: Tensor = self.project(self.input_dropout(input))  # (N, D)
        return output

    def classify(
        self, features: Tensor, lengths: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        """Label the frames of rows by their features.

        Args:
            features: Those of the valid frames, row after row (N, D).
            lengths: Frames of each row (B,) int64, on the CPU.
            state: The core's state before them; None: its initial state.

        Returns:
            Logits (B, T, C) and the core's state after them.
        """
        # Padding is made after the encoder: no padded frame is ever looked at.
        pieces = features.split(lengths.tolist())
        rows = nn.utils.rnn.pad_sequence(pieces, batch_first=True)  # (B, T, D)
        ragged = int(lengths.min()) < rows.shape[1]
        output, state = self.core(rows, state, lengths=lengths if ragged else None)  # (B, T, H)
        return self.head(self.output_dropout(output)), state  # (B, T, C)

    def forward(
        self, input: Tensor, lengths: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Label frames.

        Args:
            input: The valid frames, row after row: pictures (N, 3, H, W) uint8, or features (N, D).
            lengths: Frames of each row (B,) int64, on the CPU.
            state: The core's state before them; None: its initial state.

        Returns:
            Logits (B, T, C) and the core's state after them.
        """
        return self.classify(self.features(input), lengths, state)

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Label one frame of each row.

        Args:
            input: Pictures (B, 3, H, W) uint8, or features (B, D).
            state: The core's state before them.

        Returns:
            Logits (B, C) and the core's state after them.
        """
        output, state = self.core.step(self.features(input), state)  # (B, H)
        return self.head(output), state  # (B, C)

    def stepper(self) -> Step:
        """Return what labels features (B, D) of many frames, one after the other: logits (B, C)."""
        core_step = self.core.stepper()
        head: Callable[[Tensor], Tensor] = self.head
        if isinstance(self.head, nn.Linear):  # without a module's call: a stream has no time
            weight, bias = self.head.weight.t(), self.head.bias
            head = lambda output: torch.addmm(bias, output, weight)  # noqa: E731

        def step(features: Tensor, state: State) -> tuple[Tensor, State]:
            output, state = core_step(features, state)
            return head(output), state

        return step

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the classes' probabilities: they add up to 1 where a frame has one label.

        Args:
            logits: (..., C).
        """
        return logits.sigmoid() if self.multilabel else logits.softmax(-1)

    def named(self, scores: Tensor, there: Tensor) -> FrameLabels:
        """Return the labels of a frame that may have several.

        Args:
            scores: The classes' probabilities (C,).
            there: Which of them it has (C,) bool.
        """
        values = tuple(scores.tolist())
        chosen = [number for number, has in enumerate(there.tolist()) if has]
        names = tuple(self.classes[number] for number in chosen)
        least = min(values[number] for number in chosen) if chosen else 1 - max(values)
        label = FrameLabels(" + ".join(names), least)
        label.names, label.scores = names, values
        return label

    def read(self, frame: FrameLike) -> Tensor:
        """Return a frame as the model reads it, still on the CPU: (3, S, S) uint8, or (D,).

        Args:
            frame: See `FrameLike`.

        Raises:
            ValueError: It is no such frame.
        """
        return as_input(frame, self.spec, next(self.parameters()).dtype)

    def stream(self) -> VideoStream:
        """Return what labels frames as they come.

        `stream = model.stream()` once, then `label = stream(frame)` for every frame of the source.

        Raises:
            ValueError: The core is not causal.
        """
        return VideoStream(self)

    def label(self, frames: Iterable[FrameLike]) -> list[FrameLabel]:
        """Label the frames of a video.

        Args:
            frames: Every frame of the source, as for `stream`: also an array (T, H, W, 3) uint8, or
                features (T, D).
        """
        return list(self.label_frames(frames))

    @infers
    def label_frames(self, frames: Iterable[FrameLike], *, chunk: int = 64) -> Iterator[FrameLabel]:
        """Label the frames of a video, one label for each that is given.

        With a causal core and no post-processing labels come chunk by chunk, and memory does not
        grow. Otherwise the frames' features are collected, and the labels come at the end.

        Args:
            frames: Every frame of the source, as for `stream`.
            chunk: How many frames are read at a time.
        """
        if chunk < 1:
            raise ValueError(f"chunk={chunk}: must be at least 1")
        self.eval()
        whole = not self.causal or self.postprocesses
        state: State | None = None
        collected: list[Tensor] = []
        given: list[int] = []  # frames of the source that each chunk stands for
        for inputs, count in self._chunks(frames, chunk):
            features = self.features(inputs.to(self.device))  # (n, D)
            if whole:
                collected.append(features)
                given.append(count)
                continue
            logits, state = self.classify(features, torch.tensor([len(features)]), state)
            yield from self._labels(self.probabilities(logits[0]), count)
        if collected:
            features = torch.cat(collected)  # (N, D)
            logits, _ = self.classify(features, torch.tensor([len(features)]), None)
            yield from self._labels(self.probabilities(logits[0]), sum(given))

    def _chunks(self, frames: Iterable[FrameLike], chunk: int) -> Iterator[tuple[Tensor, int]]:
        """Yield inputs of up to `chunk` read frames, and how many of the source they are for."""
        stride = self.spec["stride"]
        inputs: list[Tensor] = []
        count = 0
        for number, frame in enumerate(frames):
            if number % stride == 0:
                if len(inputs) == chunk:
                    yield torch.stack(inputs), count
                    inputs, count = [], 0
                inputs.append(self.read(frame))
            count += 1
        if inputs:
            yield torch.stack(inputs), count

    def _labels(self, scores: Tensor, count: int) -> Iterator[FrameLabel]:
        scores = scores.cpu().repeat_interleave(min(self.spec["stride"], count), 0)[:count]
        if self.thresholds is not None:
            limits = self.thresholds.cpu()
            settings = {"median": self.median, "min_length": self.min_length}
            yield from map(self.named, scores, label_several(scores, limits, **settings))
            return
        labels = label_video(scores, median=self.median, min_length=self.min_length)
        for number, probability in zip(
            labels.tolist(), scores.gather(1, labels[:, None])[:, 0].tolist(), strict=True
        ):
            yield FrameLabel(self.classes[number], probability)


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
