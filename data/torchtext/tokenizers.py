"""Tokenizers as `torchtext.data.utils.get_tokenizer` gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ...errors import UsageError, did_you_mean

Tokenizer: TypeAlias = Callable[[str], list[str]]
"""Turns a text into tokens."""

# What stands in whose place, one after the other.
RULES = (
    ("'", " ' "),
    ('"', ""),
    (".", " . "),
    ("<br />", " "),
    (",", " , "),
    ("(", " ( "),
    (")", " ) "),
    ("!", " ! "),
    ("?", " ? "),
    (";", " "),
    (":", " "),
)


def basic_english(text: str) -> list[str]:
    """Return the tokens of a text in lower case: words, and signs that end or part sentences.

    As torchtext's `basic_english`: `'`, `.`, `,`, `(`, `)`, `!` and `?` are tokens of their own,
    `"` is left out, `;`, `:` and `<br />` are white space.

    Args:
        text: One line of text.

    Example:
        >>> basic_english("The cat's here (again)!")
        ['the', 'cat', "'", 's', 'here', '(', 'again', ')', '!']
    """
    text = text.lower()
    for sign, instead in RULES:
        text = text.replace(sign, instead)
    return text.split()


def _split(text: str) -> list[str]:
    return text.split()


_KNOWN: dict[str | None, Tokenizer] = {None: _split, "basic_english": basic_english}
_OTHERS = {"spacy": "spacy", "moses": "sacremoses", "toktok": "nltk", "revtok": "revtok"}


def get_tokenizer(tokenizer: str | Tokenizer | None, language: str = "en") -> Tokenizer:
    """Return a tokenizer by its name.

    Args:
        tokenizer: `basic_english`; None: what white space parts; or a function, which is returned
            as it is.
        language: Of the text; `basic_english` is for `en` only.

    Raises:
        UsageError: There is no such tokenizer here.
    """
    if callable(tokenizer):
        return tokenizer
    if tokenizer == "basic_english" and language != "en":
        raise UsageError(f"basic_english is for English (en) only, not for '{language}'.")
    if tokenizer in _KNOWN:
        return _KNOWN[tokenizer]
    name = str(tokenizer)
    if name in _OTHERS:
        raise UsageError(
            f"The tokenizer '{name}' is a thin cover of the package {_OTHERS[name]}: give its own "
            "function instead, get_tokenizer(function)."
        )
    raise UsageError(
        f"There is no tokenizer '{name}'.{did_you_mean(name, ['basic_english', *_OTHERS])}"
    )
