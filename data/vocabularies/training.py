"""Subwords from texts, by the `tokenizers` library: the same ones on any machine."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tokenizers import Tokenizer, trainers

from ..formats.letters import plain
from ..spec import Kind
from .forms import INNER, UNKNOWN, Form, around, empty_model, normalizer

OFTEN = 50  # times that a piece occurs in the text, where the text says how many pieces there are
_MOST = 32_000  # pieces then
_MOST_WORDS = 8000
_PARALLELISM = "TOKENIZERS_PARALLELISM"


def trained(
    texts: Iterable[str], kind: Kind, form: Form, size: int | None, min_count: int = 1
) -> Tokenizer:
    """Return a tokenizer made from texts.

    Without a size, two pieces become one as long as they stand beside each other 50 times or more:
    what is rarer is not learnt (Gowda and May 2020, https://arxiv.org/abs/2004.02334, find that
    nearly all classes should have 100 examples; half of that trades some of them for shorter
    sentences). All characters are pieces, so that a small text is learnt letter by letter, and a
    text of twice the size never has fewer pieces. Of `unigram` there are as many pieces as of
    `bpe`, at most; whole words are the 8,000 most frequent ones.

    Args:
        texts: What it is made from; they are read several times.
        kind: What the pieces are.
        form: How text is prepared.
        size: Ids at most; None: by the texts.
        min_count: Words, or pairs of pieces, that are rarer are left out.
    """
    kept = _MOST // 2 if size is None else size // 2  # different characters
    if size is None and kind == "unigram":
        kept = size = trained(texts, "bpe", form, None).get_vocab_size()
    elif size is None and kind == "bpe":
        min_count = max(min_count, OFTEN)
    size = size or (_MOST_WORDS if kind == "word" else _MOST)
    common: dict[str, Any] = {
        "vocab_size": size,
        "special_tokens": list(INNER),
        "show_progress": False,
    }
    trainer: trainers.Trainer
    if kind == "bpe":
        trainer = trainers.BpeTrainer(**common, min_frequency=min_count, limit_alphabet=kept)
    elif kind == "unigram":
        trainer = trainers.UnigramTrainer(**common, unk_token=INNER[UNKNOWN])
    else:
        trainer = trainers.WordLevelTrainer(**common, min_frequency=min_count)
    tool = around(empty_model(kind), kind, form)
    with _one_thread():
        if not _trained(tool, trainer, texts, kept):
            # The library refuses so many characters, or drops some that are equally rare by chance.
            _trained(tool, trainer, _without_the_rarest(texts, kept, form), size)
    plain = json.loads(tool.to_str())
    plain["added_tokens"] = []  # or else the library would look for them in every text
    if kind == "unigram":
        plain["model"]["vocab"] = _repeatable(plain["model"]["vocab"])
    return Tokenizer.from_str(json.dumps(plain))


def readable(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts without what no reader sees, and lone surrogates, which the library refuses.

    Args:
        texts: Any texts.
    """
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
        tokenizer.train_from_iterator(readable(texts), trainer)
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
    for text in readable(texts):
        counts.update(prepare.normalize_str(text))
    del counts[" "]  # which is kept
    ordered = sorted(counts, key=lambda character: (-counts[character], character))
    table = str.maketrans(dict.fromkeys(ordered[kept - 1 :], " "))
    yield from (prepare.normalize_str(text).translate(table) for text in readable(texts))


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
