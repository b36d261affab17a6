"""Vocabularies of the `tokenizers` library (`tokenizer.json`): pieces, and how text is parted.

The library runs what such a file says, patterns included; so it is not given one. What is known to
part text in a way that is built here too is taken, and the rest is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import DataError, quoted
from .byte_pieces import BYTE_OF
from .forms import Form, Parted
from .pieces import Given, is_special

_SPACE = "\u2581"
_IGNORED = {"Strip", "Nmt", "Prepend"}  # what white space becomes is the same everywhere here


def from_tokenizer_json(plain: Any, label: str) -> Given:
    """Return the pieces of a `tokenizer.json`.

    Args:
        plain: What it says.
        label: What messages call it.

    Raises:
        DataError: It is none, or it parts text in a way that is not known here.
    """
    model = plain.get("model") if isinstance(plain, Mapping) else None
    if not isinstance(model, Mapping):
        raise DataError(f"{label} is no tokenizer.json: it has no model.")
    kind = model.get("type") or ("BPE" if "merges" in model else "")
    if kind == "WordPiece":
        raise _unknown(label, "model", "WordPiece: text can't be put together from its pieces")
    if kind not in ("BPE", "Unigram", "WordLevel"):
        raise _unknown(label, "model", quoted(kind))
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(name):
            raise _unknown(label, name, quoted(model[name]))
    form = _form(plain, kind, label)
    special = _special(plain, model)
    if kind == "Unigram":
        return _unigram(model, form, special, label)
    table = model.get("vocab")
    if not isinstance(table, Mapping) or any(type(number) is not int for number in table.values()):
        raise DataError(f"{label} has no pieces with their numbers.")
    ordered = sorted(table, key=lambda piece: table[piece])
    pieces = [piece for piece in ordered if piece not in special]
    if kind == "WordLevel":
        told = f"{len(pieces):,} words{_left(table, pieces)}"
        if form.tokenizer == "treebank":
            told += "; text is parted into words as the Penn Treebank does"
        return Given("word", form, pieces, told=told)
    named = "pieces"
    if form.parted in ("bytes", "spaced bytes"):
        named = "pieces of bytes"
    elif model.get("byte_fallback"):
        pieces = [piece for piece in pieces if not _is_byte(piece)]
        named = "pieces (no bytes: rare letters are unknown)"
    known = set(pieces)
    merges = [pair for pair in _merges(model, label) if _whole(pair, known)]
    told = f"{len(pieces):,} {named} (BPE){_left(table, pieces)}"
    return Given("bpe", form, pieces, merges=merges, told=told)


def _unknown(label: str, part: str, what: str) -> DataError:
    return DataError(
        f"{label}: its {part} is {what}, which is not read.\nRead are BPE by bytes (GPT-2's), BPE "
        "and Unigram with Metaspace (SentencePiece's), and WordLevel."
    )


def _left(table: Any, pieces: list[str]) -> str:
    left = len(table) - len(pieces)
    return f"; {left} others are left out or replaced" if left else ""


def _parts(part: Any, inner: str, label: str) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a normaliser or a pre-tokenizer, without the sequences around them."""
    if part is None:
        return
    if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
        raise DataError(f"{label} is no tokenizer.json: a part of it has no type.")
    if part["type"] != "Sequence":
        yield part
        return
    for each in part.get(inner) or ():
        if isinstance(each, Mapping) and each.get("type") == "Sequence":
            raise _unknown(label, inner, "a sequence in a sequence")
        yield from _parts(each, inner, label)


