"""Captioning: an image in, a sentence out, by a convolutional encoder and an attentive decoder.

Shapes: N images, B captions, T steps of a caption, P = h w places of the encoder's grid, S side of
a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeAlias

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from ...core.cores.lstm import LSTM
from ...core.masks import valid_steps
from ...core.recurrent import CoreFactory
from ...core.seq2seq.attention import AttentionFactory, GatedAttention
from ...core.seq2seq.decoder import Decoded, SequenceDecoder
from ...core.seq2seq.losses import chunked_cross_entropy
from ...core.vision.backbones import SmallCNN
from ...core.vision.encoders import ImageEncoder
from ...data.batch import CaptionBatch
from ...data.spec import CaptionSpec
from ...data.tokenizer import Subwords
from ...errors import UsageError
from ..base import Task
from ..metrics import CaptionScores
from . import blind
from .blind import Said
from .captioner import Captioner
from .self_critical import Reward, advantages, policy_loss

ImageEncoderFactory: TypeAlias = Callable[[], ImageEncoder]
"""Makes an image encoder: how the task receives it."""


_ROWS = 24
"""Captions that go through the decoder together, at least."""


class Captioning(Captioner, Task):
    """A convolutional encoder and a recurrent decoder with attention to the places of the image.

    Show, Attend and Tell (Xu et al. 2015, https://arxiv.org/abs/1502.03044) with the decoder that
    translation has too; see `ImageEncoder` and `SequenceDecoder`. An image is encoded once for all
    its captions.

    Args:
        spec: What the data module found out about images and captions: the words.
        encoder: Makes the image encoder; null: a `SmallCNN` without a projection.
        decoder: Makes the decoder's core from its input size; it has to be causal.
        attention: Makes the attention; null: the decoder sees the mean of the grid once, as in Show
            and Tell.
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
        beam_size: Hypotheses that `test` and `caption` keep; 1 is greedy search.
        val_beam_size: Hypotheses that validation during training keeps.
        length_penalty: Exponent of ((5 + length) / 6), which divides a hypothesis's log-probability
            (Wu et al. 2016, https://arxiv.org/abs/1609.08144).
        max_length: Words of a caption at most.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer, stepped after every optimizer step.
        compile_core: Compile the core with `torch.compile` when training starts.

    Raises:
        ValueError: A setting is out of its range, sizes don't allow shared weights, or nothing is
            frozen.
    """

    symbol_rows: ClassVar = dict.fromkeys(
        ("decoder.embedding.weight", "decoder.head.weight", "decoder.head.bias"),
        "vocabulary",
    )

    def __init__(
        self,
        spec: CaptionSpec,
        encoder: ImageEncoderFactory | None = None,
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
        beam_size: int = 5,
        val_beam_size: int = 1,
        length_penalty: float = 1.0,
        max_length: int = 30,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile_core: bool = False,
    ) -> None:
        super().__init__(optimizer=optimizer, lr_scheduler=lr_scheduler, compile_core=compile_core)
        self.save_hyperparameters(logger=False)
        for name, share in (
            ("label_smoothing", label_smoothing),
            ("scheduled_sampling", scheduled_sampling),
        ):
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share}: must be at least 0 and less than 1")
        for name, size in (
            ("beam_size", beam_size),
            ("val_beam_size", val_beam_size),
            ("max_length", max_length),
        ):
            if size < 1:
                raise ValueError(f"{name}={size}: must be at least 1")
        if doubly_stochastic < 0 or (doubly_stochastic and attention is None):
            raise ValueError(
                f"doubly_stochastic={doubly_stochastic}: must be at least 0, and 0 without attention"
            )
        if self_critical < 0 or self_critical == 1:
            raise ValueError(
                f"self_critical={self_critical}: 0, or at least 2 captions to compare with each other"
            )
        self.vocabulary = Subwords.from_spec(spec["vocabulary"])
        self.image_size = spec["image_size"]
        embedding = nn.Embedding(self.vocabulary.size, embedding_size, padding_idx=Subwords.PAD)
        # A tied output layer would start with logits far too large otherwise.
        nn.init.normal_(embedding.weight, std=embedding_size**-0.5)
        nn.init.zeros_(embedding.weight[Subwords.PAD])
        self.encoder = encoder() if encoder is not None else ImageEncoder(SmallCNN)
        if unfreeze_epoch is not None and not self.encoder.backbone.frozen:
            raise ValueError(
                f"unfreeze_epoch={unfreeze_epoch}: this backbone is not frozen; leave unfreeze_epoch out"
            )
        self.decoder = SequenceDecoder(
            embedding,
            decoder,
            memory_size=self.encoder.output_size,
            attention=attention,
            input_feeding=input_feeding,
            tie_weights=tie_weights,
            dropout=dropout,
        )
        self.label_smoothing = label_smoothing
        self.doubly_stochastic = doubly_stochastic
        self.scheduled_sampling = scheduled_sampling
        self.self_critical = self_critical
        self.unfreeze_epoch = unfreeze_epoch
        self.beam_size = beam_size
        self.val_beam_size = val_beam_size
        self.length_penalty = length_penalty
        self.max_length = max_length
        self._said: list[Said] = []
        self._nats = self._words = 0.0
        self._thawing: list[nn.Parameter] = []
        self._reward: Reward | None = None

    def setup(self, stage: str) -> None:
        """Offer a frozen backbone's features to the data module's cache, and count the references for the reward."""
        super().setup(stage)
        backbone = self.encoder.backbone
        data = getattr(self.trainer, "datamodule", None)
        use_features = getattr(data, "use_features", None)
        if backbone.frozen and self.unfreeze_epoch is None and use_features is not None:
            use_features(self._features, backbone.fingerprint)
        if backbone.frozen and self.unfreeze_epoch is not None:
            self._thawing = list(backbone.parameters())
        if self.self_critical and stage == "fit":
            if data is None:
                raise UsageError(
                    "self_critical needs a data module: the reward counts all the training references"
                )
            self._reward = Reward(data.references("train"))

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        return self.encoder.features(images.to(self.device))

    def on_train_start(self) -> None:
        """Tell the schedule how long the run is; a resumed run may have been unfrozen already."""
        super().on_train_start()
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Let the backbone learn from its epoch on."""
        if self.unfreeze_epoch is not None and self.current_epoch >= self.unfreeze_epoch:
            self.encoder.backbone.unfreeze()
            self.encoder.train()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Average over processes the gradients that ddp does not know of: it looks but once which weights learn."""
        if self.trainer.world_size == 1 or self.encoder.backbone.frozen:
            return
        for parameter in self._thawing:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad = self.trainer.strategy.reduce(parameter.grad, reduce_op="mean")

    def cross_entropy(
        self, decoded: Decoded, caption: Tensor, lengths: Tensor, label_smoothing: float = 0.0
    ) -> Tensor:
        """The sum of captions' cross-entropies, in nats.

        Args:
            decoded: What the decoder made of them.
            caption: The captions (B, T) int64.
            lengths: Ids of each row (B,) int64, on the CPU.
            label_smoothing: Share of the target distribution that is spread over all words.
        """
        loss: Tensor = self.decoder.head(
            decoded.output,
            lambda output, weight, bias: chunked_cross_entropy(
                output, weight, bias, caption, lengths, label_smoothing=label_smoothing
            ),
        )
        return loss

    def loss(self, batch: CaptionBatch, *, sampling: float = 0.0) -> tuple[Tensor, Tensor]:
        """What training makes smaller, summed over the captions.

        Args:
            batch: At least one caption.
            sampling: Probability that the decoder reads a word of its own.

        Returns:
            The smoothed cross-entropy with the regulariser, and without it, both in nats.
        """
        memory = self.encoder(batch.image)
        nats = uneven = torch.zeros((), device=self.device)
        for rows in self._alike(batch.lengths):
            lengths = batch.lengths[rows]
            there = rows.to(self.device, non_blocking=True)
            caption = batch.caption[there, : int(lengths.max())]
            decoded = self._decode(memory, caption, batch.image_of[there], sampling)
            nats = nats + self.cross_entropy(decoded, caption, lengths, self.label_smoothing)
            if self.doubly_stochastic:
                valid = valid_steps(lengths, caption.shape[1]).to(self.device, non_blocking=True)
                seen = decoded.attention.masked_fill(~valid.unsqueeze(2), 0.0).sum(1)  # (B, P)
                uneven = uneven + (1 - seen).square().sum()
        return nats + self.doubly_stochastic * uneven, nats

    def _alike(self, lengths: Tensor) -> Sequence[Tensor]:
        """Rows of similar length: one long caption would have all the others padded to its length.

        On a GPU, where few rows are as slow as many, they stay together.
        """
        groups = len(lengths) // _ROWS if self.device.type == "cpu" else 1
        return lengths.argsort(stable=True).tensor_split(max(1, min(groups, 4)))

    def training_step(self, batch: CaptionBatch, batch_idx: int) -> Tensor:
        """The loss, a mean over all processes' words: cross-entropy and regulariser, or the self-critical one."""
        if not len(batch.lengths):
            return self.global_mean(self.zero(), torch.tensor(0))
        if self.self_critical:
            return self._criticise(batch)
        sampling = self.scheduled_sampling
        if sampling:
            sampling *= min(1.0, self.global_step / max(1, self._run_length()))
        loss, nats = self.loss(batch, sampling=sampling)
        count = batch.lengths.sum()
        self.log("train/loss", nats.detach() / int(count), prog_bar=True)
        return self.global_mean(loss, count)

    def _criticise(self, batch: CaptionBatch) -> Tensor:
        assert self._reward is not None
        memory = self.encoder(batch.image)
        image_of = torch.arange(len(batch.number), device=self.device).repeat_interleave(
            self.self_critical
        )
        drawn = self._search(memory, beam_size=1, temperature=1.0, copies=self.self_critical)
        rewards = self._reward(
            [self.vocabulary.decode(one.tokens) for [one] in drawn],
            [one.finished for [one] in drawn],
            [batch.references[row] for row in image_of.tolist()],
        )
        rows = [
            torch.tensor(one.tokens + ([Subwords.END] if one.finished else [])) for [one] in drawn
        ]
        lengths = torch.tensor([len(row) for row in rows])
        caption = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=Subwords.PAD).to(
            self.device
        )
        decoded = self._decode(memory, caption, image_of)
        advantage = (
            advantages(torch.tensor(rewards).view(-1, self.self_critical)).flatten().to(self.device)
        )
        loss = policy_loss(self.decoder.head(decoded.output), caption, lengths, advantage)
        self.log("train/reward", sum(rewards) / len(rewards), prog_bar=True)
        return self.global_mean(loss, lengths.sum())

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self._said = []
        self._nats = self._words = 0.0

    def validation_step(self, batch: CaptionBatch, batch_idx: int) -> None:
        """Score the references, and caption freely."""
        self._evaluate(batch, self.val_beam_size)

    def on_validation_epoch_end(self) -> None:
        """Log the loss and the scores of the whole part."""
        self._log_loss("val")
        self._log_scores("val", "", self._said)

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: CaptionBatch, batch_idx: int) -> None:
        """Score the references, and caption freely."""
        self._evaluate(batch, self.beam_size)

    def on_test_epoch_end(self) -> None:
        """Log the loss and the scores of the whole part, and beside them those of captions that saw no image."""
        self._log_loss("test")
        self._log_scores("test", "", self._said)
        # Both look at the whole part: what a process chose for its share would depend on how many
        # there are.
        everyone, rank = self._everyones_said(), self.trainer.global_rank
        others = blind.shuffled(everyone)
        self._log_scores("test", "shuffled_", others[rank :: self.trainer.world_size])
        references = getattr(getattr(self.trainer, "datamodule", None), "references", None)
        constant = blind.best_constant([] if references is None else references("train"), everyone)
        rank_zero_info(f"The best constant caption: {constant}")
        self._log_scores(
            "test", "constant_", [one._replace(caption=constant) for one in self._said]
        )

    def _evaluate(self, batch: CaptionBatch, beam_size: int) -> None:
        if not len(batch.lengths):
            return
        decoded, memory = self(batch.image, batch.caption, batch.image_of)
        self._nats += self.cross_entropy(decoded, batch.caption, batch.lengths).item()
        self._words += int(batch.lengths.sum())
        found = self._search(memory, beam_size=beam_size)
        texts = [self.vocabulary.decode(hypotheses[0].tokens) for hypotheses in found]
        self._said += map(Said, batch.number.tolist(), texts, batch.references)

    def _log_loss(self, part: str) -> None:
        nats, words = self._everyones(self._nats, self._words)
        self.log(f"{part}/loss", nats / max(words, 1), prog_bar=True, sync_dist=True)

    def _log_scores(self, part: str, prefix: str, said: Sequence[Said]) -> None:
        scores = CaptionScores().to(self.device)
        scores.update(
            [one.caption for one in said],
            [one.references for one in said],
            [one.number for one in said],
        )
        for name, value in scores.compute().items():
            shown = name == "cider_d" and not prefix
            self.log(
                f"{part}/{prefix}{name}",
                value.float().to(self.device),
                prog_bar=shown,
                sync_dist=True,
            )
        judge = getattr(getattr(self.trainer, "datamodule", None), "judge", None)
        if judge is not None and judge(part, 0, "") is not None:  # built-in data know what is true
            right, count = self._everyones(
                sum(judge(part, one.number, one.caption) for one in said), len(said)
            )
            self.log(
                f"{part}/{prefix}exact", right / max(count, 1), prog_bar=not prefix, sync_dist=True
            )

    def _everyones(self, *sums: float) -> list[float]:
        """Add up over processes."""
        if self.trainer.world_size == 1:
            return list(sums)
        mine = torch.tensor(sums, dtype=torch.float64, device=self.device)
        total: list[float] = self.trainer.strategy.reduce(mine, reduce_op="sum").tolist()
        return total

    def _everyones_said(self) -> list[Said]:
        """What all processes said, each image once, in the order of their numbers."""
        shares: list[list[Said]] = [self._said]
        if self.trainer.world_size > 1:
            shares = [[] for _ in range(self.trainer.world_size)]
            distributed.all_gather_object(shares, self._said)
        by_number = {one.number: one for share in shares for one in share}
        return [by_number[number] for number in sorted(by_number)]
