"""What of a tokenizer's JSON is not as training here makes it: a checkpoint may be a stranger's."""

from __future__ import annotations

import json
from typing import Any

from ...errors import quoted
from ..spec import Kind
from .forms import INNER, UNKNOWN, around, empty_model, forms

_WORST = 1e9  # a score's size


def foreign(plain: Any, kind: Kind) -> str | None:
    """Say what of a tokenizer's JSON is not as `Subwords.train` makes it; None where all of it is.

    Args:
        plain: The JSON.
        kind: What its pieces are said to be.
    """
    ours = [json.loads(around(empty_model(kind), kind, form).to_str()) for form in forms(kind)]
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
        if plain["model"].get("unk_id") != UNKNOWN or not isinstance(vocabulary, list):
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
