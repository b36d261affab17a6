"""`unrolled.data.torchtext` answers what torchtext 0.18 answers.

The golden file says so in every environment; where torchtext itself can be imported
(`make test-torchtext`), it is asked as well, and about texts that nobody thought of.
"""

from __future__ import annotations

import importlib.util
import json
import string
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchtext_cases import GOLDEN, Library, answers, torchtext_itself
from unrolled.data.torchtext import Vectors, build_vocab_from_iterator, get_tokenizer
from unrolled.data.torchtext.vocab import Vocab, vocab
from unrolled.errors import DataError, UsageError

OURS = Library(vocab, build_vocab_from_iterator, Vectors, get_tokenizer)
needs_torchtext = pytest.mark.skipif(
    importlib.util.find_spec("torchtext") is None,
    reason="torchtext loads with torch 2.3 only: make test-torchtext",
)


def test_answers_are_those_of_the_golden_file():
    golden, ours = json.loads(GOLDEN.read_text(encoding="utf-8")), answers(OURS)
    assert list(ours) == list(golden)
    for name, answer in golden.items():
        assert ours[name] == answer, name


@needs_torchtext
def test_golden_file_is_what_torchtext_answers():
    assert answers(torchtext_itself()) == json.loads(GOLDEN.read_text(encoding="utf-8"))


_TEXTS = st.text(
    st.one_of(st.sampled_from("'\".,()!?;:<br />\n\t \u00a0"), st.characters(codec="utf-8")),
    max_size=60,
)


@needs_torchtext
@settings(max_examples=1000)
@given(_TEXTS)
def test_basic_english_is_torchtexts_of_any_text(text):
    theirs = torchtext_itself().get_tokenizer("basic_english")
    assert get_tokenizer("basic_english")(text) == theirs(text)


@needs_torchtext
@settings(max_examples=300)
@given(
    st.lists(st.lists(st.text(st.sampled_from("aAbBé\U0001f642 "), max_size=2), max_size=8)),
    st.integers(1, 3),
    st.lists(st.sampled_from(["<unk>", "<pad>", "a", "b"]), unique=True),
    st.booleans(),
    st.one_of(st.none(), st.integers(5, 9)),
)
def test_any_vocabulary_has_torchtexts_order(texts, min_freq, specials, first, most):
    theirs = torchtext_itself().build_vocab_from_iterator(texts, min_freq, specials, first, most)
    ours = build_vocab_from_iterator(texts, min_freq, specials, first, most)
    assert ours.get_itos() == theirs.get_itos()
    assert ours.get_stoi() == theirs.get_stoi()


@given(st.lists(st.lists(st.sampled_from(string.ascii_lowercase))), st.integers(1, 4))
def test_most_frequent_tokens_come_first_and_equals_by_code_point(texts, min_freq):
    counts = Counter(token for text in texts for token in text)
    tokens = build_vocab_from_iterator(iter(texts), min_freq).get_itos()
    assert set(tokens) == {token for token, count in counts.items() if count >= min_freq}
    keys = [(-counts[token], token) for token in tokens]
    assert keys == sorted(keys)


def test_specials_leave_room_for_a_token():
    with pytest.raises(UsageError, match="max_tokens is 2; it has to be above the 2 specials"):
        build_vocab_from_iterator([["a"]], specials=["<unk>", "<pad>"], max_tokens=2)


def test_tokens_are_all_different():
    with pytest.raises(RuntimeError, match="'a' is there, with the number 0"):
        Vocab(["a", "b", "a"])


def test_what_is_not_there_is_named():
    words = Vocab(["a"])
    with pytest.raises(RuntimeError, match=r"no token '\?', and no default index"):
        words(["a", "?"])
    with pytest.raises(RuntimeError, match="the ids 0 to 0, not 7"):
        words.lookup_tokens([0, 7])


def test_tokenizers_that_are_not_here_are_named():
    with pytest.raises(UsageError, match="thin cover of the package sacremoses"):
        get_tokenizer("moses")
    with pytest.raises(UsageError, match="Did you mean 'basic_english'"):
        get_tokenizer("basic_englisch")
    with pytest.raises(UsageError, match="for English"):
        get_tokenizer("basic_english", language="de")
    assert get_tokenizer(str.split) is str.split


def vectors_of(tmp_path, content, name="vectors.txt"):
    file = tmp_path / name
    file.write_bytes(content)
    return Vectors(file)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "holds no vectors"),
        (b"3 5\n", "holds no vectors"),
        (b"only words\nand no numbers\n", "line 1: could not convert"),
        (b"a 1 2 3\nb 1 2\n", "line 2 has a vector of 2 numbers; those before it have 3"),
        (b"a 1 2 3\nb c 1 2 3\n", "line 2 has a vector of 4 numbers"),
        (b"a 1 2 3\nb 1 x 3\n", "line 2"),
        (b"a 1 2 3\nb 1 nan 3\n", "line 2 has a number that is not finite"),
        (b"2 3\na\x00\x01\x02\n", "binary|line 2"),
        (b"\x00\x00\n", "binary"),
    ],
)
def test_files_that_hold_no_vectors_are_refused(tmp_path, content, match):
    with pytest.raises(DataError, match=match):
        vectors_of(tmp_path, content)


def test_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        Vectors(tmp_path / "glove.txt")
    with pytest.raises(DataError, match="is a folder"):
        Vectors(tmp_path)
    with pytest.raises(DataError, match="binary: word vectors are read in their text form"):
        vectors_of(tmp_path, b"2 3\n", "cc.en.300.bin")


def test_compressed_files_are_read_as_they_are(tmp_path):
    import gzip
    import zipfile

    content = b"2 3\na 1 2 3\nb 4 5 6\n"
    plain = vectors_of(tmp_path, content)
    packed = vectors_of(tmp_path, gzip.compress(content), "vectors.vec.gz")
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.writestr("vectors.txt", content)
    for other in (packed, Vectors(tmp_path / "one.zip")):
        assert other.itos == plain.itos
        assert torch.equal(other.vectors, plain.vectors)
    with zipfile.ZipFile(tmp_path / "one.zip", "a") as archive:
        archive.writestr("more.txt", content)
    with pytest.raises(DataError, match=r"holds 2 files \(vectors.txt, more.txt\): unpack it"):
        Vectors(tmp_path / "one.zip")
