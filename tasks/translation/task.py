"""The training of translation: a sentence in, a sentence out.

Shapes: B batch, T target steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ...core import GRU
from ...core.recurrent import CoreFactory
from ...core.seq2seq.attention import AdditiveAttention, AttentionFactory
from ...data.batch import TranslationBatch
from ...data.spec import TranslationSpec
from ..base import MetricFactory, Part
from ..metrics import SacreBLEU
from ..results import Results
from ..samples import Sample
from ..sequence import EncoderDecoderTask
from .model import TranslationModel
from .results import Answer, translations
from .shortlist import KEY, TranslationKnowledge, shortlist_of, to_checkpoint


class Translation(EncoderDecoderTask):
    """A recurrent encoder-decoder with attention.

    Bahdanau et al. 2015 (https://arxiv.org/abs/1409.0473) and Luong et al. 2015
    (https://arxiv.org/abs/1508.04025), with the regularisers of later work; see `SequenceEncoder`
    and `SequenceDecoder`.

    Args:
        spec: What the data module found out about the sentences: the subwords.
        encoder: Makes the encoder's core from the embedding size; null: a bidirectional GRU of 2 x
            128.
        decoder: Makes the decoder's core from its input size; it has to be causal.
        attention: Makes the attention; null: the decoder sees the mean of the encoder's outputs
            once.
        embedding_size: Size of the symbols' vectors.
        input_feeding: Feed the decoder's output back into its input.
        share_embeddings: One table for source and target, which must have one joint vocabulary.
        tie_weights: The output layer's weights are the target embedding's.
        dropout: Locked dropout of the embedded symbols and of the cores' outputs.
        label_smoothing: Share of the target distribution that is spread over all symbols (Szegedy
            et al. 2016, https://arxiv.org/abs/1512.00567).
        scheduled_sampling: Probability, at the end of the run, that the decoder reads a symbol of
            its own instead of the reference's; it grows from 0 in proportion to the steps (Bengio
            et al. 2015, https://arxiv.org/abs/1506.03099).
        beam_size: Hypotheses that `test` and `translate` keep; 1 is greedy search.
        val_beam_size: Hypotheses that validation during training keeps.
        length_penalty: Exponent of ((5 + length) / 6), which divides a hypothesis's log-probability
            (Wu et al. 2016, https://arxiv.org/abs/1609.08144).
        tokenize: sacreBLEU's tokenization: 13a, zh, char, intl or none.
        source_vectors: A file of word vectors (GloVe, fastText, word2vec, in text form) that the
            source's embedding begins with; null: none.
        target_vectors: The same for the target's.
        metrics: Makes more metrics by their names, as {wer: {class_path: ...}}: of translations and
            references, a text of each sentence.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer, stepped after every optimizer step.
        compile_core: Compile the cores with `torch.compile` when training starts.

    Raises:
        ValueError: A setting is out of its range, or sizes or vocabularies don't allow shared
            weights.

    Examples:
        >>> from unrolled.data import ParallelData
        >>> pairs = [("ein Hund", "a dog"), ("ein Haus", "a house")]
        >>> data = ParallelData.from_iterable(pairs, kind="word")
        >>> data.prepare_data()
        >>> task = Translation(data.spec, decoder=lambda size: GRU(size, hidden_size=8))
        >>> data.setup("fit")
        >>> batch = next(iter(data.train_dataloader()))
        >>> decoded, memory = task.model(batch.source, batch.source_lengths, batch.target)
        >>> decoded.output.shape[:2] == batch.target.shape
        True
    """

    model: TranslationModel
    shown = ("loss", "bleu")
    written = ("translations", "sentences")

    def __init__(
        self,
        spec: TranslationSpec,
        encoder: CoreFactory | None = None,
        decoder: CoreFactory = lambda input_size: GRU(input_size, hidden_size=256),
        attention: AttentionFactory | None = AdditiveAttention,
        *,
        embedding_size: int = 128,
        input_feeding: bool = True,
        share_embeddings: bool = False,
        tie_weights: bool = False,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        scheduled_sampling: float = 0.0,
        beam_size: int = 5,
        val_beam_size: int = 1,
        length_penalty: float = 1.0,
        tokenize: str = "13a",
        source_vectors: str | None = None,
        target_vectors: str | None = None,
        metrics: dict[str, MetricFactory] | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile_core: bool = False,
    ) -> None:
        model = TranslationModel(
            spec,
            encoder,
            decoder,
            attention,
            embedding_size=embedding_size,
            input_feeding=input_feeding,
            share_embeddings=share_embeddings,
            tie_weights=tie_weights,
            dropout=dropout,
            beam_size=beam_size,
            length_penalty=length_penalty,
        )
        super().__init__(
            model,
            label_smoothing=label_smoothing,
            scheduled_sampling=scheduled_sampling,
            val_beam_size=val_beam_size,
            metrics=metrics,
            vectors={"source": source_vectors, "target": target_vectors},
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            compile_core=compile_core,
        )
        self.save_hyperparameters(logger=False)
        self.metrics["bleu"] = self.bleu = SacreBLEU(tokenize=tokenize)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the shortlist, learnt from the training part when it is first needed."""
        super().on_save_checkpoint(checkpoint)
        model, data = self.model, getattr(self._trainer, "datamodule", None)
        writes = self._trainer is not None and self.trainer.is_global_zero
        if model.shortlist is None and writes and isinstance(data, TranslationKnowledge):
            model.shortlist = shortlist_of(data, (model.source.size, model.target.size))
        if model.shortlist is not None:
            checkpoint[KEY] = to_checkpoint(model.shortlist)

    def loss(self, batch: TranslationBatch, *, sampling: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return the smoothed cross-entropy, summed over the pairs: it is the whole loss."""
        decoded, _ = self.model(batch.source, batch.source_lengths, batch.target, sampling=sampling)
        nats = self.cross_entropy(decoded, batch.target, batch.target_lengths, self.label_smoothing)
        return nats, nats

    def training_step(self, batch: TranslationBatch, batch_idx: int) -> Tensor:
        """Return the smoothed cross-entropy, a mean over all processes' symbols."""
        return self.learn(batch, batch.target_lengths.sum())

    def evaluate(self, batch: TranslationBatch, part: Part) -> None:
        """Score the references, and translate freely."""
        decoded, memory = self.model(batch.source, batch.source_lengths, batch.target)
        texts = self.answers(decoded, memory, batch.target, batch.target_lengths, part)
        self.bleu.update(texts, batch.reference)
        self.count(texts, batch.reference)
        if self.kept is not None:
            self.kept += map(Answer, batch.number.tolist(), texts, batch.reference)

    def results(self, kept: Sequence[Answer], inputs: Sequence[str]) -> Results:
        """Return every sentence with its translation."""
        return {"translations.tsv": translations(kept, inputs, self.bleu)}

    def signatures(self) -> dict[str, str]:
        """Return how BLEU and chrF are computed, in sacreBLEU's short form."""
        return self.bleu.signatures()

    def instead_of(self, name: str) -> str:
        """Return chrF where BLEU can't tell: most references are one word, or have no spaces."""
        return "val/chrf" if name == "val/bleu" and not self.bleu.can_tell else name

    def sample(self, batch: TranslationBatch) -> Sample | None:
        """Return the validation's first sentence and its translation."""
        if not batch.reference:
            return None
        source = self.model.source.decode(batch.source[0, : int(batch.source_lengths[0])].tolist())
        attends = self.model.decoder.attention is not None
        [[found]] = self.model.translations(
            [source], beam_size=self.val_beam_size, attention=attends
        )
        line = f"{source!r} -> {found.text!r} (reference {batch.reference[0]!r})"
        return Sample(line, found if found.attention is not None else None)

    def log_scores(self, part: Part) -> None:
        """Log loss, BLEU, chrF and exact matches; of the test also say how they are computed."""
        super().log_scores(part)
        if part == "test":
            for signature in self.bleu.signatures().values():
                rank_zero_info(signature)
