"""Subwords and words: reversible, deterministic, plain data."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import unicodedata

import pytest
import torch
from unrolled.data import Subwords
from unrolled.errors import DataError, UsageError

TEXTS = [
    "Ein Mann fährt Rad, und (wieder) 2016 Menschen sehen zu.",
    "Zwei Männer fahren Rad! Straßenverkehrsordnung?",
    "A man's riding a bike - isn't he? He can't, it's 3.50 $.",
    "Two men ride bikes; 漢字とかな, e\u0301te\u0301 and été.",
] * 5


def normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def subwords(request):
    return Subwords.train(TEXTS, kind=request.param, size=120)


@pytest.mark.parametrize(
    "text",
    [
        *TEXTS[:4],
        "",
        "  ",
        "\tzwei  Männer\u00a0 und\u202fMänner\n",
        "(wieder)wieder , zu",
        "漢字 かな",
        "Männer " * 1000,
        "e" * 100_000,
    ],
)
def test_decoding_gives_the_text_back(subwords, text):
    (ids,) = subwords.encode_batch([text])
    assert subwords.decode(ids) == normal(text)
    assert all(Subwords.UNKNOWN < i < subwords.size for i in ids)


def test_sizes_and_special_symbols(subwords):
    assert subwords.size <= 120
    assert (Subwords.PAD, Subwords.START, Subwords.END, Subwords.UNKNOWN) == (0, 1, 2, 3)
    assert subwords.symbols([0, 1, 2, 3]) == ["<pad>", "<s>", "</s>", "<unk>"]
    (ids,) = subwords.encode_batch(["Ein Mann"])
    assert subwords.decode([1, *ids, 2, 0, 0]) == "Ein Mann"
    assert "".join(subwords.symbols(ids)) == "▁Ein▁Mann"


def test_no_text_is_a_special_symbol(subwords):
    for text in ("<s>", "</s>", "<unk>", "<pad>", "special end"):
        (ids,) = subwords.encode_batch([text])
        assert not {Subwords.PAD, Subwords.START, Subwords.END}.intersection(ids)
        assert subwords.decode(ids) == "".join(c for c in text if c in "".join(TEXTS))


def test_unknown_characters_are_unknown_and_left_out(subwords):
    for text in ("Mann \U0001f600 Mann", "Mann \ud800 Mann"):
        (ids,) = subwords.encode_batch([text])
        if "\ud800" not in text:
            assert Subwords.UNKNOWN in ids
        assert subwords.decode(ids).replace("?", "").split() == ["Mann", "Mann"]


def test_digits_and_signs_stand_alone(subwords):
    (ids,) = subwords.encode_batch(["2016 Rad, zu."])
    pieces = [symbol.removeprefix("▁") for symbol in subwords.symbols(ids)]
    assert all(len(piece) <= 1 or piece.isalpha() for piece in pieces)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word"])
def test_plain_data(kind):
    made = Subwords.train(TEXTS, kind=kind, size=90, lowercase=kind == "word")
    spec = made.to_spec()
    file = io.BytesIO()
    torch.save(spec, file)
    file.seek(0)
    again = Subwords.from_spec(torch.load(file, weights_only=True))
    assert json.loads(json.dumps(spec)) == spec == again.to_spec()
    assert again.kind == kind
    assert again.size == made.size
    assert again.encode_batch(TEXTS) == made.encode_batch(TEXTS)


def test_training_is_deterministic():
    code = (
        "import hashlib, json, sys\nfrom unrolled.data import Subwords\n"
        "texts = [f'{a}{b} {b}{c}{a} {a * 2}, {c}'"
        " for a in 'abÄcde' for b in 'fghuv' for c in 'xyzwß']\n"
        # too many characters, all equally rare
        "texts += [chr(0x4E00 + i) + chr(0x4F00 + i) for i in range(90)]\n"
        "for kind in ('bpe', 'unigram', 'word'):\n"
        "    for size in (60, 600):\n"
        "        made = Subwords.train(texts, kind=kind, size=size).to_spec()['tokenizer']\n"
        "        print(hashlib.sha256(made.encode()).hexdigest())\n"
    )
    results = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "RAYON_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in "12"
    }
    assert len(results) == 1


def test_words_are_split_as_in_the_treebank():
    texts = [
        "The dog's tail, isn't it? They'll say: I can't - o'clock T-shirt (red)... «don’t» $5 x2",
    ]
    words = Subwords.train(texts, kind="word", size=100, lowercase=True)
    (ids,) = words.encode_batch(texts)
    assert words.decode(ids) == (
        "the dog 's tail , is n't it ? they 'll say : i ca n't - o'clock t-shirt ( red ) . . . "
        "« do n’t » $ 5 x2"
    )
    assert words.symbols(words.encode_batch(["Cat dog"])[0]) == ["<unk>", "dog"]


def test_rare_words_are_left_out():
    words = Subwords.train(["a a b", "a c c"], kind="word", size=100, min_count=2)
    assert words.symbols(range(words.size)) == ["<pad>", "<s>", "</s>", "<unk>", "a", "c"]
    assert Subwords.train(["a a b", "a c c"], kind="word", size=8).size == 7


def test_lower_case():
    made = Subwords.train(TEXTS, size=100, lowercase=True)
    assert made.decode(made.encode_batch(["Ein MANN"])[0]) == "ein mann"


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_rare_characters_of_a_large_alphabet_are_unknown(kind):
    texts = ["".join(chr(0x4E00 + i) for i in range(300)), *["Ab"] * 9]
    made = Subwords.train(iter(texts), kind=kind, size=100, lowercase=True)
    assert made.size <= 100
    assert made.decode(made.encode_batch(["AB"])[0]) == "ab"
    known = made.encode_batch([chr(0x4E00 + i) for i in range(300)])
    # 50 with a, b and the space
    assert [Subwords.UNKNOWN in ids for ids in known] == [i >= 47 for i in range(300)]


@pytest.mark.parametrize(
    ("error", "fragment", "settings"),
    [
        (UsageError, "bpe, unigram, word", {"kind": "letters"}),
        (UsageError, "too small", {"size": 5}),
        (DataError, "no text", {"texts": []}),
        (DataError, "no text", {"texts": ["", " "]}),
    ],
)
def test_refused(error, fragment, settings):
    texts = settings.pop("texts", TEXTS)
    with pytest.raises(error, match=fragment):
        Subwords.train(texts, **settings)


@pytest.mark.parametrize("spec", [{}, {"kind": "bpe"}, {"kind": "bpe", "tokenizer": "{}"}])
def test_no_vocabulary(spec):
    with pytest.raises(DataError, match="no vocabulary of subwords"):
        Subwords.from_spec(spec)


def test_what_the_library_panics_at_is_no_vocabulary(capfd):
    """Its panics are no `Exception`, and would pass every handler of one."""
    spec = Subwords.train(TEXTS, kind="bpe", size=120).to_spec()
    panics = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    with pytest.raises(DataError, match="no vocabulary of subwords"):
        Subwords.from_spec(
            {
                **spec,
                "tokenizer": json.dumps(json.loads(spec["tokenizer"]) | {"normalizer": panics}),
            }
        )
