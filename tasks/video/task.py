"""Video labelling: a label for every frame.

Shapes: B rows, T frames of the longest row, N valid frames of all rows, D features of a frame, H
output of the core, C classes, s labels for each frame that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric

from ...core import GRU
from ...core.masks import valid_steps
from ...core.recurrent import CoreFactory
from ...core.seq2seq.losses import IGNORED, truncated_smoothness
from ...core.state import State, detach, leaves, where_rows
from ...data.batch import VideoBatch
from ...data.spec import VideoSpec
from ...errors import UsageError
from ..base import Task
from ..carry import restored_state, saved_state
from ..metrics import FrameMAP, SegmentationScores
from .postprocess import label_video
from .stream import FrameLabel, FrameLike, VideoStream, label_frames

EncoderFactory: TypeAlias = Callable[[], nn.Module]
"""Makes what turns pictures (N, 3, H, W) uint8 into features (N, D), with D as `output_size`."""

_LOGGED = {"acc": "accuracy", "acc_mean": "mean_accuracy"}


class VideoLabelling(Task):
    """Frames in, a distribution over the classes out for every frame.

    Frames are pictures, which an encoder turns into features one by one, or features that were
    computed before. A causal core labels a stream as it comes (MiniROAD, An et al. 2023, is a GRU);
    one that reads backwards too labels whole videos. Long videos may be trained on and evaluated in
    chunks: the state is carried from chunk to chunk, in training without its gradient.

    Args:
        spec: What the data module found out about the videos.
        core: Makes the recurrent core from the size of its input.
        encoder: Makes the encoder of pictures, a `FrameEncoder`; null for features.
        projection_size: Features pass a linear layer of this size, a layer normalisation and a ReLU
            before the core, as in MiniROAD; 0 for none.
        input_noise: Standard deviation of the noise added to the features in training.
        input_dropout: Probability that a feature of a frame is zero in training.
        output_dropout: The same for the core's output.
        label_smoothing: Share of the target distribution that is spread over all classes.
        smoothing: Weight of MS-TCN's loss of jumps between the log-probabilities of neighbouring
            frames, truncated at `smoothing_threshold` (Abu Farha and Gall 2019,
            https://arxiv.org/abs/1903.01945: 0.15 and 4); 0 for none.
        smoothing_threshold: Where that loss is truncated.
        last_frames: Count only the loss of so many last frames of each row, as MiniROAD does with
            1; 0: of all. For training on windows, with a causal core.
        background: Names of the classes that edit, F1 and mean average precision leave out; null:
            the spec's.
        pooled: Whether accuracy and F1 count frames and segments over all videos together, or are
            means over videos.
        median: Post-processing: frames of the window of a running median of the scores, an odd
            number; 1 for none.
        min_length: Post-processing: frames that a segment has at least; 1 for no such rule.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer, stepped after every optimizer step.
        compile_core: Compile the core with `torch.compile` when training starts.

    Raises:
        ValueError: Encoder and spec don't fit, or a setting is out of its range.
    """

    symbol_rows: ClassVar = dict.fromkeys(("head.weight", "head.bias"), "classes")

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
        label_smoothing: float = 0.0,
        smoothing: float = 0.15,
        smoothing_threshold: float = 4.0,
        last_frames: int = 0,
        background: list[str] | None = None,
        pooled: bool = True,
        median: int = 1,
        min_length: int = 1,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile_core: bool = False,
    ) -> None:
        super().__init__(optimizer=optimizer, lr_scheduler=lr_scheduler, compile_core=compile_core)
        self.save_hyperparameters(logger=False)
        self.spec = spec
        self.classes = spec["classes"]
        self.background = spec["background"] if background is None else background
        if spec["feature_size"] and encoder is not None:
            raise ValueError(
                "these videos are features already: leave the encoder out (--model.encoder null)"
            )
        if not spec["feature_size"] and encoder is None:
            raise ValueError(
                "these videos are pictures: give an encoder, as --model.encoder FrameEncoder"
            )
        for name, least in (("projection_size", 0), ("last_frames", 0), ("min_length", 1)):
            if (value := locals()[name]) < least:
                raise ValueError(f"{name}={value}: must be at least {least}")
        if median < 1 or median % 2 == 0:
            raise ValueError(f"median={median}: must be an odd number of frames")
        if unknown := [name for name in self.background if name not in self.classes]:
            raise ValueError(
                f"background={unknown}: no such classes; there are {', '.join(self.classes)}"
            )
        self.encoder = None if encoder is None else encoder()
        size = spec["feature_size"] if self.encoder is None else int(self.encoder.output_size)  # type: ignore[arg-type]
        mean, deviation = spec.get("feature_mean"), spec.get("feature_deviation")
        self.register_buffer(
            "feature_mean", None if mean is None else torch.tensor(mean), persistent=False
        )
        self.register_buffer(
            "feature_deviation", None if mean is None else torch.tensor(deviation), persistent=False
        )
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
        self.label_smoothing = label_smoothing
        self.smoothing = smoothing
        self.smoothing_threshold = smoothing_threshold
        self.last_frames = last_frames
        self.median = median
        self.min_length = min_length
        numbers = [self.classes.index(name) for name in self.background]
        self.scores = SegmentationScores(len(self.classes), numbers, pooled=pooled)
        self.average_precision = FrameMAP(len(self.classes), numbers)
        self.nats = MeanMetric()
        # States carried from batch to batch, of training and of evaluation apart. They are the
        # task's, not the core's.
        self.training_state: State | None = None
        self.evaluation_state: State | None = None
        self._restored_state: Any = None
        self._evaluated: dict[
            int, list[tuple[Tensor, Tensor]]
        ] = {}  # scores and labels of the videos under way, by row

    feature_mean: Tensor | None
    feature_deviation: Tensor | None

    @property
    def causal(self) -> bool:
        """Whether a frame's label depends on no frame after it."""
        return self.core.causal

    @property
    def postprocesses(self) -> bool:
        """Whether labels are post-processed, for which a video has to be there as a whole."""
        return self.median > 1 or self.min_length > 1

    def features(self, input: Tensor) -> Tensor:
        """What the core reads of frames, each by itself.

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
        output: Tensor = self.project(self.input_dropout(input))
        return output

    def run_core(
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
        # (B, T, D)
        rows = nn.utils.rnn.pad_sequence(features.split(lengths.tolist()), batch_first=True)
        ragged = int(lengths.min()) < rows.shape[1]
        output, state = self.core(rows, state, lengths=lengths if ragged else None)  # (B, T, H)
        return self.head(self.output_dropout(output)), state

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
        return self.run_core(self.features(input), lengths, state)

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Label one frame of each row.

        Args:
            input: Pictures (B, 3, H, W) uint8, or features (B, D).
            state: The core's state before them.

        Returns:
            Logits (B, C) and the core's state after them.
        """
        output, state = self.core.step(self.features(input), state)
        return self.head(output), state

    def loss(self, batch: VideoBatch, state: State | None = None) -> tuple[Tensor, State]:
        """What training makes small.

        Args:
            batch: The next piece of each row.
            state: The state before it; None: the core's initial state.

        Returns:
            The loss (mean nats per labelled frame, and the smoothing loss per step), and the state
            after.
        """
        logits, state = self(batch.input, batch.lengths, state)
        target = read_labels(batch, logits.shape[1])
        lengths = batch.lengths
        if self.last_frames:
            early = valid_steps(lengths - self.last_frames, target.shape[1]).to(target.device)
            target = target.masked_fill(early, IGNORED)
        # for sums, also under half precision
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        nats = functional.cross_entropy(
            wide.flatten(0, 1),
            target.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        loss = self.global_mean(nats, (target != IGNORED).sum())
        if self.smoothing:
            jumps = truncated_smoothness(logits, lengths, threshold=self.smoothing_threshold)
            loss = loss + self.smoothing * self.global_mean(jumps, (lengths - 1).clamp(min=0).sum())
        if not int(lengths.sum()):  # an epoch's last batch may leave nothing to one process
            loss = loss + self.zero()
        return loss, state

    def training_step(self, batch: VideoBatch, batch_idx: int) -> Tensor:
        """The loss of the next piece of each row; the state goes on from the piece before."""
        loss, state = self.loss(batch, self._carried(self.training_state, batch))
        self.training_state = detach(state)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch.lengths))
        return loss

    def _carried(self, state: State | None, batch: VideoBatch) -> State | None:
        """The state before a batch: the carried one where a row goes on, the initial one where a video begins."""
        present = batch.lengths > 0
        if not self.causal and not bool((batch.first & batch.last)[present].all()):
            raise UsageError(
                f"{type(self.core).__name__} is not causal and needs whole videos, not chunks: set --data.chunk_length "
                "null and --data.eval_chunk_length null, or take a core that reads forwards only"
            )
        anew = batch.first | ~present if not self.causal else batch.first
        if state is None or leaves(state)[0].shape[0] != len(batch.lengths) or bool(anew.all()):
            return None  # also where another loader has another number of rows
        if not bool(anew.any()):
            return state
        like = leaves(state)[0]
        fresh = self.core.initial_state(len(batch.lengths), device=like.device)
        return where_rows(anew.to(like.device), fresh, state)

    def on_validation_epoch_start(self) -> None:
        """Start with no video under way."""
        self.evaluation_state = None
        self._evaluated.clear()
        for metric in (self.scores, self.average_precision, self.nats):
            metric.reset()

    def validation_step(self, batch: VideoBatch, batch_idx: int) -> None:
        """Score the next piece of each row; a video's labels are scored when it has ended."""
        logits, self.evaluation_state = self(
            batch.input, batch.lengths, self._carried(self.evaluation_state, batch)
        )
        target = read_labels(batch, logits.shape[1])
        count = (target != IGNORED).sum()
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        nats = functional.cross_entropy(
            wide.flatten(0, 1), target.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        self.nats.update(nats / count.clamp(min=1), count)
        scores = wide.softmax(-1)
        self.average_precision.update(scores[:0].flatten(0, 1), target[:0].flatten())
        repeat = batch.target.shape[1] // max(1, logits.shape[1])
        for row, length in enumerate(batch.lengths.tolist()):
            if not length:
                continue
            under_way = [] if batch.first[row] else self._evaluated.pop(row, [])
            under_way.append((scores[row, :length], batch.target[row, : length * repeat]))
            if batch.last[row]:
                self._score(under_way, repeat)
            else:
                self._evaluated[row] = under_way

    def _score(self, pieces: list[tuple[Tensor, Tensor]], repeat: int) -> None:
        """Score a whole video, at the rate of its labels."""
        scores = torch.cat([piece for piece, _ in pieces]).repeat_interleave(repeat, 0)
        true = torch.cat([piece for _, piece in pieces])
        self.average_precision.update(scores, true)
        # Segments are found and changed one by one, which a GPU would be waited for each time.
        self.scores.update(
            label_video(scores.cpu(), median=self.median, min_length=self.min_length), true.cpu()
        )

    def on_validation_epoch_end(self) -> None:
        """Log the scores over all videos."""
        self._log_scores("val")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        """Log the scores over all videos, and say what they count."""
        self._log_scores("test")
        processing = f"a running median over {self.median} frames and segments of at least {self.min_length} frames"
        # of all processes
        videos = self.trainer.strategy.reduce(self.scores.videos.clone(), reduce_op="sum")
        rank_zero_info(
            f"Scores over {int(videos)} videos: {self.scores.settings(self.classes)}; "
            f"labels are {f'post-processed with {processing}' if self.postprocesses else 'not post-processed'}"
        )

    def _log_scores(self, part: Literal["val", "test"]) -> None:
        values = {
            "loss": self.nats.compute(),
            "map": self.average_precision.compute(),
            **self.scores.compute(),
        }
        for name, value in values.items():  # already the same in every process
            value = torch.as_tensor(value, dtype=torch.float32, device=self.device)
            self.log(
                f"{part}/{_LOGGED.get(name, name)}",
                value,
                prog_bar=name in ("loss", "acc", "edit"),
                sync_dist=True,
            )
        self.evaluation_state = None
        self._evaluated.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the carried state, all processes' rows in one batch."""
        super().on_save_checkpoint(checkpoint)
        if (
            self.training_state is not None
            and self._trainer is not None
            and self.trainer.state.fn == "fit"
        ):
            checkpoint["carried_state"] = saved_state(self.training_state, self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the carried state until training starts and the device is known."""
        self._restored_state = checkpoint.get("carried_state")

    def on_train_start(self) -> None:
        """Go on with this process's rows of the carried state."""
        super().on_train_start()
        self.training_state = None
        if self._restored_state is not None:
            self.training_state = restored_state(
                self._restored_state, self.core, self.trainer, self.device
            )
            self._restored_state = None

    def stream(self) -> VideoStream:
        """Label frames as they come.

        `stream = model.stream()` once, then `label = stream(frame)` for every frame of the source.

        Raises:
            ValueError: The core is not causal.
        """
        return VideoStream(self)

    def label_frames(self, frames: Iterable[FrameLike], *, chunk: int = 64) -> Iterator[FrameLabel]:
        """Label the frames of a video, one label for each that is given.

        With a causal core and no post-processing labels come chunk by chunk, and memory does not
        grow. Otherwise the frames' features are collected, and the labels come at the end.

        Args:
            frames: Every frame of the source, as for `stream`.
            chunk: How many frames are read at a time.
        """
        return label_frames(self, frames, chunk=chunk)

    def label(self, frames: Iterable[FrameLike]) -> list[FrameLabel]:
        """Label the frames of a video.

        Args:
            frames: Every frame of the source, as for `stream`: also an array (T, H, W, 3) uint8, or
                features (T, D).
        """
        return list(label_frames(self, frames))


def read_labels(batch: VideoBatch, steps: int) -> Tensor:
    """The labels of the frames that are read, where those of all frames are there.

    Args:
        batch: A batch.
        steps: T.

    Returns:
        (B, T) int64.
    """
    if not steps:
        return batch.target[:, :0]
    return batch.target[:, :: max(1, batch.target.shape[1] // steps)][:, :steps]
