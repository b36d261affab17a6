"""Subwords and words: text to ids and back, by the `tokenizers` library, kept as plain JSON."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, get_args

from tokenizers import Tokenizer, models, trainers

from ..errors import DataError, UsageError, quoted
from .formats.letters import plain
from .spec import Kind, SubwordsSpec, WordTokenizer
from .tables import json_value
from .vocabularies.forms import (
    FORMS,
    INNER,
    JOINERS,
    TOKENIZERS,
    Form,
    around,
    empty_model,
    normalizer,
)
from .vocabularies.lookup import TokenLookup

KINDS: tuple[Kind, ...] = get_args(Kind)

_WORST = 1e9  # a score's size
_SPACE = "\u2581"
_SHOWN = ("<pad>", "<s>", "</s>", "<unk>")
_PARALLELISM = "TOKENIZERS_PARALLELISM"


class Subwords(TokenLookup):
    """A vocabulary of subwords or words.

    Ids 0 to 3 are special: padding, start, end, unknown; the pieces follow. Text is brought into
    Unicode's NFC (unless asked not to), its white space to single spaces, and (where asked) to
    lower case; what no reader sees of it is left out (`plain`). With `bpe` and
    `unigram`, `decode` then gives back what `encode_batch` read, space by space, save for
    characters that the training text did not have; they are unknown. With `word`, it gives back the
    words with spaces in between.

    Args:
        kind: What the pieces are.
        tokenizer: The library's tokenizer; see `train` and `from_spec`.
    """

    PAD: ClassVar[int] = 0
    START: ClassVar[int] = 1
    END: ClassVar[int] = 2
    UNKNOWN: ClassVar[int] = 3

    def __init__(self, kind: Kind, tokenizer: Tokenizer) -> None:
        self.kind = kind
        self._tokenizer = tokenizer
        self._default_index = self.UNKNOWN

    def _named(self) -> list[str]:
        return self.symbols(range(self.size))

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        kind: Kind = "bpe",
        size: int = 8000,
        lowercase: bool = False,
        nfc: bool = True,
        min_count: int = 1,
        tokenizer: WordTokenizer = "treebank",
    ) -> Subwords:
        """Make a vocabulary from texts; the same one of the same texts, with any number of threads.

        Args:
            texts: What it is made from.
            kind: `bpe` (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909), `unigram` (Kudo
                2018, https://arxiv.org/abs/1804.10959) or `word`: whole words as the Penn Treebank
                splits them.
            size: Ids at most, the special ones included. Where there are more different characters
                than half of it, the rarest of them are unknown.
            lowercase: Bring everything to lower case.
            nfc: Bring everything to Unicode's NFC.
            min_count: Words (or pairs of pieces) that are rarer are left out; no effect on
                `unigram`.
            tokenizer: How text is parted into whole words: `treebank`; `spaces`, by white space
                alone; or `basic_english`, torchtext's, in lower case.

        Raises:
            UsageError: A setting is out of its range.
            DataError: The texts are empty.
        """
        if kind not in KINDS:
            raise UsageError(f"kind is '{kind}'; it has to be one of {', '.join(KINDS)}.")
        if size < len(INNER) + 4:
            raise UsageError(
                f"A vocabulary of {size} is too small: it has to have at least {len(INNER) + 4} "
                "symbols."
            )
        if tokenizer not in TOKENIZERS:
            raise UsageError(
                f"tokenizer is '{tokenizer}'; it has to be one of {', '.join(TOKENIZERS)}."
            )
        if kind != "word" and tokenizer != "treebank":
            raise UsageError(
                f"tokenizer {tokenizer} parts text into whole words: it goes with kind word, not "
                f"{kind}."
            )
        model = empty_model(kind)
        common: dict[str, Any] = {
            "vocab_size": size,
            "special_tokens": list(INNER),
            "show_progress": False,
        }
        unknown = INNER[cls.UNKNOWN]
        trainer: trainers.Trainer
        if kind == "bpe":
            trainer = trainers.BpeTrainer(
                **common, min_frequency=min_count, limit_alphabet=size // 2
            )
        elif kind == "unigram":
            trainer = trainers.UnigramTrainer(**common, unk_token=unknown)
        else:
            trainer = trainers.WordLevelTrainer(**common, min_frequency=min_count)
        if iter(texts) is texts:
            texts = list(texts)  # it may have to be read again
        joined = (kind, tokenizer) == ("word", "treebank") and any(
            joiner in text for text in texts for joiner in JOINERS
        )
        form = Form(lowercase, nfc, joined, tokenizer)
        tool = around(model, kind, form)
        with _one_thread():
            if not _trained(tool, trainer, texts, size // 2):
                # The library refuses so many characters, or drops some that are equally rare by
                # chance.
                _trained(tool, trainer, _without_the_rarest(texts, size // 2, form), size)
        if tool.get_vocab_size() <= len(INNER):
            raise DataError("There is no text to make a vocabulary from.")
        plain = json.loads(tool.to_str())
        plain["added_tokens"] = []  # or else the library would look for them in every text
        if kind == "unigram":
            plain["model"]["vocab"] = _repeatable(plain["model"]["vocab"])
        return cls(kind, Tokenizer.from_str(json.dumps(plain)))

    @classmethod
    def of_words(
        cls, words: Iterable[str], *, tokenizer: WordTokenizer = "treebank", lowercase: bool = False
    ) -> Subwords:
        """Make a vocabulary of given words, in their order.

        Args:
            words: The words; those that white space parts, as no text has them, stay unused.
            tokenizer: How text is parted into words; see `train`.
            lowercase: Bring text to lower case.

        Raises:
            DataError: There are none.
        """
        listed = [word for word in dict.fromkeys(words) if word and word not in _SHOWN]
        if not listed:
            raise DataError("A vocabulary without words is of no use.")
        table = {word: number for number, word in enumerate([*INNER, *listed])}
        model = models.WordLevel(table, unk_token=INNER[cls.UNKNOWN])
        return cls("word", around(model, "word", Form(lowercase, True, False, tokenizer)))

    @property
    def size(self) -> int:
        """Number of ids, the special ones included."""
        return int(self._tokenizer.get_vocab_size())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, without start and end.

        Args:
            texts: Any texts.
        """
        readable = list(_readable(texts))
        return [
            encoding.ids
            for encoding in self._tokenizer.encode_batch_fast(readable, add_special_tokens=False)
        ]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each id of a text, as `encode_batch` gives them, begins and ends in it.

        Args:
            text: Any text.
        """
        (readable,) = _readable([text])
        return list(self._tokenizer.encode(readable, add_special_tokens=False).offsets)

    def knows(self, ids: Iterable[int]) -> bool:
        """Say whether there is anything but unknown symbols, and spaces, in a text.

        Args:
            ids: The text's.
        """
        return any(i > self.UNKNOWN and self._tokenizer.id_to_token(int(i)) != _SPACE for i in ids)

    def with_unknown(self, ids: Iterable[int], unknown: Iterable[str]) -> str:
        """Return the text of ids as `decode` does, with something in the place of what is unknown.

        Args:
            ids: Ids below `size`.
            unknown: The text for each unknown symbol, in their order.
        """
        texts = iter(unknown)
        pieces = [
            next(texts) if i == self.UNKNOWN else str(self._tokenizer.id_to_token(int(i)))
            for i in ids
            if i >= self.UNKNOWN
        ]
        if self.kind == "word":
            return " ".join(pieces)
        return "".join(pieces).replace(_SPACE, " ").strip()

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; special symbols are left out.

        Args:
            ids: Ids below `size`.
        """
        pieces = [int(i) for i in ids if i > self.UNKNOWN]
        return str(self._tokenizer.decode(pieces, skip_special_tokens=False)).strip()

    def symbols(self, ids: Iterable[int]) -> list[str]:
        """Return each id as it may be shown to a person; `▁` is the space before a subword.

        Args:
            ids: Ids below `size`.
        """
        return [
            _SHOWN[i] if i <= self.UNKNOWN else str(self._tokenizer.id_to_token(int(i)))
            for i in ids
        ]

    def to_spec(self) -> SubwordsSpec:
        """Return it as plain data: its kind and the library's JSON, as text."""
        return {
            "kind": self.kind,
            "tokenizer": json.dumps(json.loads(self._tokenizer.to_str()), ensure_ascii=False),
        }

    @classmethod
    def from_spec(cls, spec: SubwordsSpec) -> Subwords:
        """Return what `to_spec` described.

        Args:
            spec: Plain data.

        Raises:
            DataError: It is nothing of the kind.
        """
        kind, text = spec.get("kind"), spec.get("tokenizer")
        if kind not in KINDS or not isinstance(text, str):
            raise DataError(
                f"This is no vocabulary of subwords: it is a {type(text).__name__} of the kind "
                f"{quoted(kind)!r}, not text of the kind {', '.join(KINDS)}."
            )
        plain = json_value(text, "This vocabulary of subwords")
        # Only what `train` makes: the library takes parts that fail, or never end, when they are
        # used, and what it panics at is no Exception.
        if problem := _foreign(plain, kind):
            raise DataError(f"This is no vocabulary of subwords: {problem}.")
        try:
            return cls(kind, Tokenizer.from_str(text))
        except Exception as error:  # the library raises no narrower class
            raise DataError(
                f"This is no vocabulary of subwords: {quoted(str(error), 200)}."
            ) from error


def _foreign(plain: Any, kind: Kind) -> str | None:
    """Say what of a tokenizer's JSON is not as `train` makes it; None where all of it is."""
    ours = [json.loads(around(empty_model(kind), kind, form).to_str()) for form in FORMS]
    learnt = {"bpe": ("vocab", "merges"), "unigram": ("vocab", "unk_id"), "word": ("vocab",)}[kind]
    if not isinstance(plain, dict) or not isinstance(plain.get("model"), dict):
        return "it has no model"
    given = {**plain, "model": {k: v for k, v in plain["model"].items() if k not in learnt}}
    for one in ours:
        one["model"] = {k: v for k, v in one["model"].items() if k not in learnt}
    others = [[key for key, part in given.items() if not _same(part, one.get(key))] for one in ours]
    if odd := min(others, key=len):
        return f"its {quoted(odd[0])} is of another kind"
    vocabulary = plain["model"].get("vocab")
    if kind == "unigram":
        if plain["model"].get("unk_id") != Subwords.UNKNOWN or not isinstance(vocabulary, list):
            return "it lacks its pieces or its unknown symbol"
        if any(not isinstance(one, list) or len(one) != 2 for one in vocabulary):
            return "a piece has no score"
        pieces = [piece for piece, _ in vocabulary]
        scores = [score for _, score in vocabulary]
        if any(type(score) not in (int, float) or not abs(score) < _WORST for score in scores):
            return "a piece's score is no number"
    elif isinstance(vocabulary, dict) and all(type(n) is int for n in vocabulary.values()):
        pieces = sorted(vocabulary, key=lambda piece: vocabulary[piece])
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            return "the numbers of its pieces are not 0, 1, 2, ..."
    else:
        return "it lacks its pieces"
    if any(not isinstance(piece, str) or not piece for piece in pieces):
        return "a piece is no text"
    if tuple(pieces[: len(INNER)]) != INNER or len(set(pieces)) < len(pieces):
        return "it lacks a special symbol, or has a piece twice"
    known, merges = set(pieces), plain["model"].get("merges", [])
    if not isinstance(merges, list) or not all(_merges(pair, known) for pair in merges):
        return "it merges what are no pieces of it"
    return None


def _merges(pair: Any, known: set[str]) -> bool:
    """Say whether two pieces make a third."""
    whole = isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)
    return whole and known.issuperset((*pair, "".join(pair)))


