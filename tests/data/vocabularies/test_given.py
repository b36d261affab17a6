"""Vocabularies of other programs: their pieces part texts as they do there, or they are refused."""

from __future__ import annotations

import json
import logging
import unicodedata

import pytest
import vocabulary_files as files
from unrolled.data import Subwords
from unrolled.data.vocabularies.given import read_vocabulary
from unrolled.errors import DataError, UsageError

OTHERS = [
    "Zwei Räder.",
    "Mann  für\u00a0Mann!",
    "",
    "isn't",
    "日 und 漢",
    "ABC ﬁn",
    "e\u0301t",
    "x",
]
PIECES = [
    "▁M",
    "än",
    "nn",
    "▁Männ",
    "er",
    "▁ri",
    "de",
    "▁Z",
    "we",
    "ei",
    "▁zu",
    "▁2016",
    "..",
    "en",
]
MODELS = {
    "unigram": files.UNIGRAM,
    "bpe": files.BPE,
    "characters": files.CHARACTERS,
}


def taken(path: str) -> Subwords:
    """Through a checkpoint, as it is used."""
    made = Subwords.from_given(read_vocabulary(path))
    again = Subwords.from_spec(json.loads(json.dumps(made.to_spec())))
    assert again.encode_batch(files.TEXTS) == made.encode_batch(files.TEXTS)
    assert made.symbols(range(4)) == ["<pad>", "<s>", "</s>", "<unk>"]
    return again


@pytest.mark.parametrize("kind", ["bytes", "spaces", "unigram", "words"])
def test_a_tokenizer_json_parts_texts_as_the_library_does(tmp_path, kind):
    theirs = files.hugging_face(kind)
    theirs.post_processor = None
    ours = taken(files.saved(theirs, tmp_path / "tokenizer.json"))
    for text in files.TEXTS[:4] + OTHERS:
        text = " ".join(text.split())  # white space is made single spaces here
        pieces = theirs.encode(text, add_special_tokens=False).tokens
        named = [
            str(ours._tokenizer.id_to_token(number)) if number > 3 else "<unk>"
            for number in ours.encode_batch([text])[0]
        ]
        unknown = {"<unk>"} | {piece for piece in pieces if theirs.token_to_id(piece) is None}
        assert named == ["<unk>" if piece in unknown else piece for piece in pieces], text
        if kind != "words" and "<unk>" not in named:
            assert (
                ours.decode(ours.encode_batch([text])[0])
                == theirs.decode(theirs.encode(text, add_special_tokens=False).ids).strip()
            )


def test_pieces_of_bytes_know_every_text_and_are_shown_as_text(tmp_path):
    ours = taken(files.saved(files.hugging_face("bytes"), tmp_path / "tokenizer.json"))
    for text in ["日本 \U0001f600 Ж", "Ein Mann"]:
        (ids,) = ours.encode_batch([text])
        assert Subwords.UNKNOWN not in ids
        assert ours.decode(ids) == text
        assert ours.knows(ids)
    assert not ours.knows(ours.encode_batch([" "])[0])
    assert "".join(ours.symbols(ours.encode_batch(["Ein Mann"])[0])) == "Ein▁Mann"
    assert len(set(ours.get_itos())) == ours.size


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc", "nmt_nfkc_cf"])
def test_a_sentencepiece_model_parts_texts_as_its_library_does(tmp_path, name, rule):
    library = pytest.importorskip("sentencepiece")
    longer = [] if name == "characters" else PIECES
    data = files.sentencepiece(files.letters_and(longer), MODELS[name], rule=rule)
    theirs = library.SentencePieceProcessor(model_proto=data)
    (tmp_path / "sp.model").write_bytes(data)
    ours = taken(str(tmp_path / "sp.model"))
    known = set(ours.get_itos())
    for said in files.TEXTS[:4] + OTHERS:
        text = " ".join(said.split())
        if rule != "identity":
            # this model, made by hand, has no table of its own
            text = unicodedata.normalize("NFKC", text)
            text = text.casefold() if rule.endswith("cf") else text
        wanted = [
            piece if piece in known else "<unk>" for piece in theirs.encode(text, out_type=str)
        ]
        assert ours.symbols(ours.encode_batch([text])[0]) == wanted, text


def test_what_a_sentencepiece_model_says_without_its_library(tmp_path):
    """Golden, from sentencepiece 0.2.3."""
    path = tmp_path / "sp.model"
    golden = {
        "unigram": "▁Z we i ▁Männ er , ▁f a h r en",
        "bpe": "▁Z we i ▁M än n er , ▁ f a h r en",
    }
    for name in golden:
        pieces = files.letters_and([*PIECES, "▁f"] if name == "unigram" else PIECES)
        path.write_bytes(files.sentencepiece(pieces, MODELS[name]))
        ours = taken(str(path))
        (ids,) = ours.encode_batch(["Zwei Männer, fahren"])
        assert ours.decode(ids) == "Zwei Männer, fahren"
        assert "".join(ours.symbols(ids)) == golden[name].replace(" ", "")


