"""Subwords that a text sizes: no more than occur often, more with more text, down to characters."""

from __future__ import annotations

import importlib.util
import logging
from collections import Counter
from pathlib import Path

import pytest
from unrolled.data import ParallelData, Subwords
from unrolled.data.vocabularies.training import OFTEN

FILE = Path(__file__).parents[3] / "benchmarks" / "pronunciations.py"
SPEC = importlib.util.spec_from_file_location("pronunciations", FILE)
bench = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bench)

WORDS = bench.pronunciations(1600)
TEXTS = [side for pair in WORDS for side in pair]
SPECIAL = Subwords.UNKNOWN + 1


def sized(texts: list[str], **settings) -> Subwords:
    return Subwords.train(texts, size=None, **settings)


def test_the_made_up_pronunciations_follow_their_rules():
    assert bench.spoken("knight") == "N AY T"
    assert bench.spoken("cemade") == "S EH M EY D"
    assert bench.spoken("quack") == "K W AE K"
    assert len(dict(WORDS)) == len(WORDS) == 1600


def test_no_piece_is_rarer_than_is_learnt_and_every_character_is_one():
    made = sized(TEXTS)
    pieces = made.get_itos()[SPECIAL:]
    text = "".join("▁" + each.replace(" ", "▁") + "\n" for each in TEXTS)
    assert set(text) - {"\n"} <= set(pieces)
    longer = [piece for piece in pieces if len(piece) > 1]
    assert longer
    assert all(text.count(piece) >= OFTEN for piece in longer)
    assert not any(Subwords.UNKNOWN in ids for ids in made.encode_batch(TEXTS))


def test_a_larger_text_has_no_fewer_pieces():
    sizes = [sized(TEXTS[:100] * times).size for times in (1, 2, 4, 16, 64)]
    grown = [sized(TEXTS[:count]).size for count in (50, 200, 800, 3200)]
    for found in (sizes, grown):
        assert found == sorted(found)
        assert found[0] < found[-1]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_small_text_is_learnt_letter_by_letter(kind):
    made = sized(["Zwölf Boxkämpfer", "jagen Viktor"], kind=kind)
    assert all(len(piece) == 1 for piece in made.get_itos()[SPECIAL:])
    assert made.decode(made.encode_batch(["Viktor jagen"])[0]) == "Viktor jagen"


def test_there_are_as_many_unigram_pieces_as_pairs_allow():
    sizes = [sized(TEXTS[:count], kind="unigram").size for count in (100, 3200)]
    assert sizes[0] < sizes[1] <= sized(TEXTS).size


def test_a_text_of_many_characters_keeps_them_all():
    texts = ["".join(chr(0x4E00 + n) for n in range(5000))]
    counts = Counter(sized(texts).get_itos())
    assert all(counts[character] == 1 for character in texts[0])


def pair_file(folder, name, pairs):
    (folder / name).write_text("".join(f"{a}\t{b}\n" for a, b in [("word", "sounds"), *pairs]))
    return str(folder / name)


def parallel(folder, **settings):
    return ParallelData(
        train=pair_file(folder, "train.tsv", WORDS[200:]),
        val=pair_file(folder, "val.tsv", WORDS[:200]),
        source="word",
        target="sounds",
        cache_dir=str(folder / "cache"),
        **settings,
    )


@pytest.mark.parametrize("joint", [True, False])
def test_what_the_training_part_sizes_is_said_once(tmp_path, caplog, joint):
    with caplog.at_level(logging.INFO):
        data = parallel(tmp_path, joint_vocabulary=joint)
        data.prepare_data()
    (line,) = [text for text in caplog.messages if "sizes its subwords" in text]
    assert f"that occur {OFTEN} times or more; --data.vocabulary_size sets" in line
    assert ("/" in line) == (not joint)
    assert not any(text.startswith("Warning") for text in caplog.messages)
    assert max(each.size for each in data.vocabularies) < 200


def test_more_subwords_than_the_pairs_can_teach_are_told(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        parallel(tmp_path, vocabulary_size=8000).prepare_data()
    said = [text for text in caplog.messages if text.startswith("Warning")]
    assert len(said) == 1
    assert "too rarely to be learnt. Leave --data.vocabulary_size out" in said[0]


def test_unknown_symbols_are_told_with_what_to_do(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        parallel(tmp_path, kind="word").prepare_data()
    said = [text for text in caplog.messages if text.startswith("Warning")]
    assert len(said) == 1
    assert "100.0% of the words of the val sources are unknown symbols" in said[0]
    assert "--data.kind bpe" in said[0]
