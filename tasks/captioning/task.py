"""The training of captioning: an image in, a sentence out.

Shapes: N images, B captions, T steps of a caption, P places of the encoder's grid or regions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim import Optimizer

from ...core.cores.lstm import LSTM
from ...core.masks import valid_steps
from ...core.recurrent import CoreFactory
from ...core.seq2seq.attention import AttentionFactory, GatedAttention
from ...core.vision.encoders import ImageEncoder
from ...data.batch import CaptionBatch, padded
from ...data.captioning.base import CaptionKnowledge, ImageName
from ...data.spec import CaptionSpec
from ...errors import UsageError
from ..base import MetricFactory, Part
from ..metrics import CaptionScores
from ..metrics.caption import SIGNATURE, caption_scores
from ..results import Results
from ..samples import Sample
from ..sequence import EncoderDecoderTask
from ..sequence_model import with_end
from ..step_log import log_step
from . import blind
from .blind import Said, of_all_processes
from .model import CaptioningModel, ImageEncoderFactory, RegionEncoderFactory
from .results import captions
from .self_critical import Reward, advantages, policy_loss

_ROWS = 24  # captions that go through the decoder together, at least


class Captioning(EncoderDecoderTask):
    """A convolutional encoder and a recurrent decoder with attention to the places of the image.

    Show, Attend and Tell (Xu et al. 2015, https://arxiv.org/abs/1502.03044) with the decoder that
    translation has too; see `ImageEncoder` and `SequenceDecoder`. An image is encoded once for all
    its captions.

    Args:
        spec: What the data module found out about images and captions: the words.
        encoder: Makes the image encoder; of precomputed features `RegionEncoder`, from their size.
            null: a `SmallCNN` without a projection, or 256 features of each region.
        decoder: Makes the decoder's core from its input size; it has to be causal.
        attention: Makes the attention; null: the mean of the grid is seen once (Show and Tell).
        embedding_size: Size of the words' vectors.
        input_feeding: Feed the decoder's output back into its input.
        tie_weights: The output layer's weights are the embedding's.
        dropout: Locked dropout of the embedded words, of the core's output and of the output
            layer's input.
        label_smoothing: Share of the target distribution that is spread over all words (Szegedy et
            al. 2016, https://arxiv.org/abs/1512.00567).
        doubly_stochastic: Weight of the sum over places of (1 - sum over steps of the attention)^2,
            which makes a caption look everywhere (Xu et al., section 4.2.1; 1 there).
        scheduled_sampling: Probability, at the end of the run, that the decoder reads a word of its
            own instead of the reference's; it grows from 0 in proportion to the steps (Bengio et
            al. 2015, https://arxiv.org/abs/1506.03099).
        self_critical: Captions drawn of each image, at least 2, to learn from their CIDEr-D instead
            of from the references word by word (Rennie et al. 2017,
            https://arxiv.org/abs/1612.00563; each is compared with the others of its image, Luo
            2020, https://arxiv.org/abs/2003.09971). A second phase: begin with the weights of the
            first, --init_from. 0: learn from the references.
        unfreeze_epoch: The epoch from which a frozen backbone learns too; null: never.
        backbone_lr: The backbone's own learning rate, usually smaller; the schedule goes for both.
            null: the optimizer's.
        beam_size: Hypotheses that `test` and `caption` keep; 1 is greedy search.
        val_beam_size: Hypotheses that validation during training keeps.
        length_penalty: Exponent of ((5 + length) / 6), which divides a hypothesis's log-probability
            (Wu et al. 2016, https://arxiv.org/abs/1609.08144).
        max_length: Words of a caption at most, or a fourth of its characters or subwords.
        vectors: A file of word vectors (GloVe, fastText, word2vec, in text form) that the embedding
            begins with; null: none.
        metrics: Makes more metrics by their names, as {bleu: {class_path: ...}}: of captions and
            all references of each image.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer, stepped after every optimizer step.
        compile_core: Compile the core with `torch.compile` when training starts.

    Raises:
        ValueError: A setting is out of its range, sizes don't allow shared weights, or nothing is
            frozen.

    Examples:
        >>> from unrolled.data import ScenesData
        >>> spec = ScenesData(4, 2, test_size=0).spec  # the words
        >>> Captioning(spec, decoder=lambda size: LSTM(size, hidden_size=8)).model.image_size
        64
    """

    model: CaptioningModel
    written = ("captions", "images")

    def __init__(
        self,
        spec: CaptionSpec,
        encoder: ImageEncoderFactory | RegionEncoderFactory | None = None,
        decoder: CoreFactory = lambda input_size: LSTM(input_size, hidden_size=256),
        attention: AttentionFactory | None = GatedAttention,
        *,
        embedding_size: int = 128,
        input_feeding: bool = True,
        tie_weights: bool = False,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        doubly_stochastic: float = 0.0,
        scheduled_sampling: float = 0.0,
        self_critical: int = 0,
        unfreeze_epoch: int | None = None,
        backbone_lr: float | None = None,
        beam_size: int = 5,
        val_beam_size: int = 1,
        length_penalty: float = 1.0,
        max_length: int = 30,
        vectors: str | None = None,
        metrics: dict[str, MetricFactory] | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile_core: bool = False,
    ) -> None:
        model = CaptioningModel(
            spec,
            encoder,
            decoder,
            attention,
            embedding_size=embedding_size,
            input_feeding=input_feeding,
            tie_weights=tie_weights,
            dropout=dropout,
            beam_size=beam_size,
            length_penalty=length_penalty,
            max_length=max_length,
        )
        super().__init__(
            model,
            label_smoothing=label_smoothing,
            scheduled_sampling=scheduled_sampling,
            val_beam_size=val_beam_size,
            metrics=metrics,
            vectors={"vocabulary": vectors},
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            compile_core=compile_core,
        )
        self.save_hyperparameters(logger=False)
        if doubly_stochastic < 0 or (doubly_stochastic and attention is None):
            raise ValueError(
                f"doubly_stochastic={doubly_stochastic}: must be at least 0, and 0 without "
                "attention"
            )
        if self_critical < 0 or self_critical == 1:
            raise ValueError(
                f"self_critical={self_critical}: 0, or at least 2 captions to compare with each "
                "other"
            )
        backbone = model.backbone
        if backbone is None and (unfreeze_epoch, backbone_lr) != (None, None):
            raise ValueError(
                "unfreeze_epoch and backbone_lr: a model of precomputed features has no backbone; "
                "leave them out"
            )
        frozen = backbone is not None and backbone.frozen
        if unfreeze_epoch is not None and not frozen:
            raise ValueError(
                f"unfreeze_epoch={unfreeze_epoch}: this backbone is not frozen; leave "
                "unfreeze_epoch out"
            )
        if backbone_lr is not None and backbone_lr < 0:
            raise ValueError(f"backbone_lr={backbone_lr}: must be at least 0")
        if backbone_lr is not None and frozen and unfreeze_epoch is None:
            raise ValueError(
                f"backbone_lr={backbone_lr}: this backbone is frozen and learns nothing; give it "
                "frozen false, or an unfreeze_epoch"
            )
        self.backbone_lr = backbone_lr
        self.doubly_stochastic = doubly_stochastic
        self.self_critical = self_critical
        self.unfreeze_epoch = unfreeze_epoch
        self._said: list[Said] = []
        self._thawing: list[nn.Parameter] = []
        self._reward: Reward | None = None
        self._blindness = blind.Blindness()

    @property
    def _knowledge(self) -> CaptionKnowledge | None:
        data = getattr(self.trainer, "datamodule", None)
        return data if isinstance(data, CaptionKnowledge) else None

    def setup(self, stage: str) -> None:
        """Offer a frozen backbone's features to the data, and make the reward of the references."""
        super().setup(stage)
        backbone, knowledge = self.model.backbone, self._knowledge
        frozen = backbone is not None and backbone.frozen
        if backbone is not None and frozen and self.unfreeze_epoch is not None:
            self._thawing = list(backbone.parameters())
        elif backbone is not None and frozen and knowledge is not None:
            knowledge.use_features(self._features, backbone.fingerprint)
        if self.self_critical and stage == "fit":
            if knowledge is None:
                raise UsageError(
                    "self_critical needs a data module: the reward counts all the training "
                    "references"
                )
            self._reward = Reward(knowledge.references("train"))

    def learnt(self) -> Iterable[nn.Parameter] | list[dict[str, Any]]:
        """Return all parameters, the backbone's in a group of their own if it has its own rate."""
        if self.backbone_lr is None or self.model.backbone is None:
            return super().learnt()
        backbone = list(self.model.backbone.parameters())
        inside = set(map(id, backbone))
        others = [one for one in self.parameters() if id(one) not in inside]
        # the first group's rate is the one that is logged
        groups: list[dict[str, Any]] = [{"params": others}, {"params": backbone}]
        groups[1]["lr"] = self.backbone_lr
        return groups

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        return cast("ImageEncoder", self.model.encoder).features(images.to(self.device))

    def on_train_start(self) -> None:
        """Tell the schedule how long the run is; a resumed run may have been unfrozen already."""
        super().on_train_start()
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Let the backbone learn from its epoch on."""
        backbone, epoch = self.model.backbone, self.unfreeze_epoch
        if backbone is not None and epoch is not None and self.current_epoch >= epoch:
            backbone.unfreeze()
            self.model.encoder.train()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Average over processes the gradients that ddp does not know of.

        It looks but once which weights learn.
        """
        backbone = self.model.backbone
        if self.trainer.world_size == 1 or backbone is None or backbone.frozen:
            return
        for parameter in self._thawing:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad = self.trainer.strategy.reduce(parameter.grad, reduce_op="mean")

    def loss(self, batch: CaptionBatch, *, sampling: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return what training makes smaller; see `EncoderDecoderTask.loss`.

        Args:
            batch: At least one caption.
            sampling: Probability that the decoder reads a word of its own.

        Returns:
            The smoothed cross-entropy with the regulariser, and without it, both in nats.
        """
        memory = self.model.look(batch.image, batch.places)
        nats = uneven = torch.zeros((), device=self.device)
        for rows in self._alike(batch.lengths):
            lengths = batch.lengths[rows]
            there = rows.to(self.device, non_blocking=True)
            caption = batch.caption[there, : int(lengths.max())]  # (B', T')
            decoded = self.model.decode(memory, caption, batch.image_of[there], sampling=sampling)
            nats = nats + self.cross_entropy(decoded, caption, lengths, self.label_smoothing)
            if self.doubly_stochastic:
                valid = valid_steps(lengths, caption.shape[1]).to(self.device, non_blocking=True)
                seen = decoded.attention.masked_fill(~valid.unsqueeze(2), 0.0).sum(1)  # (B', P)
                real = memory.valid()[batch.image_of[there]]  # no padding
                uneven = uneven + ((1 - seen) * real).square().sum()
        return nats + self.doubly_stochastic * uneven, nats

    def _alike(self, lengths: Tensor) -> Sequence[Tensor]:
        """Return rows of similar length: a long caption would have the others padded to its length.

        On a GPU, where few rows are as slow as many, they stay together.
        """
        groups = len(lengths) // _ROWS if self.device.type == "cpu" else 1
        return lengths.argsort(stable=True).tensor_split(max(1, min(groups, 4)))

    def training_step(self, batch: CaptionBatch, batch_idx: int) -> Tensor:
        """Return the loss of the references, or the self-critical one: a mean over all words."""
        if self.self_critical and len(batch.lengths):
            return self._criticise(batch)
        return self.learn(batch, batch.lengths.sum())

    def _criticise(self, batch: CaptionBatch) -> Tensor:
        assert self._reward is not None
        model, several = self.model, self.self_critical
        memory = model.look(batch.image, batch.places)
        image_of = torch.arange(len(batch.number), device=self.device)  # (N,)
        image_of = image_of.repeat_interleave(several)  # (B,)
        drawn = [one for [one] in model.search(memory, image_of, beam_size=1, temperature=1.0)]
        rewards = self._reward(
            [model.vocabulary.decode(one.tokens) for one in drawn],
            [one.finished for one in drawn],
            [batch.references[row] for row in image_of.tolist()],
        )
        advantage = advantages(torch.tensor(rewards).view(-1, several)).flatten()  # (N, k) -> (B,)
        caption, lengths = padded(map(with_end, drawn))  # (B, T)
        caption = caption.to(self.device)
        decoded = model.decode(memory, caption, image_of)
        logits = model.decoder.head(decoded.output)  # (B, T, V)
        log_step(self, "train/reward", torch.tensor(sum(rewards) / len(rewards)))
        loss = policy_loss(logits, caption, lengths, advantage.to(self.device))
        return self.global_mean(loss, lengths.sum())

    def sample(self, batch: CaptionBatch) -> Sample | None:
        """Return what the model says of the validation's first image."""
        if not batch.references:
            return None
        memory = self.model.look(batch.image, batch.places).row(0)
        [[found]] = self.model.search(memory, beam_size=1)
        text = self.model.vocabulary.decode(found.tokens)
        picture = batch.image[0] if batch.image.dtype == torch.uint8 else None
        shown = picture if self.model.decoder.attention is not None else None
        return Sample(f"{text!r} (a reference {batch.references[0][0]!r})", shown)

    def begin_scores(self) -> None:
        """Begin to count, with nothing said."""
        super().begin_scores()
        self._said = []

    def evaluate(self, batch: CaptionBatch, part: Part) -> None:
        """Score the references, and caption freely."""
        decoded, memory = self.model(batch.image, batch.caption, batch.image_of, batch.places)
        texts = self.answers(decoded, memory, batch.caption, batch.lengths, part)
        self.count(texts, batch.references)
        self._said += map(Said, batch.number.tolist(), texts, batch.references)
        if self.kept is not None:
            self.kept += map(Said, batch.number.tolist(), texts, batch.references)

    def results(self, kept: Sequence[Said], inputs: Sequence[ImageName]) -> Results:
        """Return every image with its caption, also in COCO's form."""
        return captions(kept, inputs)

    def signatures(self) -> dict[str, str]:
        """Return how captions are scored."""
        return {"captions": SIGNATURE}

    def logged(self) -> set[str] | None:
        """Add the scores of captions; `val/exact` needs data that know what is true."""
        known = super().logged()
        more = {f"val/{name}" for name in (*caption_scores([], []), "exact")}
        rewarded = {"train/reward"} if self.self_critical else set()
        return None if known is None else known | more | rewarded

    def log_scores(self, part: Part) -> None:
        """Log the scores of a whole part; of the test also those of captions that saw no image."""
        super().log_scores(part)
        self._log_captions(part, "", self._said)
        if part == "val":
            return
        # Both look at the whole part: what a process chose for its share would depend on how many
        # there are.
        everyone, rank = self._everyones_said(), self.trainer.global_rank
        others = blind.shuffled(everyone)
        self._log_captions(part, "shuffled_", others[rank :: self.trainer.world_size])
        training = [] if self._knowledge is None else self._knowledge.references("train")
        constant = blind.best_constant(training, everyone)
        rank_zero_info(f"The best constant caption: {constant}")
        alike = [one._replace(caption=constant) for one in self._said]
        self._log_captions(part, "constant_", alike)

    def doubts(self) -> list[tuple[str, str]]:
        """Return whether captions are nearly all the same, or worse than a constant one."""
        training = [] if self._knowledge is None else self._knowledge.references("train")
        return [*super().doubts(), *self._blindness.doubts(self._everyones_said(), training)]

    def _log_captions(self, part: Part, prefix: str, said: Sequence[Said]) -> None:
        metric = CaptionScores().to(self.device)
        metric.update(
            [one.caption for one in said],
            [one.references for one in said],
            [one.number for one in said],
        )
        scores = {name: value.float() for name, value in metric.compute().items()}
        knowledge = self._knowledge
        # The built-in data know what is true.
        if knowledge is not None and knowledge.judge(part, 0, "") is not None:
            right = sum(bool(knowledge.judge(part, one.number, one.caption)) for one in said)
            counts = torch.tensor([right, len(said)], dtype=torch.float32, device=self.device)
            right, count = self.trainer.strategy.reduce(counts, reduce_op="sum")
            scores["exact"] = right / count.clamp(min=1)
        for name, value in scores.items():
            shown = name in ("cider_d", "exact") and not prefix
            key = f"{part}/{prefix}{name}"
            self.log(key, value.to(self.device), prog_bar=shown, sync_dist=True)

    def _everyones_said(self) -> list[Said]:
        """Return what all processes said, each image once, in the order of their numbers."""
        return of_all_processes(self._said, self.trainer.world_size)