def _form(plain: Mapping[str, Any], kind: str, label: str) -> Form:
    lowercase = nfc = compatible = marked = False
    for part in _parts(plain.get("normalizer"), "normalizers", label):
        name = part["type"]
        if name in ("NFC", "NFKC", "Precompiled"):  # of SentencePiece, a table of NFKC
            nfc, compatible = True, compatible or name != "NFC"
        elif name == "Lowercase":
            lowercase = True
        elif name == "Replace" and _spaces(part):
            marked = marked or part.get("content") == _SPACE
        elif name not in _IGNORED:
            raise _unknown(label, "normalizer", quoted(name))
    steps = list(_parts(plain.get("pre_tokenizer"), "pretokenizers", label))
    names = [part["type"] for part in steps]
    if kind == "WordLevel":
        spaces = names == ["WhitespaceSplit"]
        if not spaces and any(name not in ("Whitespace", "Punctuation") for name in names):
            raise _unknown(label, "pre_tokenizer", quoted(", ".join(names)))
        return Form(lowercase, nfc, False, "spaces" if spaces else "treebank")
    if names == ["ByteLevel"] and kind == "BPE" and steps[0].get("use_regex", True) is True:
        spaced = bool(steps[0].get("add_prefix_space"))
        parted: Parted = "spaced bytes" if spaced else "bytes"
        return Form(lowercase, nfc, False, "treebank", parted, compatible)
    metaspace = [part for part in steps if part["type"] == "Metaspace"]
    others = [name for name in names if name not in ("Metaspace", "WhitespaceSplit")]
    if others or not (metaspace or (not names and marked)):
        said = quoted(", ".join(names)) or "not there, so nothing says where words begin"
        raise _unknown(label, "pre_tokenizer", said)
    for part in metaspace:
        scheme = part.get("prepend_scheme", "always")
        if part.get("replacement", _SPACE) != _SPACE or scheme == "never":
            raise _unknown(label, "pre_tokenizer", "a Metaspace that puts no space in front")
    return Form(lowercase, nfc, False, "treebank", "spaces", compatible)


def _spaces(part: Mapping[str, Any]) -> bool:
    """Say whether a replacement is of spaces alone."""
    pattern = part.get("pattern")
    said = next(iter(pattern.values()), None) if isinstance(pattern, Mapping) else None
    content = part.get("content")
    return said in (" ", " {2,}", r"\s+", "[\\s]+") and content in (" ", _SPACE)


def _special(plain: Mapping[str, Any], model: Mapping[str, Any]) -> set[Any]:
    """Return what the file adds to the pieces, or calls its unknown symbol."""
    added = plain.get("added_tokens") or ()
    found = {
        one.get("content")
        for one in (added if isinstance(added, list) else ())
        if isinstance(one, Mapping) and isinstance(one.get("content"), str)
    }
    unknown = model.get("unk_token")
    vocabulary = model.get("vocab")
    names = vocabulary if isinstance(vocabulary, Mapping) else ()
    found |= {unknown} if isinstance(unknown, str) else set()
    return found | {name for name in names if is_special(name)}


def _unigram(model: Mapping[str, Any], form: Form, special: set[Any], label: str) -> Given:
    vocabulary, unknown = model.get("vocab"), model.get("unk_id")
    if not isinstance(vocabulary, list) or any(
        not isinstance(one, list)
        or len(one) != 2
        or not isinstance(one[0], str)
        or type(one[1]) not in (int, float)
        or not abs(one[1]) < 1e9
        for one in vocabulary
    ):
        raise DataError(f"{label} has no pieces with their scores.")
    kept = [
        (piece, float(score))
        for number, (piece, score) in enumerate(vocabulary)
        if number != unknown
        and piece not in special
        and not is_special(piece)
        and not _is_byte(piece)
    ]
    pieces = [piece for piece, _ in kept]
    told = f"{len(pieces):,} pieces (unigram){_left(vocabulary, pieces)}"
    return Given("unigram", form, pieces, [score for _, score in kept], told=told)


def _is_byte(piece: str) -> bool:
    """Say whether a piece stands for a byte of a rare letter: `<0x0A>`."""
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


def _merges(model: Mapping[str, Any], label: str) -> Iterator[tuple[str, str]]:
    merges = model.get("merges")
    for merge in merges if isinstance(merges, list) else (None,):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(p, str) for p in pair)
        ):
            raise DataError(f"{label} is no tokenizer.json of BPE: {quoted(merge)} is no merge.")
        yield pair[0], pair[1]


def _whole(pair: tuple[str, str], known: set[str]) -> bool:
    return known.issuperset((*pair, "".join(pair)))


def merges_of_bytes(given: Given, label: str) -> list[tuple[str, str]]:
    """Return the merges of a vocabulary of bytes, for language models.

    Args:
        given: The vocabulary.
        label: What messages call it.

    Raises:
        DataError: Its pieces are none of bytes.
    """
    letters = {character for piece in given.pieces for character in piece}
    if given.kind != "bpe" or "bytes" not in given.form.parted or letters - BYTE_OF.keys():
        raise DataError(
            f"{label}: a language model of subwords takes pieces of bytes, which lose nothing of a "
            "text:\na tokenizer.json of BPE with ByteLevel."
        )
    return list(given.merges)
