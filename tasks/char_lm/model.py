"""A character language model and what it writes.

Shapes: B batch, T time, D embedding, H output of the core, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...core import LSTM
from ...core.dropout import EmbeddingDropout, LockedDropout
from ...core.products import product
from ...core.recurrent import CoreFactory
from ...core.seq2seq.sampling import Step, check_sampling, sample
from ...core.state import State, map_state
from ...data.batch import padded
from ...data.spec import TextSpec
from ...data.vocabulary import (
    ByteVocabulary,
    CharacterVocabulary,
    Ids,
    Vocabulary,
    WordVocabulary,
    vocabulary_from_spec,
)
from ..model import Model, Scored, as_texts, infers, seeded
from .writing import Text, Writer, as_known, encoded_prompt

_READ = 512  # symbols of a prompt that are read at once: longer ones take no more memory
_SCORED_AT_ONCE = 4096  # symbols; memory depends on it, the result does not


class CharModel(Model):
    """Characters in, a distribution over the next character out, at every step.

    Args:
        spec: What the data module found out about the text.
        core: Makes the recurrent core from the embedding size; it has to be causal.
        embedding_size: D; this and what follows `CharLM` describes, which trains the model.
        tie_weights: See `CharLM`.
        embedding_dropout: See `CharLM`.
        input_dropout: See `CharLM`.
        output_dropout: See `CharLM`.

    Raises:
        ValueError: The core is not causal, or the sizes don't allow tied weights.

    Examples:
        >>> model = CharModel({"vocabulary": {"kind": "characters", "symbols": "ehlo"}})
        >>> logits, state = model(torch.tensor([[3, 2, 4, 4]]))  # "hell"; 0 and 1 are special
        >>> logits.shape
        torch.Size([1, 4, 6])
        >>> len(model.eval().generate("he", length=3, seed=0))  # three more
        3
    """

    symbol_rows: ClassVar = dict.fromkeys(
        ("embedding.weight", "head.weight", "head.bias"), "vocabulary"
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
    ) -> None:
        super().__init__(spec)
        self.vocabulary = vocabulary_from_spec(spec["vocabulary"])
        self.embedding = nn.Embedding(self.vocabulary.size, embedding_size)
        self.embedding_dropout = EmbeddingDropout(embedding_dropout)
        self.input_dropout = LockedDropout(input_dropout)
        self.core = core(embedding_size)
        if not self.core.causal:
            raise ValueError(
                f"{type(self.core).__name__} is not causal: a language model must not see the "
                "characters that it predicts; take a core that reads forwards only"
            )
        self.output_dropout = LockedDropout(output_dropout)
        self.head = nn.Linear(self.core.output_size, self.vocabulary.size)
        if tie_weights:
            if self.core.output_size != embedding_size:
                raise ValueError(
                    f"tie_weights: the core's output has {self.core.output_size} features, the "
                    f"embedding {embedding_size}; they must be equal"
                )
            self.head.weight = self.embedding.weight

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
        output, state = self.read(input, state, lengths=lengths, reset=reset)
        return self.head(self.output_dropout(output)), state  # (B, T, V)

    def read(
        self,
        input: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return the core's output for every character (B, T, H), and its state after them.

        Args:
            input: Characters (B, T) int64.
            state: See `forward`, also for the rest.
            lengths: See `forward`.
            reset: See `forward`.
        """
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
        output, state = self.core.step(self.embedding(input), state)  # (B, H)
        return self.head(output), state  # (B, V)

    def last(
        self, input: Tensor, lengths: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Predict the symbol that follows each row: logits (B, V), and the core's state there.

        Args:
            input: Symbols (B, T) int64.
            lengths: Symbols of each row; where there are none, the logits mean nothing (B,) int64.
            state: The core's state before the first symbol.
        """
        output, state = self.read(input, state, lengths=lengths)  # (B, T, H)
        return self.head(output[torch.arange(len(input)), lengths - 1]), state  # (B, V)

    def stepper(self, forbidden: Sequence[int] = ()) -> Step:
        """Make `step` ready for many calls without gradients; see `RecurrentCore.stepper`.

        Args:
            forbidden: Characters whose logits shall be minus infinity.
        """
        embedding, bias = self.embedding.weight, self.head.bias.clone()
        bias[list(forbidden)] = -torch.inf
        head = product(self.head.weight.detach(), bias)
        core_step = self.core.stepper()

        def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
            output, state = core_step(embedding[tokens], state)
            return head(output), state

        return step

    def generate(
        self,
        prompt: Text | Sequence[Text] = "",
        *,
        length: int = 500,
        stop: Text | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        unknown: Literal["error", "skip"] = "error",
    ) -> Any:
        """Write on.

        Args:
            prompt: The text to go on from, or bytes for a model of bytes; a list of them is
                answered with a list.
            length: How many symbols (characters, bytes, words, subwords) at most: a document's end
                ends it earlier.
            stop: A text ends before the first place where it would say this.
            temperature: Divides the logits; 0 takes the most probable symbol.
            top_k: Keep this many of the most probable symbols.
            top_p: Keep the smallest set of most probable symbols whose probabilities reach this
                sum.
            min_p: Keep symbols of at least this fraction of the most probable one's probability.
            seed: Makes the text repeatable; None: another text each time.
            unknown: What to do with a symbol of the prompt that the model never saw.

        Returns:
            The new text, without the prompt; `bytes` of a model of bytes.

        Raises:
            DataError: The prompt has a symbol that the model never saw.
            ValueError: A setting is out of its range, or the prompt is bytes and the model writes
                text.
        """
        prompts = [prompt] if isinstance(prompt, str | bytes) else as_texts(prompt, bytes)
        pieces = self.generate_stream(
            prompts,
            length=length,
            stop=stop,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            seed=seed,
            unknown=unknown,
        )
        nothing = self.vocabulary.decoder().finish()
        parts = list(zip(*pieces, strict=True)) or [()] * len(prompts)
        texts = [nothing.join(row) for row in parts]
        return texts[0] if isinstance(prompt, str | bytes) else texts

    @infers
    def score_stream(self, pieces: Iterable[str]) -> Iterator[Scored]:
        """Say how likely the pieces of a text are, each given all that comes before it.

        Args:
            pieces: The text, in pieces of any size, for words and subwords of whole words.
                Characters that the model never saw are passed over; of a piece with some, `symbols`
                are fewer than its characters. Words that it never saw are the unknown one.
        """
        self.eval()
        vocabulary, state, before = self.vocabulary, None, self.vocabulary.END
        unknown: Literal["skip", "replace"] = "replace" if vocabulary.kind == "words" else "skip"
        for piece in pieces:
            ids = vocabulary.encode(as_known(vocabulary, piece), unknown=unknown).tolist()
            values: list[float] = []
            for first in range(0, len(ids), _SCORED_AT_ONCE):
                part = ids[first : first + _SCORED_AT_ONCE]
                target = torch.tensor([part], device=self.device)  # (1, T)
                input = torch.tensor([[before, *part[:-1]]], device=self.device)  # (1, T)
                logits, state = self(input, state)  # (1, T, V)
                wide = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
                values += wide.gather(2, target.unsqueeze(2))[0, :, 0].tolist()
                before = part[-1]
            yield _named(vocabulary, piece, ids, values)

    @torch.inference_mode()
    def score(self, texts: Sequence[str], *, batch_size: int = 64) -> list[Scored]:
        """Return how likely the model finds texts, each by itself.

        Args:
            texts: The texts. An end is not predicted: a text may be the beginning of another.
            batch_size: Texts side by side; the result does not depend on it.

        Raises:
            DataError: A text has a character that the model never saw.
            TypeError: The texts are no list of str.
        """
        texts = as_texts(texts)
        self.eval()
        words = self.vocabulary.kind == "words"  # unknown ones are a symbol that it has learnt
        unknown: Literal["error", "replace"] = "replace" if words else "error"
        found: list[Scored] = []
        for first in range(0, len(texts), batch_size):
            several = [as_known(self.vocabulary, text) for text in texts[first:][:batch_size]]
            ids = [self.vocabulary.encode(text, unknown=unknown).tolist() for text in several]
            target, lengths = padded(ids)  # (B, T)
            target = target.to(self.device)
            start = torch.full_like(target[:, :1], self.vocabulary.END)
            input = torch.cat((start, target[:, :-1]), 1)  # (B, T)
            logits, _ = self(input, lengths=lengths)  # (B, T, V)
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
            each = wide.gather(2, target.unsqueeze(2)).squeeze(2).tolist()  # (B, T)
            found += [
                _named(self.vocabulary, text, row, values[: len(row)])
                for text, row, values in zip(several, ids, each, strict=True)
            ]
        return found

    @infers
    def generate_stream(
        self,
        prompts: Sequence[Text],
        *,
        length: int = 500,
        stop: Text | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        unknown: Literal["error", "skip"] = "error",
    ) -> Iterator[list[Any]]:
        """Write on, a symbol at a time.

        Args:
            prompts: The texts to go on from; of equal ones, one is read.
            length: See `generate`, also for the rest.
            stop: See `generate`.
            temperature: See `generate`.
            top_k: See `generate`.
            top_p: See `generate`.
            min_p: See `generate`.
            seed: See `generate`.
            unknown: See `generate`.

        Yields:
            What comes next in each text: a character, a word, bytes, or nothing (after the end, in
            the middle of a character's bytes, while what was written may be the stop's beginning).
        """
        check_sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        if length < 0:
            raise ValueError(f"length={length}: must be at least 0")
        prompts = as_texts(prompts, bytes)
        rows = {
            prompt: np.concatenate(
                ([self.vocabulary.END], encoded_prompt(self.vocabulary, prompt, unknown))
            )
            for prompt in dict.fromkeys(prompts)
        }
        writers = [Writer(self.vocabulary, stop, after=int(rows[p][-1])) for p in prompts]
        if not prompts or length == 0:
            return
        self.eval()
        generator = seeded(seed, self.device)
        logits, state = self._after(list(rows.values()))  # (different prompts, V)
        if len(rows) < len(prompts):
            numbers = {prompt: number for number, prompt in enumerate(rows)}
            index = torch.tensor([numbers[prompt] for prompt in prompts], device=self.device)
            logits, state = logits[index], map_state(lambda leaf: leaf[index], state)
        vocabulary = self.vocabulary
        logits[:, list(vocabulary.never_written)] = -torch.inf

        for tokens in sample(
            self.stepper(vocabulary.never_written),
            logits,
            state,
            length=length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            generator=generator,
        ):
            yield [
                writer.push(token) for writer, token in zip(writers, tokens.tolist(), strict=True)
            ]
            if all(writer.finished for writer in writers):
                break
        rest = [writer.finish() for writer in writers]
        if any(rest):
            yield rest

    def _after(self, rows: Sequence[Ids]) -> tuple[Tensor, State]:
        """Read prompts, in memory that does not grow with them.

        Args:
            rows: The prompts (B,), none of them empty.

        Returns:
            Logits of what follows each prompt (B, V), and the core's state there.
        """
        last, state = None, None
        for start in range(0, max(map(len, rows)), _READ):
            part, lengths = padded(row[start : start + _READ] for row in rows)  # (B, _READ)
            logits, state = self.last(part.to(self.device), lengths, state)  # (B, V)
            goes_on = (lengths > 0).to(self.device).unsqueeze(1)
            last = logits if last is None else torch.where(goes_on, logits, last)
        assert last is not None
        assert state is not None
        return last, state


def _named(
    vocabulary: Vocabulary, text: str, ids: Sequence[int], values: Sequence[float]
) -> Scored:
    """Return the log-probability of each symbol; those of a character's bytes are put together."""
    if isinstance(vocabulary, CharacterVocabulary | WordVocabulary):
        return Scored([vocabulary.decode([one]) for one in ids], list(values))
    if not isinstance(vocabulary, ByteVocabulary):
        return Scored([vocabulary.names[one] for one in ids], list(values))
    rest, sums = iter(values), []
    for character in text:
        count = len(character.encode("utf-8", "surrogateescape"))
        sums.append(sum(next(rest) for _ in range(count)))
    return Scored(list(text), sums)
