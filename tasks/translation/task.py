"""Translation: a sentence in, a sentence out, by an encoder and an attentive decoder.

Shapes: B batch, S source steps, T target steps, V target vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torchmetrics import MeanMetric

from ...core import GRU, Bidirectional
from ...core.recurrent import CoreFactory
from ...core.seq2seq.attention import AdditiveAttention, AttentionFactory
from ...core.seq2seq.decoder import Decoded, SequenceDecoder
from ...core.seq2seq.encoder import Memory, SequenceEncoder
from ...core.seq2seq.losses import chunked_cross_entropy
from ...core.seq2seq.search import Hypothesis, search_sequences
from ...data.batch import TranslationBatch
from ...data.spec import TranslationSpec
from ...data.tokenizer import Subwords
from ...errors import DataError
from ..base import Task
from ..metrics import SacreBLEU

_LONGEST = 2000
"""Subwords of a sentence that is translated."""


class Translated(NamedTuple):
    """One translation of a sentence.

    Attributes:
        text: The translation.
        score: What the search ranked it by: the log-probability over the length penalty.
        log_probability: The model's, in nats, the end symbol included.
        source: The source's subwords, the end symbol included.
        target: The translation's subwords; with the end symbol, if it came to an end.
        attention: How much each target subword (row) looked at each source subword (column), on the
            CPU; None where it was not asked for.
    """

    text: str
    score: float
    log_probability: float
    source: list[str]
    target: list[str]
    attention: Tensor | None


def _bidirectional_gru(input_size: int) -> Bidirectional:
    return Bidirectional(input_size, lambda size: GRU(size, hidden_size=128))


def _embedding(count: int, size: int) -> nn.Embedding:
    table = nn.Embedding(count, size, padding_idx=Subwords.PAD)
    # a tied output layer would start with logits far too large otherwise
    nn.init.normal_(table.weight, std=size**-0.5)
    nn.init.zeros_(table.weight[Subwords.PAD])
    return table


class Translation(Task):
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
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer, stepped after every optimizer step.
        compile_core: Compile the cores with `torch.compile` when training starts.

    Raises:
        ValueError: A setting is out of its range, or sizes or vocabularies don't allow shared
            weights.
    """

    symbol_rows: ClassVar = {
        "encoder.embedding.weight": "source",
        "decoder.embedding.weight": "target",
        "decoder.head.weight": "target",
        "decoder.head.bias": "target",
    }

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
        sizes = {
            "embedding_size": embedding_size,
            "beam_size": beam_size,
            "val_beam_size": val_beam_size,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size}: must be at least 1")
        if share_embeddings and not spec["joint"]:
            raise ValueError(
                "share_embeddings needs one vocabulary for both languages: set --data.joint_vocabulary true, "
                "or --model.share_embeddings false"
            )
        self.source = Subwords.from_spec(spec["source"])
        self.target = self.source if spec["joint"] else Subwords.from_spec(spec["target"])
        target = _embedding(self.target.size, embedding_size)
        source = target if share_embeddings else _embedding(self.source.size, embedding_size)
        self.encoder = SequenceEncoder(source, encoder or _bidirectional_gru, dropout=dropout)
        self.decoder = SequenceDecoder(
            target,
            decoder,
            memory_size=self.encoder.output_size,
            attention=attention,
            input_feeding=input_feeding,
            tie_weights=tie_weights,
            dropout=dropout,
        )
        self.label_smoothing = label_smoothing
        self.scheduled_sampling = scheduled_sampling
        self.beam_size = beam_size
        self.val_beam_size = val_beam_size
        self.length_penalty = length_penalty
        self.bleu = SacreBLEU(tokenize=tokenize)
        self.nats = MeanMetric()

    def forward(
        self, source: Tensor, source_lengths: Tensor, target: Tensor, *, sampling: float = 0.0
    ) -> tuple[Decoded, Memory]:
        """Read sources and their known targets.

        Args:
            source: (B, S) int64, each row ends with the end symbol.
            source_lengths: (B,) int64, on the CPU.
            target: (B, T) int64, each row ends with the end symbol.
            sampling: Probability that the decoder reads a symbol of its own.

        Returns:
            What the decoder made of it (`decoder.head` turns its output into logits), and the
            memory.
        """
        memory = self.encoder(source, source_lengths)
        rows, steps = target.shape
        before = torch.cat(
            (target.new_full((rows, min(steps, 1)), Subwords.START), target[:, :-1]), 1
        )
        decoded = self.decoder(
            before,
            self.decoder.prepare(memory),
            self.decoder.initial_state(memory),
            sampling=sampling,
        )
        return decoded, memory

    def cross_entropy(
        self, decoded: Decoded, batch: TranslationBatch, label_smoothing: float = 0.0
    ) -> Tensor:
        """The sum of the target symbols' cross-entropies, in nats.

        Args:
            decoded: What the decoder made of the batch.
            batch: The batch.
            label_smoothing: Share of the target distribution that is spread over all symbols.
        """
        loss: Tensor = self.decoder.head(
            decoded.output,
            lambda output, weight, bias: chunked_cross_entropy(
                output,
                weight,
                bias,
                batch.target,
                batch.target_lengths,
                label_smoothing=label_smoothing,
            ),
        )
        return loss

    def training_step(self, batch: TranslationBatch, batch_idx: int) -> Tensor:
        """The smoothed cross-entropy, a mean over all processes' symbols."""
        sampling = self.scheduled_sampling
        if sampling:
            sampling *= min(1.0, self.global_step / max(1, self._run_length()))
        decoded, _ = self(batch.source, batch.source_lengths, batch.target, sampling=sampling)
        nats = self.cross_entropy(decoded, batch, self.label_smoothing)
        count = batch.target_lengths.sum()
        loss = self.global_mean(nats, count)
        self.log("train/loss", nats.detach() / max(int(count), 1), prog_bar=True)
        return loss if int(count) else loss + self.zero()

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self.bleu.reset()
        self.nats.reset()

    def validation_step(self, batch: TranslationBatch, batch_idx: int) -> None:
        """Score the references, and translate freely."""
        self._evaluate(batch, self.val_beam_size)

    def on_validation_epoch_end(self) -> None:
        """Log loss, BLEU and chrF of the whole part."""
        self._log_scores("val")

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: TranslationBatch, batch_idx: int) -> None:
        """Score the references, and translate freely."""
        self._evaluate(batch, self.beam_size)

    def on_test_epoch_end(self) -> None:
        """Log loss, BLEU, chrF and exact matches of the whole part, and say how they were computed."""
        self._log_scores("test")
        for signature in self.bleu.signatures().values():
            rank_zero_info(signature)

    def _evaluate(self, batch: TranslationBatch, beam_size: int) -> None:
        decoded, memory = self(batch.source, batch.source_lengths, batch.target)
        count = int(batch.target_lengths.sum())
        self.nats.update(self.cross_entropy(decoded, batch) / max(count, 1), count)
        found = self._search(memory, beam_size=beam_size, length_penalty=self.length_penalty)
        texts = [self.target.decode(hypotheses[0].tokens) for hypotheses in found]
        self.bleu.update(texts, batch.reference)

    def _log_scores(self, part: Literal["val", "test"]) -> None:
        scores = self.bleu.compute()
        self.log(f"{part}/loss", self.nats.compute().to(self.device), prog_bar=True, sync_dist=True)
        for name, value in scores.items():
            self.log(
                f"{part}/{name}",
                value.float().to(self.device),
                prog_bar=name == "bleu",
                sync_dist=True,
            )

    def _search(
        self,
        memory: Memory,
        *,
        beam_size: int,
        length_penalty: float,
        num_hypotheses: int = 1,
        max_length: int | None = None,
        no_repeat_ngram: int = 0,
        temperature: float | None = None,
        generator: torch.Generator | None = None,
    ) -> list[list[Hypothesis]]:
        decoder = self.decoder
        limits: int | list[int] | None = max_length
        if limits is None:
            assert memory.lengths is not None
            limits = [2 * length + 10 for length in memory.lengths.tolist()]
        with torch.no_grad():
            return search_sequences(
                decoder.stepper(),
                decoder.initial_state(memory),
                decoder.prepare(memory),
                start=Subwords.START,
                end=Subwords.END,
                max_length=limits,
                forbidden=(Subwords.PAD, Subwords.START, Subwords.UNKNOWN),
                no_repeat_ngram=no_repeat_ngram,
                beam_size=beam_size,
                num_hypotheses=num_hypotheses,
                length_penalty=length_penalty,
                temperature=temperature,
                generator=generator,
            )

    def translate(self, text: str | Sequence[str], **settings: Any) -> str | list[str]:
        """Translate.

        Args:
            text: A sentence; a list of them is answered with a list.
            settings: See `translations`.

        Returns:
            The best translation of each sentence; an empty one's is empty.
        """
        texts = [text] if isinstance(text, str) else list(text)
        best = [found[0].text for found in self.translations(texts, **settings)]
        return best[0] if isinstance(text, str) else best

    @torch.inference_mode()
    def translations(
        self,
        texts: Sequence[str],
        *,
        beam_size: int | None = None,
        num_hypotheses: int = 1,
        length_penalty: float | None = None,
        max_length: int | None = None,
        no_repeat_ngram: int = 0,
        temperature: float | None = None,
        seed: int | None = None,
        attention: bool = False,
        batch_size: int = 64,
    ) -> list[list[Translated]]:
        """Translate, and say all that is known of the translations.

        Args:
            texts: Sentences.
            beam_size: Hypotheses to keep; None: the model's own setting; 1: greedy search.
            num_hypotheses: How many translations of each sentence to return, at most `beam_size`.
            length_penalty: None: the model's own setting.
            max_length: Subwords of a translation at most; None: twice the source's, and 10.
            no_repeat_ngram: No sequence of so many subwords comes twice in a translation; 0: they
                may.
            temperature: Draw from the model's distribution instead of searching, its logits divided
                by this.
            seed: Makes drawing repeatable; None: another translation each time.
            attention: Return the attention weights.
            batch_size: Sentences translated side by side; what a search finds does not depend on
                it.

        Returns:
            The translations of each sentence, the best first.

        Raises:
            ValueError: A setting is out of its range.
            DataError: A sentence has more than 2,000 subwords.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: must be at least 1")
        beam_size = max(self.beam_size, num_hypotheses) if beam_size is None else beam_size
        self.eval()
        generator = torch.Generator(self.device)
        generator.seed() if seed is None else generator.manual_seed(seed)
        results: list[list[Translated]] = [[Translated("", 0.0, 0.0, [], [], None)]] * len(texts)
        ids = self.source.encode_batch(texts)
        for text, subwords in zip(texts, ids, strict=True):
            if len(subwords) > _LONGEST:
                raise DataError(
                    f"The sentence that begins '{text[:40]}' has {len(subwords):,} subwords; the time to translate "
                    f"grows with their square, so at most {_LONGEST:,} are read at once: split it"
                )
        waiting = sorted(
            (number for number, row in enumerate(ids) if row), key=lambda number: len(ids[number])
        )
        for first in range(0, len(waiting), batch_size):
            numbers = waiting[first : first + batch_size]
            memory = self._read([ids[number] for number in numbers])
            found = self._search(
                memory,
                beam_size=beam_size,
                length_penalty=self.length_penalty if length_penalty is None else length_penalty,
                num_hypotheses=num_hypotheses,
                max_length=max_length,
                no_repeat_ngram=no_repeat_ngram,
                temperature=temperature,
                generator=generator,
            )
            for row, (number, hypotheses) in enumerate(zip(numbers, found, strict=True)):
                results[number] = list(
                    self._describe(memory, row, ids[number], hypotheses, attention)
                )
        return results

    def _read(self, ids: Sequence[Sequence[int]]) -> Memory:
        rows = [torch.tensor([*row, Subwords.END]) for row in ids]
        lengths = torch.tensor([len(row) for row in rows])
        source = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=Subwords.PAD)
        memory: Memory = self.encoder(source.to(self.device), lengths)
        return memory

    def _describe(
        self,
        memory: Memory,
        row: int,
        ids: Sequence[int],
        hypotheses: Sequence[Hypothesis],
        attention: bool,
    ) -> Iterator[Translated]:
        """Yield the translations of one sentence; their attention is that of reading them again."""
        source = self.source.symbols([*ids, Subwords.END])
        one = Memory(memory.output[row : row + 1, : len(source)])
        for hypothesis in hypotheses:
            tokens = hypothesis.tokens + ([Subwords.END] if hypothesis.finished else [])
            weights = None
            if attention:
                before = torch.tensor([Subwords.START, *hypothesis.tokens], device=self.device)[
                    None, : len(tokens)
                ]
                decoded = self.decoder(
                    before, self.decoder.prepare(one), self.decoder.initial_state(one)
                )
                weights = decoded.attention[0].cpu()
            yield Translated(
                self.target.decode(hypothesis.tokens),
                hypothesis.score,
                hypothesis.log_probability,
                source,
                self.target.symbols(tokens),
                weights,
            )
