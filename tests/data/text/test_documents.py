"""Lines and paragraphs as documents, and the parts that they are drawn for."""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pytest
from unrolled.data import TextData
from unrolled.data.text import documents
from unrolled.data.text.documents import Block, drawn, split
from unrolled.errors import DataError

PGN = """[Event "one"]
[Result "1-0"]

1. e4 e5 2. Nf3 {a comment [%clk 0:01]}
Nc6 1-0

[Event "two"]

1. d4 *
"""
ABC = "X:1\nT:Reel\nK:D\ndAFA|BdAF|\n\nX:2\nT:Jig\nK:G\nGAB|\n"


def texts(block: Block) -> list[str]:
    ends = np.cumsum(block.lengths)
    whole = "".join(map(chr, block.symbols))
    return [whole[end - length : end] for end, length in zip(ends, block.lengths, strict=True)]


def found(text: str, how: str, cut: int = 10**6) -> list[str]:
    points = np.array([ord(character) for character in text], np.uint32)
    pieces = [points[begin : begin + cut] for begin in range(0, len(points), cut)]
    return [one for block in split(pieces, how, "it") for one in texts(block)]


@pytest.mark.parametrize("cut", [1, 2, 7, 10**6])
def test_lines_and_paragraphs(cut):
    assert found("Anna\nBo\r\n\nCy\rDi", "lines", cut) == ["Anna", "Bo", "Cy", "Di"]
    assert found("\n\n", "lines", cut) == found(" \n\n", "paragraphs", cut) == []
    text = "\n\n   a b\n c\r\n\r\n\r\n d\n \t\ne\n\n"
    assert found(text, "paragraphs", cut) == ["   a b\n c", " d", "e"]
    assert found(ABC, "paragraphs", cut) == ABC.rstrip().split("\n\n")
    games = found(PGN, "paragraphs", cut)
    assert games == [PGN[: PGN.index("\n\n[Event")], PGN[PGN.index('[Event "two') :].rstrip()]
    noted = "It ends with [a note]\n\nNext."  # which is no tag
    assert found(noted, "paragraphs", cut) == noted.split("\n\n")


@pytest.mark.parametrize("seed", range(40))
def test_any_text_cut_anywhere(seed):
    rng = random.Random(seed)
    text = "".join(rng.choices("ab \n\r\t", k=rng.randrange(60)))
    cut = rng.randrange(1, 9)
    lines = [line for line in re.split("[\r\n]+", text) if line]
    assert found(text, "lines", cut) == lines
    ended = re.sub("\r\n?", "\n", text)
    blocks = [block for block in re.split("\n(?:[ \t]*\n)+", ended) if block.strip()]
    ours = [re.sub("\r\n?", "\n", one) for one in found(text, "paragraphs", cut)]
    assert [one.strip() for one in ours] == [block.strip() for block in blocks]


def test_a_document_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(documents, "MAX_LINE", 10)
    assert found("a" * 10 + "\n" + "b", "lines", 4) == ["a" * 10, "b"]
    with pytest.raises(DataError, match="it has a line of more than 10 symbols"):
        found("a" * 30, "lines", 4)
    with pytest.raises(DataError, match="it has a paragraph of more than 10"):
        found("a\n" * 30, "paragraphs", 4)


def test_equal_documents_are_drawn_for_the_same_part_wherever_they_stand():
    rng = random.Random(0)
    names = ["".join(rng.choices("abc", k=rng.randrange(1, 7))) for _ in range(5000)]
    numbers: dict[str, float] = {}
    for begin in range(0, 5000, 700):
        some = names[begin : begin + 700]
        points = np.array([ord(c) for name in some for c in name], np.uint32)
        block = Block(points, np.array([len(name) for name in some]), True)
        for name, number in zip(some, drawn(block).tolist(), strict=True):
            assert numbers.setdefault(name, number) == number
    assert len(set(numbers.values())) == len(numbers)
    values = np.array(list(numbers.values()))
    counts = np.histogram(values, 10, (0, 1))[0] / len(values)
    assert np.abs(counts - 0.1).max() < 0.05


@pytest.mark.parametrize("units", ["characters", "bytes"])
@pytest.mark.parametrize("read", [3, 1 << 20])
def test_the_parts_have_every_line_once_and_none_in_two(tmp_path, monkeypatch, units, read):
    monkeypatch.setattr(documents, "_READ", read)
    rng = random.Random(1)
    names = sorted({"".join(rng.choices("abcdefg", k=rng.randrange(1, 9))) for _ in range(400)})
    names += names[:50]
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names))
    data = TextData(str(path), documents="lines", units=units, val_fraction=0.2, test_fraction=0.1)
    parts = {}
    for part in ("train", "val", "test"):
        first, end = data.bounds(part)
        ids = data.tokens[first : end + (part == "test")].tolist()
        assert ids[0] == 0
        ends = [*(n for n, i in enumerate(ids) if i == 0), len(ids)]
        parts[part] = [data.vocabulary.decode(ids[a:b]) for a, b in itertools.pairwise(ends)]
    assert sorted(itertools.chain.from_iterable(parts.values())) == sorted(names)
    assert not set(parts["train"]) & {*parts["val"], *parts["test"]}
    assert len(parts["val"]) / len(names) == pytest.approx(0.2, abs=0.06)
    assert len(parts["test"]) / len(names) == pytest.approx(0.1, abs=0.05)
    assert data.corpus.survey()["documents"] == len(names)


def test_lines_of_a_data_set_and_of_files_in_a_folder(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n\n")
    (tmp_path / "b.txt").write_text("three")
    settings = {"documents": "lines", "val_fraction": 0, "test_fraction": 0}
    data = TextData(str(tmp_path), **settings)
    encode = data.vocabulary.encode
    assert data.tokens[:].tolist() == [0, *encode("one"), 0, *encode("two"), 0, *encode("three")]


def test_a_single_line_is_for_training(tmp_path):
    for number in range(30):  # some of them are drawn for another part
        path = tmp_path / f"{number}.txt"
        path.write_text(f"line {number}")
        data = TextData(str(path), documents="lines")
        assert data.bounds("train") == (0, len(f"line {number}"))
