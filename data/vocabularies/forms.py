"""How text is prepared for the `tokenizers` library, and a tokenizer that does it.

A checkpoint may hold such a tokenizer and no other, so what is here is all that reading one can do.
"""

from __future__ import annotations

import itertools
from typing import Literal, NamedTuple, get_args

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from ..spec import Kind, WordTokenizer
from ..torchtext.tokenizers import RULES

TOKENIZERS: tuple[WordTokenizer, ...] = get_args(WordTokenizer)
# Inside the library a special symbol's name has a space in it, which no piece of a text has: what a
# text says can't be taken for one, not even "</s>".
INNER = ("special pad", "special start", "special end", "special unknown")
UNKNOWN = 3  # the number of the last of them

# Letters stay together, with the space before them (written as U+2581); every digit and every sign
# is its own piece.
_PIECES = r"▁?[\p{L}\p{M}]+|▁?[^▁\p{L}\p{M}]|▁"
# Words in the manner of the Penn Treebank: do n't, dog 's; o'clock and t-shirt are one word; every
# sign is a word.
_CLITIC = r"(?i:s|m|d|re|ve|ll)(?![\p{L}\p{N}])"
_WORD = r"[\p{L}\p{M}\p{N}]"
_WORDS = (
    rf"(?i:n['’]t)(?!{_WORD})|['’]{_CLITIC}|{_WORD}+?(?=(?i:n['’]t)(?!{_WORD}))"
    rf"|{_WORD}+(?:-{_WORD}+|['’](?!{_CLITIC}){_WORD}+)*|[^\s\p{{L}}\p{{M}}\p{{N}}]"
)
# Persian and Hindi have joiners within their words. Only where a text has them: the vocabularies of
# others stay what they were.
JOINERS = "\u200c\u200d"
_JOINED_WORDS = _WORDS.replace(r"\p{N}]", rf"\p{{N}}{JOINERS}]")


# Where pieces may end: as here, by kinds of letters; or, of vocabularies from elsewhere, only where
# spaces are (SentencePiece), or as GPT-2 has it, in bytes, without or with a space put in front.
Parted = Literal["letters", "spaces", "bytes", "spaced bytes"]


class Form(NamedTuple):
    """How text is prepared for a vocabulary."""

    lowercase: bool
    nfc: bool
    joined: bool  # whether words have joiners within
    tokenizer: WordTokenizer = "treebank"
    parted: Parted = "letters"
    compatible: bool = False  # NFKC in the place of NFC


_OWN = [
    Form(lowercase, nfc, joined, tokenizer)
    for lowercase, nfc, joined in itertools.product((False, True), repeat=3)
    for tokenizer in TOKENIZERS
]
_GIVEN = [
    Form(lowercase, nfc, False, "treebank", parted, compatible)
    for lowercase in (False, True)
    for nfc, compatible in ((False, False), (True, False), (True, True))
    for parted in get_args(Parted)[1:]
]


def forms(kind: Kind) -> list[Form]:
    """Return all ways to prepare text for a kind of vocabulary.

    Args:
        kind: What its pieces are.
    """
    if kind == "word":
        return _OWN
    return _OWN + [form for form in _GIVEN if kind == "bpe" or form.parted == "spaces"]


def normalizer(form: Form) -> normalizers.Normalizer:
    """Return what is done to text before it is parted."""
    steps = [normalizers.Replace(Regex(r"[\s▁]+"), " "), normalizers.Strip()]
    if form.lowercase:
        steps.insert(0, normalizers.Lowercase())
    if form.tokenizer == "basic_english":
        steps[:0] = [normalizers.Lowercase(), *(normalizers.Replace(*rule) for rule in RULES)]
    if form.nfc:
        steps.insert(0, normalizers.NFKC() if form.compatible else normalizers.NFC())
    return normalizers.Sequence(steps)


def _set_pieces(tokenizer: Tokenizer, kind: Kind, form: Form) -> None:
    if kind == "word" and form.tokenizer != "treebank":
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return
    if kind == "word":
        words = Regex(_JOINED_WORDS if form.joined else _WORDS)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(words, "removed", invert=True)
        return
    if form.parted in ("bytes", "spaced bytes"):
        spaced = form.parted == "spaced bytes"
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
        tokenizer.decoder = decoders.ByteLevel()
        return
    tokenizer.decoder = decoders.Metaspace()
    if form.parted == "spaces":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        return
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(split=False), pre_tokenizers.Split(Regex(_PIECES), "isolated")]
    )


def empty_model(kind: Kind) -> models.Model:
    """Return a model without pieces."""
    if kind == "bpe":
        return models.BPE(unk_token=INNER[UNKNOWN], fuse_unk=True)
    if kind == "unigram":
        return models.Unigram()
    return models.WordLevel(unk_token=INNER[UNKNOWN])


def around(model: models.Model, kind: Kind, form: Form) -> Tokenizer:
    """Return a tokenizer with a model."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizer(form)
    _set_pieces(tokenizer, kind, form)
    return tokenizer
