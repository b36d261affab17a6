"""Subwords and words: text to ids and back, by the `tokenizers` library, kept as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import ClassVar, get_args

from tokenizers import Tokenizer, models, pre_tokenizers

from ..errors import DataError, UsageError, a, quoted
from .spec import Kind, SubwordsSpec, WordTokenizer
from .tables import json_value
from .vocabularies.byte_pieces import shown
from .vocabularies.checking import foreign
from .vocabularies.forms import INNER, JOINERS, TOKENIZERS, Form, around
from .vocabularies.lookup import TokenLookup
from .vocabularies.pieces import Given
from .vocabularies.training import readable, trained

KINDS: tuple[Kind, ...] = get_args(Kind)

_SPACE = "\u2581"
_SHOWN = ("<pad>", "<s>", "</s>", "<unk>")


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

    Examples:
        >>> words = Subwords.train(["a red ball", "a blue ball"], kind="word")
        >>> ids = words.encode_batch(["a red ball", "a green ball"])
        >>> [words.symbols(row) for row in ids]
        [['a', 'red', 'ball'], ['a', '<unk>', 'ball']]
        >>> words.decode(ids[0])
        'a red ball'
    """

    PAD: ClassVar[int] = 0
    START: ClassVar[int] = 1
    END: ClassVar[int] = 2
    UNKNOWN: ClassVar[int] = 3

    def __init__(self, kind: Kind, tokenizer: Tokenizer) -> None:
        self.kind = kind
        self._tokenizer = tokenizer
        self._default_index = self.UNKNOWN
        self._in_bytes = isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel)

    def _piece(self, number: int) -> str:
        """Return a piece as text; one of bytes may begin or end within a character."""
        piece = str(self._tokenizer.id_to_token(number))
        return shown(piece) if self._in_bytes else piece

    def _named(self) -> list[str]:
        return self.symbols(range(self.size))

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        kind: Kind = "bpe",
        size: int | None = 8000,
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
                than half of it, the rarest of them are unknown. None: by the texts, see `trained`.
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
        if size is not None and size < len(INNER) + 4:
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
        if iter(texts) is texts:
            texts = list(texts)  # it may have to be read again
        joined = (kind, tokenizer) == ("word", "treebank") and any(
            joiner in text for text in texts for joiner in JOINERS
        )
        form = Form(lowercase, nfc, joined, tokenizer)
        tool = trained(texts, kind, form, size, min_count)
        if tool.get_vocab_size() <= len(INNER):
            raise DataError("There is no text to make a vocabulary from.")
        return cls(kind, tool)

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

    @classmethod
    def from_given(cls, given: Given, *, lowercase: bool = False) -> Subwords:
        """Make a vocabulary of the pieces of another program's.

        Args:
            given: The pieces, see `read_vocabulary`.
            lowercase: Bring text to lower case, even if the other program does not.
        """
        form = given.form._replace(lowercase=lowercase or given.form.lowercase)
        table = {piece: number for number, piece in enumerate([*INNER, *given.pieces])}
        unknown = INNER[cls.UNKNOWN]
        model: models.Model
        if given.kind == "unigram":
            scored = [
                *((name, 0.0) for name in INNER),
                *zip(given.pieces, given.scores, strict=True),
            ]
            model = models.Unigram(scored, unk_id=cls.UNKNOWN, byte_fallback=False)
        elif given.kind == "bpe":
            model = models.BPE(table, given.merges, unk_token=unknown, fuse_unk=True)
        else:
            model = models.WordLevel(table, unk_token=unknown)
        return cls(given.kind, around(model, given.kind, form))

    @property
    def size(self) -> int:
        """Number of ids, the special ones included."""
        return int(self._tokenizer.get_vocab_size())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, without start and end.

        Args:
            texts: Any texts.
        """
        known = list(readable(texts))
        return [
            encoding.ids
            for encoding in self._tokenizer.encode_batch_fast(known, add_special_tokens=False)
        ]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each id of a text, as `encode_batch` gives them, begins and ends in it.

        Args:
            text: Any text.
        """
        (known,) = readable([text])
        return list(self._tokenizer.encode(known, add_special_tokens=False).offsets)

    def knows(self, ids: Iterable[int]) -> bool:
        """Say whether there is anything but unknown symbols, and spaces, in a text.

        Args:
            ids: The text's.
        """
        return any(i > self.UNKNOWN and self._piece(int(i)).strip(_SPACE + " ") for i in ids)

    def with_unknown(self, ids: Iterable[int], unknown: Iterable[str]) -> str:
        """Return the text of ids as `decode` does, with something in the place of what is unknown.

        Args:
            ids: Ids below `size`.
            unknown: The text for each unknown symbol, in their order.
        """
        texts = iter(unknown)
        pieces = [
            next(texts) if i == self.UNKNOWN else self._piece(int(i))
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
        return [_SHOWN[i] if i <= self.UNKNOWN else self._piece(int(i)) for i in ids]

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
                f"This is no vocabulary of subwords: it is {a(type(text))} of the kind "
                f"{quoted(kind)!r}, not text of the kind {', '.join(KINDS)}."
            )
        plain = json_value(text, "This vocabulary of subwords")
        # Only what `train` makes: the library takes parts that fail, or never end, when they are
        # used, and what it panics at is no Exception.
        if problem := foreign(plain, kind):
            raise DataError(f"This is no vocabulary of subwords: {problem}.")
        try:
            return cls(kind, Tokenizer.from_str(text))
        except Exception as error:  # the library raises no narrower class
            raise DataError(
                f"This is no vocabulary of subwords: {quoted(str(error), 200)}."
            ) from error
