"""The training of a character language model.

Shapes: B batch, T time, D embedding, H output of the core, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional

from ...core import LSTM
from ...core.masks import valid_steps
from ...core.recurrent import CoreFactory
from ...core.seq2seq.losses import sequence_cross_entropy
from ...core.state import State, detach
from ...data.batch import TextBatch
from ...data.spec import TextSpec
from ...data.vocabulary import ByteVocabulary, CharacterVocabulary
from ..base import MetricFactory, Part
from ..carry import CarriesState, rows_of
from ..metrics import BitsPerCharacter
from ..results import Results
from ..samples import Sample
from ..step_log import log_step
from .model import CharModel
from .results import ScoredPiece, documents, merged, pieces_of
from .writing import as_text

_PIECES = 100_000  # of documents, kept before neighbours are put together

_PROMPT, _WRITTEN = 32, 80  # symbols of a sample


class CharLM(CarriesState):
    """Characters in, a distribution over the next character out, at every step.

    Trained by truncated backpropagation through time: a batch is the next chunk of each of B
    streams, and the state is carried from chunk to chunk without its gradient (Mikolov et al. 2010;
    Williams and Peng 1990). The regularisers are those of AWD-LSTM (Merity et al. 2017,
    https://arxiv.org/abs/1708.02182); dropout between layers and of recurrent weights belongs to
    the core (`Stacked`, `WeightDrop`).

    Args:
        spec: What the data module found out about the text.
        core: Makes the recurrent core from the embedding size; it has to be causal.
        embedding_size: D.
        tie_weights: The output layer's weights are the embedding's (Press and Wolf 2017,
            https://arxiv.org/abs/1608.05859); the core's output must then have D features.
        embedding_dropout: Probability that a character's embedding is zero for a whole chunk.
        input_dropout: Locked dropout of the core's input (Gal and Ghahramani 2016,
            https://arxiv.org/abs/1512.05287).
        output_dropout: Locked dropout of the core's output.
        activation_regularization: Weight of the mean square of the dropped output (AR).
        temporal_activation_regularization: Weight of the mean square of the output's differences in
            time (TAR).
        vectors: A file of word vectors (GloVe, fastText, word2vec, in text form) that the embedding
            begins with; null: none.
        metrics: Makes more metrics by their names, as {top5: {class_path: ...}}: of the characters'
            logits (N, V) and numbers (N,).
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer, stepped after every optimizer step.
        compile_core: Compile the core with `torch.compile` when training starts.

    Raises:
        ValueError: The core is not causal, or the sizes don't allow tied weights.

    Examples:
        >>> from unrolled.core import GRU
        >>> from unrolled.data import TextData
        >>> data = TextData(text="hello", batch_size=1, chunk_length=4)
        >>> data.prepare_data()
        >>> task = CharLM(data.spec, lambda size: GRU(size, hidden_size=3), embedding_size=4)
        >>> data.setup("fit")
        >>> logits, state = task.model(next(iter(data.train_dataloader())).input)
        >>> logits.shape, state.hidden.shape
        (torch.Size([1, 4, 6]), torch.Size([1, 3]))
    """

    model: CharModel
    shown = ("loss", "bits_per_character", "perplexity")

    def __init__(
        self,
        spec: TextSpec,
        core: CoreFactory = lambda input_size: LSTM(input_size, hidden_size=256),
        *,
        embedding_size: int = 64,
        tie_weights: bool = False,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        activation_regularization: float = 0.0,
        temporal_activation_regularization: float = 0.0,
        vectors: str | None = None,
        metrics: dict[str, MetricFactory] | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=3e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile_core: bool = False,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            compile_core=compile_core,
            metrics=metrics,
            vectors={"vocabulary": vectors},
        )
        self.save_hyperparameters(logger=False)
        self.model = CharModel(
            spec,
            core,
            embedding_size=embedding_size,
            tie_weights=tie_weights,
            embedding_dropout=embedding_dropout,
            input_dropout=input_dropout,
            output_dropout=output_dropout,
        )
        self.activation_regularization = activation_regularization
        self.temporal_activation_regularization = temporal_activation_regularization
        self.metrics["bits_per_character"] = BitsPerCharacter()
        vocabulary = self.model.vocabulary
        self.tokens = (
            None if isinstance(vocabulary, CharacterVocabulary | ByteVocabulary) else vocabulary
        )
        if self.tokens is not None:
            self.metrics["bits_per_token"] = BitsPerCharacter()
        self._room = _PIECES

    def loss(self, batch: TextBatch, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """Return what training makes small.

        Args:
            batch: The next chunk.
            state: The state before it; None: the core's initial state.

        Returns:
            The loss (mean nats per character and the activation regularisers), the sum of the nats,
            the state after.
        """
        output, state = self.model.read(
            batch.input, state, lengths=batch.lengths, reset=batch.reset
        )  # (B, T, H)
        dropped = self.model.output_dropout(output)
        count = batch.lengths.sum()
        # for sums, also under half precision
        wide = torch.promote_types(output.dtype, torch.float32)
        nats = sequence_cross_entropy(self.model.head(dropped), batch.target, batch.lengths)
        loss = self.global_mean(nats, count)
        if not count:  # an epoch's last batch may leave nothing to one process
            loss = loss + self.zero()
        if self.activation_regularization:
            # What lies past a row's length is zero and adds nothing.
            squares = dropped.to(wide).square().sum() / output.shape[-1]
            loss = loss + self.activation_regularization * self.global_mean(squares, count)
        if self.temporal_activation_regularization and output.shape[1] > 1:
            changes = (output[:, 1:] - output[:, :-1]).to(wide)
            # The step after a row's last one is no change.
            if len(batch.lengths) and int(batch.lengths.min()) < output.shape[1]:
                valid = valid_steps(batch.lengths - 1, changes.shape[1]).to(changes.device)
                changes = changes.masked_fill(~valid.unsqueeze(2), 0.0)
            squares = changes.square().sum() / output.shape[-1]
            loss = loss + self.temporal_activation_regularization * self.global_mean(squares, count)
        return loss, nats, state

    def training_step(self, batch: TextBatch, batch_idx: int) -> Tensor:
        """Return the loss of the next chunk; the state goes on from the chunk before."""
        loss, nats, state = self.loss(batch, rows_of(self.training_state, batch.input.shape[0]))
        self.training_state = detach(state)
        log_step(self, "train/loss", nats.detach() / max(int(batch.lengths.sum()), 1))
        return loss

    def evaluate(self, batch: TextBatch, part: Part) -> None:
        """Count the nats of the next chunk."""
        state = rows_of(self.evaluation_state, batch.input.shape[0])
        logits, self.evaluation_state = self.model(
            batch.input, state, lengths=batch.lengths, reset=batch.reset
        )
        nats = sequence_cross_entropy(logits, batch.target, batch.lengths)
        characters = self._characters(batch)
        self.metrics["bits_per_character"].update(nats, int(characters.sum()))
        if self.tokens is not None:
            self.metrics["bits_per_token"].update(nats, int(batch.lengths.sum()))
        if self.kept is not None and batch.start is not None:
            wide = logits.detach().float().transpose(1, 2)  # (B, V, T)
            each = functional.cross_entropy(wide, batch.target, reduction="none")  # (B, T)
            self.kept += pieces_of(batch, each, characters)
            if len(self.kept) > self._room:
                self.kept = merged(self.kept)
                self._room = max(_PIECES, 2 * len(self.kept))  # documents may be as many
        if self.more_metrics:
            valid = valid_steps(batch.lengths, logits.shape[1]).to(logits.device)  # (B, T)
            self.count(logits[valid], batch.target[valid])

    def sample(self, batch: TextBatch) -> Sample | None:
        """Return how the model goes on from the beginning of the validation's text."""
        if not len(batch.lengths) or not int(batch.lengths[0]):
            return None
        known = batch.input[0, : int(batch.lengths[0])].tolist()
        vocabulary = self.model.vocabulary
        hidden = (vocabulary.END, *vocabulary.never_written)
        prompt = vocabulary.decode([n for n in known if n not in hidden][:_PROMPT])
        written = as_text(
            self.model.generate(prompt, length=_WRITTEN, temperature=0.8, seed=0, unknown="skip")
        )
        return Sample(f"{prompt!r} -> {written!r}")

    def scores(self) -> dict[str, Tensor]:
        """Return the cross-entropy over the whole text.

        `loss` is in nats per symbol, `bits_per_character` in bits per character of the text,
        whatever the symbols are; words and subwords have a `perplexity`, e to the loss.
        """
        scores = super().scores()
        per_symbol = scores.pop("bits_per_token", scores["bits_per_character"])
        scores = {"loss": per_symbol * math.log(2), **scores}
        if self.tokens is not None:
            scores["perplexity"] = scores["loss"].exp()
        return scores

    def results(self, kept: Sequence[ScoredPiece], inputs: Sequence[str]) -> Results:
        """Return what each document costs."""
        return {"documents.tsv": documents(kept, inputs)}

    def _characters(self, batch: TextBatch) -> Tensor:
        """Return how many characters of the text each target stands for (B, T)."""
        real = valid_steps(batch.lengths, batch.target.shape[1])  # (B, T)
        if self.tokens is None:
            return real.long()
        counts = self.tokens.characters(batch.input.cpu().numpy(), batch.target.cpu().numpy())
        return torch.from_numpy(counts) * real
