"""What the ids of a vocabulary stand for, so that two can be matched symbol by symbol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import regex

from .vocabulary import (
    WordVocabulary,
    vocabulary_from_spec,
)

_SHOWN = 10
_LETTER = regex.compile(r"[\p{L}\p{M}]")


class Alphabet(NamedTuple):
    """The symbols of a vocabulary.

    Attributes:
        kind: What they are: `characters`, `bytes`, `subwords`, `words` or `classes`.
        names: One for each id, all different; the same name means the same symbol, whatever the
            kinds.
        special: How many of the first are no text, but have a role: an end, an unknown symbol.
    """

    kind: str
    names: list[str]
    special: int = 0


class Match(NamedTuple):
    """Which symbols of two alphabets are the same.

    Attributes:
        old: Ids in the old alphabet of the symbols that both have, those with a role too.
        new: Their ids in the new one, in the same order.
        matched: How many of them are text.
        size: Symbols of the old alphabet.
        told: All of it in words: `characters: 98 matched, 1 new ('à'), none left out`.
    """

    old: list[int]
    new: list[int]
    matched: int
    size: int
    told: str


def alphabet(part: Any) -> Alphabet:
    """Return the symbols that a part of a spec lists.

    Args:
        part: A `VocabularySpec`, a `SubwordsSpec`, or the names of classes.

    Raises:
        UnrolledError: It is none of these.
    """
    if isinstance(part, Sequence) and not isinstance(part, str):
        return Alphabet("classes", [str(name) for name in part])
    if isinstance(part, Mapping) and "tokenizer" in part:
        from .tokenizer import Subwords

        subwords = Subwords.from_spec({"kind": part["kind"], "tokenizer": part["tokenizer"]})
        names = subwords.symbols(range(subwords.size))
        special = subwords.UNKNOWN + 1
        if subwords.kind != "word":
            return Alphabet("subwords", names, special)
        return Alphabet("words", names[:special] + _spaced(names[special:]), special)
    vocabulary = vocabulary_from_spec(part if isinstance(part, Mapping) else {})
    special = 1 + max([vocabulary.END, *vocabulary.never_written])
    names = vocabulary.get_itos()
    if isinstance(vocabulary, WordVocabulary):
        first = vocabulary.LINE + 1
        names[first:] = _spaced(names[first:])
    return Alphabet(vocabulary.kind, names, special)


def _spaced(words: Sequence[str]) -> list[str]:
    """Return what words are called: those of letters as subwords with the space before them."""
    return [f"▁{word}" if _LETTER.match(word) else word for word in words]


def match(old: Alphabet, new: Alphabet, role: str = "") -> Match:
    """Match two alphabets by what their symbols are called.

    Args:
        old: One.
        new: The other.
        role: What the new one is of, as a word in front of its kind: `source`.
    """
    numbers = {name: number for number, name in enumerate(old.names)}
    both = [(numbers[name], number) for number, name in enumerate(new.names) if name in numbers]
    matched = sum(number >= new.special for _, number in both)
    other = f" ({old.kind} in the checkpoint)" if old.kind != new.kind else ""
    kind = f"{role} {new.kind}".strip() + other
    known = set(new.names)
    gained = [name for name in new.names[new.special :] if name not in numbers]
    lost = [name for name in old.names[old.special :] if name not in known]
    if matched and not gained and not lost:
        told = f"{kind}: all {matched} matched"
    else:
        news, losses = _listed(gained, "new", new.kind), _listed(lost, "left out", old.kind)
        told = f"{kind}: {matched or 'none'} matched, {news}, {losses}"
    return Match([a for a, _ in both], [b for _, b in both], matched, len(old.names), told)


def _listed(names: Sequence[str], what: str, kind: str) -> str:
    if not names:
        return f"none {what}"
    shown = [repr(name.removeprefix("▁") if kind == "words" else name) for name in names[:_SHOWN]]
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {what} ({', '.join(shown)}{rest})"
