"""Vocabularies as other programs write them, small, made here."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

NORMAL, UNKNOWN, CONTROL, DEFINED, BYTE = 1, 2, 3, 4, 6
UNIGRAM, BPE, WORD, CHARACTERS = 1, 2, 3, 4
TEXTS = [
    "Ein Mann fährt Rad, und (wieder) 2016 Menschen sehen zu.",
    "Zwei Männer fahren Rad! Straßenverkehrsordnung?",
    "A man's riding a bike - isn't he? He can't, it's 3.50 $.",
    "Two men ride bikes; 漢字とかな and été.",
] * 5


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def field(number: int, content: bytes | int | float) -> bytes:
    """Write a field of a message of Protocol Buffers."""
    if isinstance(content, bytes):
        return _varint(number << 3 | 2) + _varint(len(content)) + content
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 5) + struct.pack("<f", content)


def sentencepiece(
    pieces: Iterable[tuple[str, float]], model: int, *, rule: str = "identity", **more: int
) -> bytes:
    """Write a SentencePiece model; `more`: fields of how it was trained, by `f35=1`."""
    special = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    every = [*special, *((text, score, NORMAL) for text, score in pieces)]
    written = b"".join(
        field(1, field(1, text.encode()) + field(2, score) + field(3, kind))
        for text, score, kind in every
    )
    training = field(3, model) + b"".join(field(int(n[1:]), value) for n, value in more.items())
    return written + field(2, training) + field(3, field(1, rule.encode()))


def letters_and(pieces: Iterable[str]) -> list[tuple[str, float]]:
    """Return pieces with scores, and all letters of the texts and the space."""
    longer = list(pieces)
    single = sorted({"▁", *(c for text in TEXTS for c in text if c != " ")})
    return [(piece, -float(number + 1)) for number, piece in enumerate([*longer, *single])]


def hugging_face(kind: str, *, special: str = "<s>") -> Tokenizer:
    """Make a tokenizer as people do with the library: bytes, spaces, unigram, words, wordpiece."""
    names = ["<pad>", special, "</s>", "<unk>"]
    common = {"vocab_size": 400, "special_tokens": names, "show_progress": False}
    if kind == "bytes":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(**common, initial_alphabet=alphabet)
    elif kind == "spaces":
        made = Tokenizer(models.BPE(unk_token="<unk>"))
        made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(**common)
    elif kind == "unigram":
        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.NFKC()
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        )
        made.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(**common, unk_token="<unk>")
    elif kind == "words":
        made = Tokenizer(models.WordLevel(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordLevelTrainer(**common)
    else:
        made = Tokenizer(models.WordPiece(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(**common)
    made.train_from_iterator(TEXTS, trainer)
    return made


def saved(tokenizer: Tokenizer, path: Path, **changes: object) -> str:
    """Write a tokenizer, some parts of it changed."""
    path.write_text(json.dumps({**json.loads(tokenizer.to_str()), **changes}), encoding="utf-8")
    return str(path)
