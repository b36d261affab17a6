"""What the models of translation and captioning share: encoder, decoder, and the search for a text.

Shapes: R rows of a memory (sentences, images), S vectors of a row, M features of each, B targets, T
target steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn

from ..core.seq2seq.decoder import Decoded, SequenceDecoder
from ..core.seq2seq.encoder import Memory, SequenceEncoder
from ..core.seq2seq.ensemble import EnsembleDecoder, EnsembleEncoder
from ..core.seq2seq.search import Hypothesis, check_length_penalty, search_sequences
from ..core.seq2seq.shortlist import Allowed, Shortlist
from ..core.state import State, leaves, select_rows
from ..core.vision.encoders import ImageEncoder, RegionEncoder
from ..data.batch import padded
from ..data.tokenizer import Subwords
from .model import Model, Scored, as_texts, check_sizes, seeded

_SPECIAL = [Subwords.START, Subwords.END, Subwords.PAD, Subwords.UNKNOWN]
_DRAWING = ("temperature", "top_k", "top_p", "min_p")


class SearchSettings(TypedDict, total=False):
    """How a trained model is to look for what it says; what is left out is as said here.

    Attributes:
        beam_size: Hypotheses to keep; None: the model's own setting; 1: greedy search.
        num_hypotheses: How many to return for each input, at most `beam_size` (any number are
            drawn); 1.
        length_penalty: Exponent of the length that divides a log-probability; None: the model's own
            setting.
        max_length: Symbols at most; None: as the model says.
        min_length: Symbols at least; 0.
        prefix: What each text begins with; empty: anything.
        no_repeat_ngram: No sequence of so many symbols comes twice; 0: it may.
        temperature: Draw from the model's distribution instead of searching, its logits divided by
            this; None: search, or 1 where one of the next three is given.
        top_k: Draw from the so many likeliest symbols only; None: from all.
        top_p: Draw from the fewest likeliest symbols that have this probability together.
        min_p: Draw from symbols that are at least this share as likely as the likeliest.
        seed: Makes drawing repeatable; None: another result each time.
        attention: Return the attention weights; False.
        batch_size: Inputs side by side, 64; what a search finds does not depend on it.
    """

    beam_size: int | None
    num_hypotheses: int
    length_penalty: float | None
    max_length: int | None
    min_length: int
    prefix: str
    no_repeat_ngram: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    seed: int | None
    attention: bool
    batch_size: int


class Written(NamedTuple):
    """What a model wrote about an input.

    Attributes:
        text: The text.
        score: What the search ranked it by: the log-probability over the length penalty.
        log_probability: The model's, in nats, the end symbol included.
        words: Its words or subwords; with the end symbol, if it came to an end.
        attention: How much each word looked at each vector of the memory (T, S), of an image at
            each place (T, h, w), on the CPU; None where it was not asked for.
        ids: The text's symbols by number, without the end.
    """

    text: str
    score: float
    log_probability: float
    words: list[str]
    attention: Tensor | None
    ids: list[int]


class EncoderDecoder(Model):
    """An encoder, a decoder with attention to what it found, and what they write.

    A subclass says how inputs are read, and how long a text may become.

    Args:
        spec: What the model knows of its data.
        encoder: Reads the inputs.
        decoder: Reads the memory, and predicts symbols.
        vocabulary: The decoder's symbols.
        beam_size: Hypotheses to keep, where a call does not say.
        length_penalty: The search's, likewise.
    """

    def __init__(
        self,
        spec: Any,
        encoder: SequenceEncoder | ImageEncoder | RegionEncoder,
        decoder: SequenceDecoder,
        vocabulary: Subwords,
        *,
        beam_size: int,
        length_penalty: float,
    ) -> None:
        super().__init__(spec)
        check_sizes(beam_size=beam_size)
        check_length_penalty(length_penalty)
        self.vocabulary = vocabulary
        self.encoder = encoder
        self.decoder = decoder
        self.beam_size = beam_size
        self.length_penalty = length_penalty

    def join(self, members: Sequence[Self]) -> None:
        """Encode with all members' encoders, decode with the mean of their decoders."""
        # trained no more: who asks for a member's parts asks the member
        self.encoder = EnsembleEncoder([one.encoder for one in members])  # type: ignore[assignment]
        self.decoder = EnsembleDecoder([one.decoder for one in members])  # type: ignore[assignment]

    @abstractmethod
    def read(self, inputs: Sequence[Any]) -> Memory:
        """Encode inputs.

        Args:
            inputs: R of what `write` is given.
        """

    @abstractmethod
    def length_limit(self, memory: Memory) -> int | list[int]:
        """Return how many symbols a text may have, where a call does not say, or each row's.

        Args:
            memory: What the encoder found.
        """

    def decode(
        self, memory: Memory, target: Tensor, rows: Tensor | None = None, *, sampling: float = 0.0
    ) -> Decoded:
        """Read known targets (teacher forcing).

        Args:
            memory: What the encoder found, R rows.
            target: (B, T) int64, each row ends with the end symbol.
            rows: Which row of the memory each target is about (B,) int64; None: each its own.
            sampling: Probability that the decoder reads a symbol of its own.

        Returns:
            What the decoder made of it; `decoder.head` turns its output into logits.
        """
        start = torch.full_like(target[:, :1], Subwords.START)  # (B, 1), or (B, 0) of no steps
        before = torch.cat((start, target[:, :-1]), 1)  # (B, T)
        decoded: Decoded = self.decoder(before, *self._begin(memory, rows), sampling=sampling)
        return decoded

    @torch.no_grad()
    def search(
        self,
        memory: Memory,
        rows: Tensor | None = None,
        *,
        max_length: int | None = None,
        min_length: int = 0,
        prefix: Sequence[int] = (),
        length_penalty: float | None = None,
        unknown: bool = False,
        allowed: Allowed | None = None,
        **settings: Any,
    ) -> list[list[Hypothesis]]:
        """Look for what to write.

        Args:
            memory: What the encoder found, R rows.
            rows: Which row of the memory each text is to be about (B,) int64; None: each its own.
            max_length: Symbols at most; None: `length_limit`, or what has to be there.
            min_length: Symbols at least.
            prefix: What each text begins with.
            length_penalty: None: the model's own.
            unknown: Whether the unknown symbol may come.
            allowed: The symbols that each row may be written with, the special ones and the prefix
                among them; None: all.
            settings: See `search_sequences`.

        Returns:
            The hypotheses of each row, the best first.
        """
        prepared, state = self._begin(memory, rows)
        limits: Any = max_length
        if max_length is None:
            limits, least = self.length_limit(memory), max(min_length, len(prefix))
            alike = isinstance(limits, int)
            limits = max(limits, least) if alike else [max(limit, least) for limit in limits]
        count = leaves(state)[0].shape[0]
        special = _SPECIAL
        if allowed is not None:
            special, prefix = allowed.places(special), allowed.places(prefix)
        start, end, pad, strange = special
        step, prepared = self.decoder.searcher(prepared, allowed)
        found = search_sequences(
            step,
            state,
            prepared,
            start=start,
            end=end,
            forbidden=[pad, start] + [strange] * (not unknown),
            max_length=limits,
            min_length=min_length,
            prefix=[prefix] * count if prefix else (),
            length_penalty=self.length_penalty if length_penalty is None else length_penalty,
            **settings,
        )
        return found if allowed is None else allowed.named(found)

    def _begin(self, memory: Memory, rows: Tensor | None) -> tuple[State, State]:
        """Return what the decoder begins with, a row for each target."""
        index = slice(None) if rows is None else rows
        prepared = select_rows(self.decoder.prepare(memory), index)  # B rows
        return prepared, select_rows(self.decoder.initial_state(memory), index)

    @torch.inference_mode()
    def write(
        self,
        inputs: Sequence[Any],
        *,
        unknown: bool = False,
        shortlist: Shortlist | None = None,
        **settings: Unpack[SearchSettings],
    ) -> list[list[Written]]:
        """Say something about each input.

        Args:
            inputs: What `read` reads.
            unknown: Whether the unknown symbol may come; the text is without it.
            shortlist: What the symbols of inputs may become, where these are symbols; None: any.
            settings: See `SearchSettings`.

        Returns:
            The texts of each input, the best first.

        Raises:
            ValueError: A setting is out of its range.
        """
        asked: dict[str, Any] = {"num_hypotheses": 1, **settings}
        seed, attention = asked.pop("seed", None), asked.pop("attention", False)
        check_sizes(batch_size=(batch_size := asked.pop("batch_size", 64)))
        if attention and self.decoder.attention is None:
            raise ValueError("this model was made without attention; there is none to show")
        drawn = any(asked.get(name) is not None for name in _DRAWING)
        if asked.get("beam_size") is None:
            asked["beam_size"] = 1 if drawn else max(self.beam_size, asked["num_hypotheses"])
        asked["prefix"] = self._beginning(asked.pop("prefix", ""))
        self.eval()
        asked["generator"] = seeded(seed, self.device)
        results = []
        for first in range(0, len(inputs), batch_size):
            some = inputs[first : first + batch_size]
            memory = self.read(some)
            if shortlist is not None:
                asked["allowed"] = shortlist.allowed(
                    [[*row, Subwords.END] for row in some],
                    size=self.vocabulary.size,
                    shared=[*_SPECIAL, *asked["prefix"]],
                ).to(self.device)
            for row, hypotheses in enumerate(self.search(memory, unknown=unknown, **asked)):
                one = memory.row(row)
                results.append([self._written(one, each, attention) for each in hypotheses])
        return results

    def _beginning(self, prefix: str) -> list[int]:
        """Return the symbols that every text is to begin with."""
        (ids,) = self.vocabulary.encode_batch([prefix])
        if Subwords.UNKNOWN in ids:
            shown = " ".join(self.vocabulary.symbols(ids))
            raise ValueError(f"prefix={prefix!r}: the model does not know all of it ({shown})")
        return ids

    def score_texts(
        self, inputs: Sequence[Any], texts: Sequence[str], *, batch_size: int = 64
    ) -> list[Scored]:
        """Return how likely the model finds texts about inputs, the end symbol included.

        Args:
            inputs: What `read` reads, one for each text.
            texts: The texts.
            batch_size: Texts side by side; the result does not depend on it.
        """
        ids = [[*row, Subwords.END] for row in self.vocabulary.encode_batch(as_texts(texts))]
        return self.score_symbols(inputs, ids, batch_size=batch_size)

    @torch.inference_mode()
    def score_symbols(
        self, inputs: Sequence[Any], ids: Sequence[Sequence[int]], *, batch_size: int = 64
    ) -> list[Scored]:
        """Return how likely the model finds sequences of symbols about inputs.

        Args:
            inputs: What `read` reads, one for each sequence.
            ids: The sequences; each with the end symbol, if it is to come to an end.
            batch_size: Sequences side by side; the result does not depend on it.
        """
        check_sizes(batch_size=batch_size)
        self.eval()
        results = []
        for first in range(0, len(ids), batch_size):
            rows = ids[first : first + batch_size]
            target, _ = padded(rows)
            target = target.to(self.device)  # (B, T)
            decoded = self.decode(self.read(inputs[first : first + batch_size]), target)
            logits = self.decoder.head(decoded.output)  # (B, T, V)
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
            each = wide.gather(2, target.unsqueeze(2)).squeeze(2).tolist()  # (B, T)
            results += [
                Scored(self.vocabulary.symbols(row), values[: len(row)])
                for row, values in zip(rows, each, strict=True)
            ]
        return results

    def _written(self, memory: Memory, hypothesis: Hypothesis, attention: bool) -> Written:
        """Return a text about one row of a memory; its attention is that of reading it again."""
        tokens, weights = with_end(hypothesis), None
        if attention:
            target = torch.tensor([tokens], dtype=torch.int64, device=self.device)  # (1, T)
            weights = self.decode(memory, target).attention[0].cpu()  # (T, S)
            if tokens and not weights.shape[1]:
                raise ValueError("the models look at different places: there is no mean to show")
        text, words = self.vocabulary.decode(hypothesis.tokens), self.vocabulary.symbols(tokens)
        said = text, hypothesis.score, hypothesis.log_probability
        return Written(*said, words, weights, hypothesis.tokens)


def with_end(hypothesis: Hypothesis) -> list[int]:
    """Return a hypothesis's symbols; with the end symbol, if it came to an end.

    Args:
        hypothesis: What a search found.
    """
    return hypothesis.tokens + [Subwords.END] * hypothesis.finished


def symbol_vectors(count: int, size: int) -> nn.Embedding:
    """Make an embedding of symbols, whose weights may be an output layer's as well.

    Args:
        count: Number of symbols.
        size: Size of their vectors.
    """
    check_sizes(embedding_size=size)
    table = nn.Embedding(count, size, padding_idx=Subwords.PAD)
    # A tied output layer would start with logits far too large otherwise.
    nn.init.normal_(table.weight, std=size**-0.5)
    nn.init.zeros_(table.weight[Subwords.PAD])
    return table
