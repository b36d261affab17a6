"""Character language model: the next character at every step.

Shapes: B batch, T time, D embedding, H output of the core, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from ...core import LSTM
from ...core.dropout import EmbeddingDropout, LockedDropout
from ...core.masks import valid_steps
from ...core.recurrent import CoreFactory
from ...core.seq2seq.losses import sequence_cross_entropy
from ...core.seq2seq.sampling import check_sampling, sample
from ...core.state import State, detach, leaves
from ...data.batch import TextBatch
from ...data.spec import TextSpec
from ...data.vocabulary import UnknownCharacters, vocabulary_from_spec
from ..base import Task
from ..carry import restored_state, saved_state
from ..metrics import BitsPerCharacter


class CharLM(Task):
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
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer, stepped after every optimizer step.
        compile_core: Compile the core with `torch.compile` when training starts.

    Raises:
        ValueError: The core is not causal, or the sizes don't allow tied weights.
    """

    symbol_rows: ClassVar = dict.fromkeys(
        ("embedding.weight", "head.weight", "head.bias"),
        "vocabulary",
    )

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
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=3e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile_core: bool = False,
    ) -> None:
        super().__init__(optimizer=optimizer, lr_scheduler=lr_scheduler, compile_core=compile_core)
        self.save_hyperparameters(logger=False)
        self.vocabulary = vocabulary_from_spec(spec["vocabulary"])
        self.embedding = nn.Embedding(self.vocabulary.size, embedding_size)
        self.embedding_dropout = EmbeddingDropout(embedding_dropout)
        self.input_dropout = LockedDropout(input_dropout)
        self.core = core(embedding_size)
        if not self.core.causal:
            raise ValueError(
                f"{type(self.core).__name__} is not causal: a language model must not see the characters that it "
                "predicts; take a core that reads forwards only"
            )
        self.output_dropout = LockedDropout(output_dropout)
        self.head = nn.Linear(self.core.output_size, self.vocabulary.size)
        if tie_weights:
            if self.core.output_size != embedding_size:
                raise ValueError(
                    f"tie_weights: the core's output has {self.core.output_size} features, the embedding "
                    f"{embedding_size}; they must be equal"
                )
            self.head.weight = self.embedding.weight
        self.activation_regularization = activation_regularization
        self.temporal_activation_regularization = temporal_activation_regularization
        self.bits_per_character = BitsPerCharacter()
        # States carried from batch to batch, of training and of evaluation apart. They are the
        # task's, not the core's.
        self.training_state: State | None = None
        self.evaluation_state: State | None = None
        self._restored_state: Any = None

    def forward(
        self,
        input: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Predict the next character after every character.

        Args:
            input: Characters (B, T) int64.
            state: The core's state before them; None: its initial state.
            lengths: Valid characters of each row (B,) int64; None: all.
            reset: Where a row starts anew (B, T) bool; None: nowhere.

        Returns:
            Logits (B, T, V) and the core's state after them.
        """
        output, state = self._run_core(input, state, lengths, reset)
        return self.head(self.output_dropout(output)), state

    def _run_core(
        self, input: Tensor, state: State | None, lengths: Tensor | None, reset: Tensor | None
    ) -> tuple[Tensor, State]:
        embedded = self.input_dropout(self.embedding_dropout(self.embedding, input))  # (B, T, D)
        return self.core(embedded, state, lengths=lengths, reset=reset)  # (B, T, H)

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Predict the next character after one character.

        Args:
            input: Characters (B,) int64.
            state: The core's state before them.

        Returns:
            Logits (B, V) and the core's state after them.
        """
        output, state = self.core.step(self.embedding(input), state)
        return self.head(output), state

    def loss(self, batch: TextBatch, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """What training makes small.

        Args:
            batch: The next chunk.
            state: The state before it; None: the core's initial state.

        Returns:
            The loss (mean nats per character and the activation regularisers), the sum of the nats,
            the state after.
        """
        output, state = self._run_core(batch.input, state, batch.lengths, batch.reset)
        dropped = self.output_dropout(output)
        count = batch.lengths.sum()
        # for sums, also under half precision
        wide = torch.promote_types(output.dtype, torch.float32)
        nats = sequence_cross_entropy(self.head(dropped), batch.target, batch.lengths)
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
        """The loss of the next chunk; the state goes on from the chunk before."""
        loss, nats, state = self.loss(batch, self._rows_fit(self.training_state, batch))
        self.training_state = detach(state)
        self.log("train/loss", nats.detach() / max(int(batch.lengths.sum()), 1), prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start the text from its beginning."""
        self.evaluation_state = None
        self.bits_per_character.reset()

    def validation_step(self, batch: TextBatch, batch_idx: int) -> None:
        """Count the nats of the next chunk."""
        state = self._rows_fit(self.evaluation_state, batch)
        logits, self.evaluation_state = self(
            batch.input, state, lengths=batch.lengths, reset=batch.reset
        )
        nats = sequence_cross_entropy(logits, batch.target, batch.lengths)
        self.bits_per_character.update(nats, int(batch.lengths.sum()))

    def on_validation_epoch_end(self) -> None:
        """Log the cross-entropy over the whole text."""
        self._log_scores("val")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        """Log the cross-entropy over the whole text."""
        self._log_scores("test")

    def _log_scores(self, part: Literal["val", "test"]) -> None:
        # already the same in every process
        bits = self.bits_per_character.compute().float().to(self.device)
        self.log(f"{part}/loss", bits * math.log(2), prog_bar=True, sync_dist=True)
        self.log(f"{part}/bits_per_character", bits, prog_bar=True, sync_dist=True)
        self.evaluation_state = None

    @staticmethod
    def _rows_fit(state: State | None, batch: TextBatch) -> State | None:
        """The carried state, if it is of these rows: another loader may have another number of them."""
        return (
            state
            if state is not None and leaves(state)[0].shape[0] == batch.input.shape[0]
            else None
        )

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

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        *,
        length: int = 500,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        unknown: Literal["error", "skip"] = "error",
    ) -> str | list[str]:
        """Write on.

        Args:
            prompt: The text to go on from; a list of them is answered with a list.
            length: How many characters (bytes, for a model of bytes) at most: a document's end ends
                it earlier.
            temperature: Divides the logits; 0 takes the most probable character.
            top_k: Keep this many of the most probable characters.
            top_p: Keep the smallest set of most probable characters whose probabilities reach this
                sum.
            min_p: Keep characters of at least this fraction of the most probable one's probability.
            seed: Makes the text repeatable; None: another text each time.
            unknown: What to do with a character of the prompt that the model never saw.

        Returns:
            The new text, without the prompt.

        Raises:
            DataError: The prompt has a character that the model never saw.
            ValueError: A setting is out of its range.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        texts = ["" for _ in prompts]
        for pieces in self.generate_stream(
            prompts,
            length=length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            seed=seed,
            unknown=unknown,
        ):
            texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
        return texts[0] if isinstance(prompt, str) else texts

    @torch.inference_mode()
    def generate_stream(
        self,
        prompts: Sequence[str],
        *,
        length: int = 500,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        unknown: Literal["error", "skip"] = "error",
    ) -> Iterator[list[str]]:
        """Write on, a character at a time.

        Args:
            prompts: The texts to go on from.
            length: See `generate`, also for the rest.
            temperature: See `generate`.
            top_k: See `generate`.
            top_p: See `generate`.
            min_p: See `generate`.
            seed: See `generate`.
            unknown: See `generate`.

        Yields:
            What comes next in each text: a character, or nothing (after the end, or in the middle
            of a character's bytes).
        """
        check_sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        if length < 0:
            raise ValueError(f"length={length}: must be at least 0")
        if not prompts or length == 0:
            return
        self.eval()
        generator = torch.Generator(self.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        vocabulary = self.vocabulary
        try:
            ids = [
                torch.tensor([vocabulary.END, *vocabulary.encode(text, unknown=unknown)])
                for text in prompts
            ]
        except UnknownCharacters as error:
            remedy = "Write without them, or leave them out with unknown='skip' (--unknown skip)."
            raise UnknownCharacters(error.counts, where="The prompt", remedy=remedy) from None
        lengths = torch.tensor([len(row) for row in ids])
        read = nn.utils.rnn.pad_sequence(ids, batch_first=True)
        output, state = self._run_core(read.to(self.device), None, lengths, None)
        last = output[torch.arange(len(ids)), lengths - 1]  # (B, H)
        embedding, head, bias = self.embedding.weight, self.head.weight.t(), self.head.bias.clone()
        bias[list(vocabulary.never_written)] = -torch.inf
        core_step = self.core.stepper()
        decoders = [vocabulary.decoder() for _ in ids]
        finished = [False] * len(ids)

        def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
            output, state = core_step(embedding[tokens], state)
            return torch.addmm(bias, output, head), state

        for tokens in sample(
            step,
            torch.addmm(bias, last, head),
            state,
            length=length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            generator=generator,
        ):
            pieces = []
            for row, token in enumerate(tokens.tolist()):
                finished[row] = finished[row] or token == vocabulary.END
                pieces.append("" if finished[row] else decoders[row].push([token]))
            yield pieces
            if all(finished):
                break
        # an incomplete character of a model of bytes
        rest = [decoder.finish() for decoder in decoders]
        if any(rest):
            yield rest
