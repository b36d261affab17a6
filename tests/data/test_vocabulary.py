from __future__ import annotations

import random

import numpy as np
import pytest
from unrolled.data.vocabulary import (
    ByteVocabulary,
    CharacterVocabulary,
    UnknownCharacters,
    vocabulary_from_spec,
)
from unrolled.errors import DataError, UsageError

ALPHABETS = ["ab", "xyz \n\t\r\x00", "aéß漢🦆\u200d\ufeff", "".join(map(chr, range(300)))]


def random_text(seed: int) -> str:
    rng = random.Random(seed)
    return "".join(rng.choices(rng.choice(ALPHABETS), k=rng.randrange(0, 200)))


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("kind", [CharacterVocabulary, ByteVocabulary])
def test_round_trip(kind, seed):
    text = random_text(seed)
    vocabulary = CharacterVocabulary(text) if kind is CharacterVocabulary else ByteVocabulary()
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int64
    assert vocabulary.decode(ids) == text
    assert all(0 < i < vocabulary.size for i in ids)
    again = vocabulary_from_spec(vocabulary.to_spec())
    assert again.to_spec() == vocabulary.to_spec()
    assert again.size == vocabulary.size
    assert (again.encode(text) == ids).all()


@pytest.mark.parametrize("seed", range(25))
def test_decoding_in_pieces_is_decoding(seed):
    text, rng = random_text(seed), random.Random(seed)
    for vocabulary in (CharacterVocabulary(text), ByteVocabulary()):
        ids, decoder, pieces = vocabulary.encode(text).tolist(), vocabulary.decoder(), []
        while ids:
            cut = rng.randrange(1, 4)
            pieces.append(decoder.push(ids[:cut]))
            ids = ids[cut:]
        whole = decoder.finish()[:0].join([*pieces, decoder.finish()])
        assert (whole if isinstance(whole, str) else whole.decode()) == text


def test_character_ids_are_in_code_point_order():
    vocabulary = CharacterVocabulary("banana 🦆")
    assert vocabulary.symbols == " abn🦆"
    assert vocabulary.size == 7
    assert vocabulary.encode(" 🦆").tolist() == [2, 6]
    assert vocabulary.decode([0, 2, 1, 3]) == " \ufffda"


def test_byte_ids():
    vocabulary = ByteVocabulary()
    assert vocabulary.size == 257
    assert vocabulary.encode("a").tolist() == [98]
    assert vocabulary.encode(b"\x00\xff").tolist() == [1, 256]
    assert vocabulary.decode([0, 98, 0]) == "a"
    assert vocabulary.decode([256]) == "\ufffd"


def test_bytes_come_out_as_they_are():
    decoder = ByteVocabulary().decoder()
    ids = ByteVocabulary().encode(b"\xc3\x00\xff").tolist()
    assert [decoder.push([i]) for i in ids] == [b"\xc3", b"\x00", b"\xff"]
    assert decoder.finish() == b""


def test_unknown_characters():
    vocabulary = CharacterVocabulary("abc")
    assert vocabulary.encode("axb", unknown="skip").tolist() == [2, 3]
    assert vocabulary.encode("axb", unknown="replace").tolist() == [2, 1, 3]
    with pytest.raises(UnknownCharacters) as caught:
        vocabulary.encode("aTUVWXYZTZZ\n")
    assert isinstance(caught.value, DataError)
    assert caught.value.exit_code == 3
    assert caught.value.counts == {"T": 2, "U": 1, "V": 1, "W": 1, "X": 1, "Y": 1, "Z": 3, "\n": 1}
    message = str(caught.value)
    assert "lacks: 'Z' (3 x), 'T' (2 x), '\\n' (1 x), 'U' (1 x), 'V' (1 x) and 3 more" in message
    assert "unknown 'skip' or 'replace'" in message


def test_an_empty_vocabulary_and_an_empty_text():
    assert CharacterVocabulary("").encode("").tolist() == []
    with pytest.raises(UnknownCharacters):
        CharacterVocabulary("").encode("a")


@pytest.mark.parametrize("spec", [{}, {"kind": "signs", "symbols": ""}, {"kind": "characters"}])
def test_a_spec_that_is_none(spec):
    with pytest.raises(UsageError, match="kind"):
        vocabulary_from_spec(spec)


def test_surrogates_from_the_command_line_are_unknown_not_a_crash():
    with pytest.raises(UnknownCharacters):
        CharacterVocabulary("abc").encode("a\udce9")
    assert ByteVocabulary().encode("\udce9").tolist() == [0xE9 + 1]
