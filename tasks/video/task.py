"""The training of a network that labels every frame of a video.

Shapes: B rows, T frames of the longest row, C classes, s labels for each frame that is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torchmetrics import MeanMetric

from ...core import GRU, FrameEncoder
from ...core.masks import valid_steps
from ...core.recurrent import CoreFactory
from ...core.seq2seq.losses import IGNORED, truncated_smoothness
from ...core.state import State, detach, leaves, where_rows
from ...data.batch import VideoBatch
from ...data.spec import VideoSpec
from ...errors import UsageError, some
from ..base import MetricFactory, Part
from ..carry import CarriesState, rows_of
from ..learning import one_class
from ..metrics import FrameF1, FrameMAP, SegmentationScores, SeveralLabels
from ..results import Results
from ..samples import LabelledFrames, Sample
from ..step_log import log_step
from .losses import class_weights, frame_loss, read_labels, several, several_jumps
from .model import EncoderFactory, VideoModel
from .postprocess import label_video
from .results import VideoResult, videos

_LOGGED = {"acc": "accuracy", "acc_mean": "mean_accuracy"}


class VideoLabelling(CarriesState):
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
        multilabel: Frames may have several labels, or none: each class has its own probability, and
            the threshold at which its F1 was largest in validation.
        class_weights: What frames of each class count in the loss: `balanced` (all classes the
            same, by the frames of the training part), or a file with a class and a weight on each
            line, a comma in between; null: all frames the same.
        focal_gamma: Count what is sure and right less, (1 - p)^gamma: the focal loss (Lin et al.
            2017, https://arxiv.org/abs/1708.02002: 2); 0 for none.
        last_frames: Count only the loss of so many last frames of each row, as MiniROAD does with
            1; 0: of all. For training on windows, with a causal core.
        background: Names of the classes that edit, F1 and mean average precision leave out; null:
            the spec's.
        pooled: Whether accuracy and F1 count frames and segments over all videos together, or are
            means over videos.
        median: Post-processing: frames of the window of a running median of the scores, an odd
            number; 1 for none.
        min_length: Post-processing: frames that a segment has at least; 1 for no such rule.
        metrics: Makes more metrics by their names, as {top2: {class_path: ...}}: of each video's
            probabilities (T, C) and classes (T,), where it has labels.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer, stepped after every optimizer step.
        compile_core: Compile the core with `torch.compile` when training starts.

    Raises:
        ValueError: Encoder and spec don't fit, or a setting is out of its range.

    Examples:
        >>> spec = dict(classes=["cut", "mix"], background=[], stride=1)
        >>> spec |= dict(feature_size=16, image_size=0)  # features, no pictures
        >>> task = VideoLabelling(spec, lambda size: GRU(size, hidden_size=8))
        >>> task.model.core
        GRU(16, 8)
    """

    model: VideoModel
    shown = ("loss", "accuracy", "edit", "f1")
    weights: Tensor | None

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
        multilabel: bool = False,
        class_weights: str | None = None,
        focal_gamma: float = 0.0,
        last_frames: int = 0,
        background: list[str] | None = None,
        pooled: bool = True,
        median: int = 1,
        min_length: int = 1,
        metrics: dict[str, MetricFactory] | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile_core: bool = False,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            compile_core=compile_core,
            metrics=metrics,
        )
        self.save_hyperparameters(logger=False)
        if last_frames < 0:
            raise ValueError(f"last_frames={last_frames}: must be at least 0")
        if focal_gamma < 0:
            raise ValueError(f"focal_gamma={focal_gamma}: must be at least 0")
        self.model = model = VideoModel(
            spec,
            core,
            encoder=encoder,
            projection_size=projection_size,
            input_noise=input_noise,
            input_dropout=input_dropout,
            output_dropout=output_dropout,
            multilabel=multilabel,
            background=background,
            median=median,
            min_length=min_length,
        )
        self.label_smoothing = label_smoothing
        self.smoothing = smoothing
        self.smoothing_threshold = smoothing_threshold
        self.last_frames = last_frames
        self.multilabel = multilabel
        self.class_weights = class_weights
        self.focal_gamma = focal_gamma
        self.register_buffer("weights", None, persistent=False)  # of the classes (C,)
        numbers = [model.classes.index(name) for name in model.background]
        classes = len(model.classes)
        self.segments = SegmentationScores(classes, numbers, pooled=pooled)
        self.of_classes: FrameF1 | SeveralLabels
        self.metrics["loss"] = MeanMetric()
        if multilabel:
            self.metrics["labels"] = self.of_classes = SeveralLabels(classes, numbers)
        else:
            self.metrics["map"] = FrameMAP(classes, numbers)
            self.metrics["segments"] = self.segments
            self.metrics["frames"] = self.of_classes = FrameF1(classes, numbers)
        # scores and labels of the videos under way, by row
        self._under_way: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def loss(self, batch: VideoBatch, state: State | None = None) -> tuple[Tensor, State]:
        """Return what training makes small.

        Args:
            batch: The next piece of each row.
            state: The state before it; None: the core's initial state.

        Returns:
            The loss (mean nats per labelled frame, and the smoothing loss per step), and the state
            after.
        """
        logits, state = self.model(batch.input, batch.lengths, state)  # (B, T, C)
        target = self._targets(batch, logits.shape[1])  # (B, T) or (B, T, C)
        lengths = batch.lengths
        if self.last_frames:
            early = valid_steps(lengths - self.last_frames, target.shape[1]).to(target.device)
            target = target.masked_fill(
                early.view(*early.shape, *[1] * (target.dim() - 2)), IGNORED
            )
        nats, count = frame_loss(
            logits.flatten(0, 1),
            target.flatten(0, 1),
            weights=self.weights,
            gamma=self.focal_gamma,
            label_smoothing=self.label_smoothing,
        )
        loss = self.global_mean(nats, count)
        if self.smoothing:
            threshold = self.smoothing_threshold
            if self.multilabel:
                jumps = several_jumps(logits, lengths, threshold)
            else:
                jumps = truncated_smoothness(logits, lengths, threshold=threshold)
            loss = loss + self.smoothing * self.global_mean(jumps, (lengths - 1).clamp(min=0).sum())
        if not int(lengths.sum()):  # an epoch's last batch may leave nothing to one process
            loss = loss + self.zero()
        return loss, state

    def _targets(self, batch: VideoBatch, steps: int) -> Tensor:
        """Return the labels of the frames that are read, (B, T), or (B, T, C) of several each."""
        target = read_labels(batch, steps)
        return several(target, len(self.model.classes), dims=2) if self.multilabel else target

    def setup(self, stage: str) -> None:
        """Offer a frozen backbone's features to the data."""
        super().setup(stage)
        encoder = self.model.encoder
        use = getattr(getattr(self.trainer, "datamodule", None), "use_features", None)
        if use and isinstance(encoder, FrameEncoder) and encoder.backbone.frozen:
            backbone, places = encoder.backbone, encoder.places
            use(self._features, lambda: f"{backbone.fingerprint()} {places} places")

    @torch.no_grad()
    def _features(self, pictures: Tensor) -> Tensor:
        assert isinstance(self.model.encoder, FrameEncoder)
        return self.model.encoder.features(pictures.to(self.device))

    def on_fit_start(self) -> None:
        """Weigh the classes, by the frames of the training part where that is asked for."""
        super().on_fit_start()
        if self.class_weights is None:
            return
        classes = self.model.classes
        count = getattr(getattr(self.trainer, "datamodule", None), "class_counts", None)
        weights = class_weights(self.class_weights, classes, count, one_each=not self.multilabel)
        self.weights = weights.to(self.device)
        told = (
            f"{name} {value:.3g}" for name, value in zip(classes, weights.tolist(), strict=True)
        )
        rank_zero_info(f"Frames count by their class: {some(told)}")

    def training_step(self, batch: VideoBatch, batch_idx: int) -> Tensor:
        """Return the loss of the next piece of each row; the state goes on from the one before."""
        loss, state = self.loss(batch, self.state_before(batch, self.training_state))
        self.training_state = detach(state)
        log_step(self, "train/loss", loss.detach())
        return loss

    def state_before(self, batch: VideoBatch, state: State | None) -> State | None:
        """Return the state before a batch: the initial one in the rows where a video begins.

        Args:
            batch: The batch.
            state: The state after the batch before.

        Raises:
            UsageError: The core needs whole videos, and these are pieces.
        """
        core, present = self.model.core, batch.lengths > 0
        if not core.causal and not bool((batch.first & batch.last)[present].all()):
            raise UsageError(
                f"{type(core).__name__} is not causal and needs whole videos, not chunks: set "
                "--data.chunk_length null and --data.eval_chunk_length null, or take a core that "
                "reads forwards only"
            )
        anew = batch.first if core.causal else batch.first | ~present
        state = rows_of(state, len(batch.lengths))
        if state is None or bool(anew.all()):
            return None
        if not bool(anew.any()):
            return state
        device = leaves(state)[0].device
        fresh = core.initial_state(len(batch.lengths), device=device)
        return where_rows(anew.to(device), fresh, state)

    def begin_scores(self) -> None:
        """Begin to count, with no video under way."""
        super().begin_scores()
        self._under_way.clear()

    def evaluate(self, batch: VideoBatch, part: Part) -> None:
        """Score the next piece of each row; a video's labels are scored when it has ended."""
        logits, self.evaluation_state = self.model(
            batch.input, batch.lengths, self.state_before(batch, self.evaluation_state)
        )
        target = self._targets(batch, logits.shape[1])  # (B, T) or (B, T, C)
        nats, count = frame_loss(logits.flatten(0, 1), target.flatten(0, 1))
        self.metrics["loss"].update(nats / count.clamp(min=1), count)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        scores = self.model.probabilities(wide)  # (B, T, C)
        ranked = self.metrics["labels" if self.multilabel else "map"]
        ranked.update(scores[:0].flatten(0, 1), target[:0].flatten(0, 1))
        repeat = batch.target.shape[1] // max(1, logits.shape[1])
        for row, length in enumerate(batch.lengths.tolist()):
            if not length:
                continue
            pieces = [] if batch.first[row] else self._under_way.pop(row, [])
            pieces.append((scores[row, :length], batch.target[row, : length * repeat]))
            if batch.last[row]:
                self._score(batch.name[row], pieces, repeat)
            else:
                self._under_way[row] = pieces

    def _score(self, name: str, pieces: list[tuple[Tensor, Tensor]], repeat: int) -> None:
        """Score a whole video, at the rate of its labels."""
        scores = torch.cat([piece for piece, _ in pieces]).repeat_interleave(repeat, 0)  # (T s, C)
        true = torch.cat([piece for _, piece in pieces])  # (T s,) or (T s, C)
        if self.multilabel:
            true = several(true, len(self.model.classes), dims=1)
            self.metrics["labels"].update(scores, true)
            if self.more_metrics:
                self.count(scores, true)
            return
        self.metrics["map"].update(scores, true)
        if self.more_metrics:
            self.count(scores[true >= 0], true[true >= 0])
        # Segments are found and changed one by one, which a GPU would be waited for each time.
        median, min_length = self.model.median, self.model.min_length
        labels = label_video(scores.cpu(), median=median, min_length=min_length)
        self.segments.update(labels, true.cpu())
        self.of_classes.update(labels, true.cpu())
        if self.kept is not None:
            self.kept.append(VideoResult(name, scores.float().cpu(), labels, true.cpu()))

    def results(self, kept: Sequence[VideoResult], inputs: Sequence[str]) -> Results:
        """Return every frame, and how each class fares; nothing where a frame has several."""
        if self.multilabel:
            return {}
        return videos(kept, inputs, self.model.classes, self.segments.background)

    def signatures(self) -> dict[str, str]:
        """Return what the scores of segments count."""
        if self.multilabel:
            return {}
        return {"segments": self.segments.settings(self.model.classes)}

    def sample(self, batch: VideoBatch) -> Sample | None:
        """Return how many frames of the validation's first video, or its first piece, are right."""
        frames = int(batch.lengths[0]) if len(batch.lengths) else 0
        if not frames or self.multilabel:
            return None
        logits, _ = self.model(batch.input[:frames], batch.lengths[:1])  # (1, T, C)
        confidence, predicted = logits[0].float().softmax(-1).cpu().max(-1)  # (T,) each
        truth = read_labels(batch, logits.shape[1])[0, :frames].cpu()  # (T,)
        known = truth != IGNORED
        right = int((predicted == truth)[known].sum())
        line = f"{right} of {int(known.sum())} frames right in {batch.name[0]!r}"
        return Sample(line, LabelledFrames(batch.name[0], predicted, confidence, truth))

    def scores(self) -> dict[str, Tensor]:
        """Return the scores over all videos."""
        return {_LOGGED.get(name, name): value for name, value in super().scores().items()}

    def doubts(self) -> list[tuple[str, str]]:
        """Return whether nearly all frames are taken for one class."""
        return [] if self.multilabel else one_class(self.of_classes.counts, self.model.classes)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the thresholds that validation has found: averaged weights have older ones."""
        super().on_save_checkpoint(checkpoint)
        key = "model.thresholds"
        if self.model.thresholds is not None and key in checkpoint.get("state_dict", {}):
            checkpoint["state_dict"][key] = self.model.thresholds.clone()

    def log_scores(self, part: Part) -> None:
        """Log the scores over all videos; of the test also say what they count."""
        model = self.model
        tuned = self.multilabel and part == "val" and self.trainer.state.fn == "fit"
        labels = self.of_classes
        if isinstance(labels, SeveralLabels):
            labels.given = None if tuned else model.thresholds
        super().log_scores(part)
        if tuned and not self.trainer.sanity_checking and isinstance(labels, SeveralLabels):
            assert model.thresholds is not None
            model.thresholds.copy_(labels.thresholds)
        self._under_way.clear()
        if part != "test":
            return
        rank_zero_info(self.of_classes.counts.table(model.classes))
        if self.multilabel:
            return
        processing = "not post-processed"
        if model.postprocesses:
            steps = [f"a running median over {model.median} frames"] if model.median > 1 else []
            if model.min_length > 1:
                steps.append(f"segments of at least {model.min_length} frames")
            processing = f"post-processed with {' and '.join(steps)}"
        # of all processes
        videos = self.trainer.strategy.reduce(self.segments.videos.clone(), reduce_op="sum")
        rank_zero_info(
            f"Scores over {int(videos)} videos: {self.segments.settings(model.classes)}; "
            f"labels are {processing}"
        )
