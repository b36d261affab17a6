"""A translation model and what it makes of sentences.

Shapes: B batch, S source steps, T target steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, Unpack

from torch import Tensor

from ...core import GRU, Bidirectional
from ...core.recurrent import CoreFactory
from ...core.seq2seq.attention import AdditiveAttention, AttentionFactory
from ...core.seq2seq.decoder import Decoded, SequenceDecoder
from ...core.seq2seq.encoder import Memory, SequenceEncoder
from ...core.seq2seq.shortlist import Shortlist, joined
from ...data.batch import padded
from ...data.spec import TranslationSpec
from ...data.tokenizer import Subwords
from ...errors import DataError
from ..model import Scored, as_texts
from ..sequence_model import EncoderDecoder, SearchSettings, Written, symbol_vectors
from .alignment import looked_at, word_alignment, word_numbers
from .shortlist import from_checkpoint

_LONGEST = 2000
"""Subwords of a sentence that is translated."""


class Translated(NamedTuple):
    """One translation of a sentence.

    Attributes:
        text: The translation.
        score: What the search ranked it by: the log-probability over the length penalty. Not a
            number where the model knows nothing of the sentence, or there is none.
        log_probability: The model's, in nats, the end symbol included.
        source: The source's subwords, the end symbol included.
        target: The translation's subwords; with the end symbol, if it came to an end.
        attention: How much each target subword (row) looked at each source subword (column), on the
            CPU; None where it was not asked for.
        alignment: Which words belong together, source and target from 0; None likewise.
        unknown: How many of the source's subwords the model does not know.
    """

    text: str
    score: float
    log_probability: float
    source: list[str]
    target: list[str]
    attention: Tensor | None
    alignment: list[tuple[int, int]] | None = None
    unknown: int = 0


Unknown: TypeAlias = Literal["mark", "copy"]
_NOTHING = Translated("", math.nan, math.nan, [], [], None)
_UNKNOWN = "<unk>"


def _bidirectional_gru(input_size: int) -> Bidirectional:
    return Bidirectional(input_size, lambda size: GRU(size, hidden_size=128))


class TranslationModel(EncoderDecoder):
    """A recurrent encoder and a recurrent decoder with attention to it.

    Args:
        spec: What the data module found out about the sentences: the subwords.
        encoder: Makes the encoder's core from the embedding size.
        decoder: Makes the decoder's core from its input size; it has to be causal.
        attention: This and what follows `Translation` describes, which trains the model.
        embedding_size: See `Translation`.
        input_feeding: See `Translation`.
        share_embeddings: See `Translation`.
        tie_weights: See `Translation`.
        dropout: See `Translation`.
        beam_size: See `Translation`.
        length_penalty: See `Translation`.

    Attributes:
        source: The source's subwords.
        target: The target's.
        shortlist: Which of the target's symbols the source's may become, where a checkpoint has it.

    Raises:
        ValueError: A setting is out of its range, or sizes or vocabularies don't allow shared
            weights.

    Examples:
        >>> words = Subwords.train(["a dog", "ein Hund"], kind="word").to_spec()
        >>> model = TranslationModel({"source": words, "target": words, "joint": True}).eval()
        >>> isinstance(model.translate("ein Hund"), str)  # it has learnt nothing yet
        True
    """

    symbol_rows: ClassVar = {
        "encoder.embedding.weight": "source",
        "decoder.embedding.weight": "target",
        "decoder.head.weight": "target",
        "decoder.head.bias": "target",
    }
    shared_by_members: ClassVar = {
        "source": "the source's vocabulary",
        "target": "the target's vocabulary",
    }
    encoder: SequenceEncoder

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
        beam_size: int = 5,
        length_penalty: float = 1.0,
    ) -> None:
        if share_embeddings and not spec["joint"]:
            raise ValueError(
                "share_embeddings needs one vocabulary for both languages: set "
                "--data.joint_vocabulary true, or --model.share_embeddings false"
            )
        source = Subwords.from_spec(spec["source"])
        target = source if spec["joint"] else Subwords.from_spec(spec["target"])
        vectors = symbol_vectors(target.size, embedding_size)
        others = vectors if share_embeddings else symbol_vectors(source.size, embedding_size)
        reader = SequenceEncoder(others, encoder or _bidirectional_gru, dropout=dropout)
        writer = SequenceDecoder(
            vectors,
            decoder,
            memory_size=reader.output_size,
            attention=attention,
            input_feeding=input_feeding,
            tie_weights=tie_weights,
            dropout=dropout,
        )
        super().__init__(
            spec, reader, writer, target, beam_size=beam_size, length_penalty=length_penalty
        )
        self.source = source
        self.target = target
        self.shortlist: Shortlist | None = None

    def take_more(self, content: Mapping[str, Any]) -> None:
        """Take the shortlist of a checkpoint."""
        self.shortlist = from_checkpoint(content, (self.source.size, self.target.size))

    def join(self, members: Sequence[Self]) -> None:
        """Join, with all that any member's shortlist allows."""
        super().join(members)
        lists = [one.shortlist for one in members if one.shortlist is not None]
        self.shortlist = joined(lists) if len(lists) == len(members) else None

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
        return self.decode(memory, target, sampling=sampling), memory

    def read(self, inputs: Sequence[Sequence[int]]) -> Memory:
        """Encode sentences.

        Args:
            inputs: Their subwords' ids, without start and end.
        """
        source, lengths = padded([*ids, Subwords.END] for ids in inputs)  # (B, S)
        memory: Memory = self.encoder(source.to(self.device), lengths)
        return memory

    def length_limit(self, memory: Memory) -> list[int]:
        """Return twice the source's subwords, and 10.

        Args:
            memory: What the encoder found.
        """
        assert memory.lengths is not None
        return [2 * length + 10 for length in memory.lengths.tolist()]

    def translate(
        self,
        text: str | Sequence[str],
        *,
        unknown: Unknown | None = None,
        shortlist: bool = False,
        **settings: Unpack[SearchSettings],
    ) -> str | list[str]:
        """Translate.

        Args:
            text: A sentence; a list of them is answered with a list.
            unknown: See `translations`.
            shortlist: See there.
            settings: See `SearchSettings`.

        Returns:
            The best translation of each sentence; an empty one's is empty.
        """
        texts = [text] if isinstance(text, str) else text
        found = self.translations(texts, unknown=unknown, shortlist=shortlist, **settings)
        best = [one[0].text for one in found]
        return best[0] if isinstance(text, str) else best

    def score(
        self, sources: Sequence[str], translations: Sequence[str], *, batch_size: int = 64
    ) -> list[Scored]:
        """Return how likely the model finds translations of sentences.

        Args:
            sources: Sentences.
            translations: One of each.
            batch_size: Sentences side by side; the result does not depend on it.

        Raises:
            DataError: A text has more than 2,000 subwords.
            TypeError: The texts are no list of str.
        """
        self._readable(self.target, translations)
        ids = self._readable(self.source, sources)
        # Sentences of similar length go together.
        order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
        found = self.score_texts(
            [ids[number] for number in order],
            [translations[number] for number in order],
            batch_size=batch_size,
        )
        return [one for _, one in sorted(zip(order, found, strict=True), key=lambda pair: pair[0])]

    def _readable(self, vocabulary: Subwords, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts, of which none is too long."""
        texts = as_texts(texts)
        ids = vocabulary.encode_batch(texts)
        for text, subwords in zip(texts, ids, strict=True):
            if len(subwords) > _LONGEST:
                raise DataError(
                    f"The sentence that begins '{text[:40]}' has {len(subwords):,} subwords; the "
                    f"time to translate grows with their square, so at most {_LONGEST:,} are read "
                    "at once: split it"
                )
        return ids

    def translations(
        self,
        texts: Sequence[str],
        *,
        unknown: Unknown | None = None,
        shortlist: bool = False,
        **settings: Unpack[SearchSettings],
    ) -> list[list[Translated]]:
        """Translate, and say all that is known of the translations.

        Args:
            texts: Sentences.
            shortlist: Write each translation with the likeliest translations of its source's
                subwords and the most frequent subwords alone, which is faster. Scores and
                log-probabilities are those among them.
            unknown: What becomes of unknown words: `mark` writes `<unk>` for them, `copy` the word
                of the source that the attention looked at most; None: none are written.
            settings: See `SearchSettings`; `max_length` is twice the source's subwords, and 10,
                where it is not given.

        Returns:
            The translations of each sentence, the best first.

        Raises:
            ValueError: A setting is out of its range.
            DataError: A sentence has more than 2,000 subwords.
            TypeError: The sentences are no list of str.
        """
        if shortlist and self.shortlist is None:
            raise ValueError(
                "shortlist=True: this model has none; `unrolled shortlist NEW.ckpt CKPT --source "
                "FILE --target FILE` makes a checkpoint with one from the text it was trained on"
            )
        if unknown == "copy" and self.decoder.attention is None:
            raise ValueError(
                "unknown='copy': the attention says what to copy, and this model was made without: "
                "take 'mark'"
            )
        ids = self._readable(self.source, texts)
        results = [[_NOTHING]] * len(texts)
        # Sentences of similar length go together; there is nothing to translate in an empty one.
        order = sorted((n for n, row in enumerate(ids) if row), key=lambda n: len(ids[n]))
        attention = settings.get("attention", False)
        settings["attention"] = attention or unknown == "copy"
        rows = [ids[number] for number in order]
        words = self.shortlist if shortlist else None
        written = self.write(rows, unknown=unknown is not None, shortlist=words, **settings)
        for number, found in zip(order, written, strict=True):
            told = [self._told(texts[number], ids[number], one, unknown) for one in found]
            if unknown and not self.source.knows(ids[number]):
                # what the model says is about nothing
                text = _UNKNOWN if unknown == "mark" else texts[number].strip()
                same = [] if unknown == "mark" else [(n, n) for n in range(len(text.split()))]
                told = [one._replace(text=text, alignment=same) for one in told[:1]]
            if not attention:
                told = [one._replace(attention=None, alignment=None) for one in told]
            results[number] = told
        return results

    def _told(self, text: str, ids: list[int], one: Written, unknown: Unknown | None) -> Translated:
        """Return what was written about a sentence; the attention is left in."""
        source, target = (
            word_numbers(words.symbols(numbers), whole=words.kind == "word")
            for words, numbers in ((self.source, ids), (self.target, one.ids))
        )
        said, alignment = one.text, None
        if one.attention is not None:
            alignment = word_alignment(one.attention, source, target if one.text else [])
        if unknown == "copy" and one.attention is not None and Subwords.UNKNOWN in one.ids:
            copied = looked_at(one.attention, source, self.source.spans(text), text)
            pairs = zip(one.ids, copied, strict=False)  # not the end's
            unseen = [word for number, word in pairs if number == Subwords.UNKNOWN]
            said = self.target.with_unknown(one.ids, unseen)
        elif unknown:
            said = self.target.with_unknown(one.ids, itertools.repeat(_UNKNOWN))
        return Translated(
            said,
            one.score if self.source.knows(ids) else math.nan,
            one.log_probability,
            self.source.symbols([*ids, Subwords.END]),
            one.words,
            one.attention,
            alignment,
            ids.count(Subwords.UNKNOWN),
        )