def test_numbers_and_special_symbols_are_given_anew(tmp_path):
    path = files.saved(files.hugging_face("bytes", special="<|startoftext|>"), tmp_path / "t.json")
    plain = json.loads((tmp_path / "t.json").read_text())
    ours = taken(path)
    assert ours.size == len(plain["model"]["vocab"])  # four for four
    for text in ("<s>", "</s>", "<pad>", "<|startoftext|>"):
        (ids,) = ours.encode_batch([text])
        assert min(ids) > Subwords.UNKNOWN
        assert ours.decode(ids) == text


def test_words_of_a_list(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\ufeff<unk>\n<s>\nMann\nRad\r\n\nzwei\n", encoding="utf-8")
    ours = taken(str(path))
    assert ours.get_itos()[4:] == ["Mann", "Rad", "zwei"]
    assert ours.symbols(ours.encode_batch(["zwei Mann fahren"])[0]) == ["zwei", "Mann", "<unk>"]
    assert "2 special ones" in read_vocabulary(str(path)).told
    path.write_text("Mann 120\nRad 7\n")
    assert taken(str(path)).get_itos()[4:] == ["Mann", "Rad"]


def broken(tmp_path, **changes):
    return files.saved(files.hugging_face("bytes"), tmp_path / "t.json", **changes)


SPLIT = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
REFUSED = {
    "a pattern of its own": (lambda path: broken(path, pre_tokenizer=SPLIT), "its pre_tokenizer"),
    "a table that panics": (
        lambda path: broken(path, normalizer={"type": "BertNormalizer", "lowercase": True}),
        "its normalizer is BertNormalizer",
    ),
    "wordpiece": (
        lambda path: files.saved(files.hugging_face("wordpiece"), path / "t.json"),
        "can't be put together",
    ),
    "no model": (lambda path: broken(path, model=None), "no model"),
    "no numbers": (
        lambda path: broken(path, model={"type": "BPE", "vocab": {"a": "b"}, "merges": []}),
        "no pieces with their numbers",
    ),
    "no scores": (
        lambda path: broken(
            path,
            pre_tokenizer={"type": "Metaspace"},
            model={"type": "Unigram", "vocab": [["a", "x"]]},
        ),
        "no pieces with their scores",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read_is_said(tmp_path, case):
    make, said = REFUSED[case]
    with pytest.raises(DataError, match=said) as caught:
        read_vocabulary(make(tmp_path))
    assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("sp.model", b"\x80\x02}q\x00.", "no SentencePiece model"),
        ("sp.model", b"", "no pieces"),
        (
            "sp.model",
            files.sentencepiece([("a", 0.0)], files.BPE, f24=1),
            "does not put the space before",
        ),
        ("sp.model", files.sentencepiece([("a", 0.0)], files.BPE, rule="mine"), "rules of its own"),
        ("sp.model", files.sentencepiece([("a", float("nan"))], files.BPE), "is no number"),
        ("sp.model", files.sentencepiece([("a", 0.0), ("a", 0.0)], files.BPE), "'a' twice"),
        ("vocab.txt", b"the\n##ing\n##ed\n", "parts of words"),
        ("vocab.txt", b"a b c\n", "a word a line"),
        ("vocab.txt", b"\n", "no pieces"),
        ("x.vocab", b"a\t-1\n", "name the .model beside it"),
        ("x.bin", b"a", "a vocabulary is a tokenizer.json"),
    ],
)
def test_files_that_are_nothing_of_the_kind(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, UsageError), match=said):
        read_vocabulary(str(tmp_path / name))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(DataError, match="name the file in it"):
        read_vocabulary(str(tmp_path))
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        read_vocabulary(str(tmp_path / "tokenizer.json"))


def test_bytes_of_rare_letters_are_left_out_and_said(tmp_path):
    pieces = [*((f"<0x{n:02X}>", 0.0) for n in range(256)), ("▁a", -1.0), ("a", -2.0), ("▁", -3.0)]
    data = files.sentencepiece(pieces, files.BPE, f35=1)
    # their type is that of bytes
    data = data.replace(b"\x18\x01", b"\x18\x06", 256)
    (tmp_path / "sp.model").write_bytes(data)
    found = read_vocabulary(str(tmp_path / "sp.model"))
    assert "256 bytes left out" in found.told
    assert found.pieces == ["▁a", "a", "▁"]