def _same(given: Any, ours: Any) -> bool:
    """Compare parts; one that a version of the library did not write yet has its default."""
    if isinstance(given, dict) and isinstance(ours, dict):
        return all(key in ours and _same(value, ours[key]) for key, value in given.items())
    if isinstance(given, list) and isinstance(ours, list):
        return len(given) == len(ours) and all(map(_same, given, ours))
    return type(given) is type(ours) and bool(given == ours)


def _readable(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts without what no reader sees, and lone surrogates, which the library refuses."""
    for text in texts:
        if text.isascii():
            yield text
        else:
            yield plain(text, nfc=False).encode("utf-8", "replace").decode("utf-8")


def _trained(
    tokenizer: Tokenizer, trainer: trainers.Trainer, texts: Iterable[str], characters: int
) -> bool:
    """Train, and say whether the vocabulary had room for every character."""
    try:
        tokenizer.train_from_iterator(_readable(texts), trainer)
    except Exception as error:  # the library raises no narrower class
        if "contain all chars" not in str(error):
            raise
        return False
    is_bpe = isinstance(trainer, trainers.BpeTrainer)
    return not is_bpe or sum(len(piece) == 1 for piece in tokenizer.get_vocab()) < characters


def _without_the_rarest(texts: Iterable[str], kept: int, form: Form) -> Iterator[str]:
    """Yield texts with so many different characters; the rarest are spaces."""
    prepare = normalizer(form)
    counts: Counter[str] = Counter()
    for text in _readable(texts):
        counts.update(prepare.normalize_str(text))
    del counts[" "]  # which is kept
    ordered = sorted(counts, key=lambda character: (-counts[character], character))
    table = str.maketrans(dict.fromkeys(ordered[kept - 1 :], " "))
    yield from (prepare.normalize_str(text).translate(table) for text in _readable(texts))


def _repeatable(vocabulary: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Take the accidents of a run out of a unigram model.

    Its scores' last digits differ from run to run, and the rarest characters have the lowest scores
    in any order.
    """
    special, rest = (
        vocabulary[: len(INNER)],
        [(piece, round(score, 6)) for piece, score in vocabulary[len(INNER) :]],
    )
    rest.sort(key=lambda pair: (-pair[1], pair[0]))
    first = len(rest)
    while first and len(rest[first - 1][0]) == 1:
        first -= 1
    rarest = sorted(piece for piece, _ in rest[first:])
    return (
        special
        + rest[:first]
        + [(piece, score) for piece, (_, score) in zip(rarest, rest[first:], strict=True)]
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Train with one thread: how several share the work decides the unigram model's sums."""
    before = os.environ.get(_PARALLELISM)
    os.environ[_PARALLELISM] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PARALLELISM]
        else:
            os.environ[_PARALLELISM] = before
