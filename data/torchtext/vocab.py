"""Vocabularies as `torchtext.vocab` has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ...errors import UsageError, quoted
from ..vocabularies.lookup import NotInVocabulary, TokenLookup


class Vocab(TokenLookup):
    """Tokens with the numbers 0, 1, 2, ..., as `torchtext.vocab.Vocab`.

    Args:
        tokens: The tokens in the order of their numbers, all different.
        default_index: What a token has that is not among them; None: it is an error.

    Raises:
        NotInVocabulary: A token is there twice.

    Example:
        >>> text = ["to", "be", "or", "not", "to", "be"]
        >>> words = build_vocab_from_iterator([text], specials=["<unk>"])
        >>> words.set_default_index(words["<unk>"])
        >>> words(["not", "to", "hesitate"])
        [3, 2, 0]
    """

    def __init__(self, tokens: Iterable[str], default_index: int | None = None) -> None:
        self._all: list[str] = []
        self._numbers: dict[str, int] = {}
        for token in tokens:
            self.append_token(token)
        self._default_index = default_index

    def _named(self) -> list[str]:
        return self._all

    @property
    def _ids_of_tokens(self) -> dict[str, int]:  # it changes
        return self._numbers

    def append_token(self, token: str) -> None:
        """Add a token at the end.

        Args:
            token: The token.

        Raises:
            NotInVocabulary: It is there.
        """
        self.insert_token(token, len(self._all))

    def insert_token(self, token: str, index: int) -> None:
        """Add a token; those from its place on move up by one.

        Args:
            token: The token.
            index: Its number.

        Raises:
            NotInVocabulary: The token is there, or the number is no place for it.
        """
        if token in self._numbers:
            raise NotInVocabulary(
                f"The token '{quoted(token)}' is there, with the number {self._numbers[token]}."
            )
        if not 0 <= index <= len(self._all):
            raise NotInVocabulary(
                f"A token can have the numbers 0 to {len(self._all)} here, not {index}."
            )
        self._all.insert(index, token)
        for number in range(index, len(self._all)):
            self._numbers[self._all[number]] = number


def vocab(
    ordered_dict: Mapping[str, int],
    min_freq: int = 1,
    specials: Sequence[str] | None = None,
    special_first: bool = True,
) -> Vocab:
    """Return a vocabulary of counted tokens, in the order in which they are given.

    Args:
        ordered_dict: How often each token occurs.
        min_freq: Tokens that are rarer are left out.
        specials: Tokens that are there whatever they count.
        special_first: Whether these come first, or last.
    """
    extra = list(specials or ())
    found = [
        token
        for token, count in ordered_dict.items()
        if count >= min_freq and token not in set(extra)
    ]
    return Vocab([*extra, *found] if special_first else [*found, *extra])


def build_vocab_from_iterator(
    iterator: Iterable[Iterable[str]],
    min_freq: int = 1,
    specials: Sequence[str] | None = None,
    special_first: bool = True,
    max_tokens: int | None = None,
) -> Vocab:
    """Return the vocabulary of texts: the most frequent token first, equals by code point.

    Args:
        iterator: The tokens of each text.
        min_freq: Tokens that are rarer are left out.
        specials: Tokens that are there whatever they count.
        special_first: Whether these come first, or last.
        max_tokens: Tokens at most, the special ones included; None: all.

    Raises:
        UsageError: `max_tokens` leaves no room beside the special tokens.
    """
    counts: Counter[str] = Counter()
    for tokens in iterator:
        counts.update(tokens)
    ordered = sorted(counts, key=lambda token: (-counts[token], token))
    if max_tokens is not None:
        extra = len(specials or ())
        room = max_tokens - extra
        if room <= 0:
            raise UsageError(
                f"max_tokens is {max_tokens}; it has to be above the {extra} specials."
            )
        ordered = ordered[:room]
    return vocab({token: counts[token] for token in ordered}, min_freq, specials, special_first)