def messages(caplog):
    return [text for text in caplog.messages if text.startswith("Vocabulary")]


def pairs(folder):
    lines = "".join(f"{text}\t{text.upper()}\n" for text in files.TEXTS)
    (folder / "train.tsv").write_text(f"source\ttarget\n{lines}", encoding="utf-8")
    return {"train": str(folder / "train.tsv"), "cache_dir": str(folder / "cache")}


def test_translation_takes_one_for_both_or_one_a_side(tmp_path, caplog):
    from unrolled.data import ParallelData

    one = files.saved(files.hugging_face("bytes"), tmp_path / "a.json")
    other = tmp_path / "sp.model"
    other.write_bytes(files.sentencepiece(files.letters_and(PIECES), files.UNIGRAM))
    with caplog.at_level(logging.INFO):
        both = ParallelData(**pairs(tmp_path), vocabulary=one)
        both.prepare_data()
        apart = ParallelData(**pairs(tmp_path), vocabulary=f"{one},{other}")
    assert both.spec["joint"] is True
    assert [each.kind for each in apart.vocabularies] == ["bpe", "unigram"]
    assert apart.spec["joint"] is False
    assert len(messages(caplog)) == 3
    batch = both.files("train")[[0]]
    assert both.vocabularies[0].decode(batch.source[0].tolist()) == files.TEXTS[0]
    # a checkpoint's spec needs no file any more
    again = ParallelData(**pairs(tmp_path), vocabulary="gone.json", spec=apart.spec)
    assert again.vocabularies[1].encode_batch(["Mann"]) == apart.vocabularies[1].encode_batch(
        ["Mann"]
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"vocabulary": "a.json", "vocabulary_size": 400}, "leave the one or the other out"),
        ({"vocabulary": "a,b,c"}, "has to be a file, or the source's and the target's"),
    ],
)
def test_translation_refuses_what_says_two_things(tmp_path, settings, said):
    from unrolled.data import ParallelData

    with pytest.raises(UsageError, match=said):
        ParallelData(**pairs(tmp_path), **settings).spec  # noqa: B018


def test_language_models_take_words_and_subwords(tmp_path, caplog):
    from unrolled.data import TextData

    (tmp_path / "a.txt").write_text(" ".join(files.TEXTS) * 3, encoding="utf-8")
    (tmp_path / "words.txt").write_text("Mann\nRad,\nfährt\n", encoding="utf-8")
    subwords = files.saved(files.hugging_face("bytes"), tmp_path / "t.json")
    words = str(tmp_path / "words.txt")
    text = {"path": str(tmp_path / "a.txt"), "cache_dir": str(tmp_path / "cache"), "batch_size": 2}
    with caplog.at_level(logging.INFO):
        data = TextData(**text, units="words", vocabulary=words)
        assert data.vocabulary.symbols == ["Mann", "Rad,", "fährt"]
        assert "are unknown" in caplog.text or data.tokens is not None
        data = TextData(**text, units="subwords", vocabulary=subwords)
        ids = data.vocabulary.encode(files.TEXTS[0])
    assert len(messages(caplog)) == 2
    assert data.vocabulary.decode(ids) == files.TEXTS[0]
    assert len(ids) < len(files.TEXTS[0])
    for units, file, said in (
        ("words", subwords, "add --data.units subwords"),
        ("subwords", words, "add --data.units words"),
        ("characters", words, "set --data.units"),
    ):
        with pytest.raises(UsageError, match=said):
            TextData(**text, units=units, vocabulary=file).spec  # noqa: B018
    other = files.saved(files.hugging_face("spaces"), tmp_path / "spaces.json")
    with pytest.raises(DataError, match="pieces of bytes"):
        TextData(**text, units="subwords", vocabulary=other).spec  # noqa: B018


def test_captions_take_one_and_say_what_it_does_not_know(tmp_path, caplog):
    from PIL import Image
    from unrolled.data import CaptionData

    for number in range(6):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    rows = "".join(f"{number}.png,A grey dog\n" for number in range(6))
    (tmp_path / "captions.csv").write_text(f"image,caption\n{rows}")
    (tmp_path / "vocab.txt").write_text("a\ndog\n")
    settings = {"cache_dir": str(tmp_path / "cache"), "vocabulary": str(tmp_path / "vocab.txt")}
    with caplog.at_level(logging.INFO):
        data = CaptionData(str(tmp_path), **settings)
        words = data.vocabulary
    assert words.symbols(words.encode_batch(["A grey dog"])[0]) == ["a", "<unk>", "dog"]
    assert "33.3% of the training captions' symbols are unknown" in messages(caplog)[0]
    with pytest.raises(UsageError, match="says itself what its pieces are"):
        CaptionData(str(tmp_path), units="words", **settings)
