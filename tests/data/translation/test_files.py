"""Parallel data as they come: every form is read, and which side is which is never guessed."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile

import pyarrow
import pytest
from unrolled.data import ParallelData
from unrolled.data.translation.pairs import file_pairs
from unrolled.data.translation.tables import table_pairs
from unrolled.errors import DataError, UsageError

PAIRS = [
    ("Bonjour, comment allez-vous ?", "Hello, how are you?"),
    ("Je ne comprends pas cette question.", "I do not understand this question."),
    ("« Oui », dit-elle en souriant.", '"Yes," she said with a smile.'),
    ("Les enfants jouent dans le jardin.", "The children are playing in the garden."),
    ("Il fait très froid aujourd’hui.", "It is very cold today."),
]
FLIPPED = [(target, source) for source, target in PAIRS]
ATTRIBUTION = "CC-BY 2.0 (France) Attribution: tatoeba.org #2877272 (CM) & #1158250 (Wittydev)"


def joined(rows, separator="\t", *, end="\n") -> str:
    return "".join(separator.join(row) + end for row in rows)


def quoted(rows, separator) -> str:
    return joined(
        (['"' + cell.replace('"', '""') + '"' for cell in row] for row in rows), separator
    )


def tmx(units: str, *, begin: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{begin}<tmx version="1.4"><header srclang="en"/>'
        f"<body>{units}</body></tmx>"
    )


def unit(*sides: tuple[str, str]) -> str:
    return (
        "<tu>"
        + "".join(f'<tuv xml:lang="{lang}"><seg>{text}</seg></tuv>' for lang, text in sides)
        + "</tu>"
    )


FORMS = {
    "fra.txt": joined((t, s, ATTRIBUTION) for s, t in PAIRS),
    "two_columns.txt": joined(FLIPPED),
    "tatoeba.tsv": joined((str(n), t, str(n + 7), s) for n, (s, t) in enumerate(PAIRS, 1276)),
    "with_tags.tsv": joined(("eng", t, "fra", s) for s, t in PAIRS),
    "moses.txt": joined(FLIPPED, " ||| "),
    "kaggle.csv": quoted([("English words/sentences", "French words/sentences"), *FLIPPED], ","),
    "excel.csv": "\ufeff" + quoted([("ID", "fr", "en"), *(("1", *p) for p in PAIRS)], ";"),
    "windows.tsv": joined([("en", "fr", "", ""), *((*p, "", "") for p in FLIPPED)], end="\r\n"),
    "codes.tsv": joined([("fra", "eng"), *PAIRS]),
    "no_header.csv": quoted(FLIPPED, ","),
    "names.json": json.dumps([{"English": t, "French": s} for s, t in PAIRS]),
    "columns.json": json.dumps({"en": [t for _, t in PAIRS], "fr": [s for s, _ in PAIRS]}),
    "rows.ndjson": "".join(
        json.dumps({"translation": {"fr": s, "en": t}}) + "\n" for s, t in PAIRS
    ),
    "memory.tmx": tmx(
        "".join(unit(("en-US", t), ("de", "nichts"), ("FR", s)) for s, t in PAIRS),
        begin='<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n',
    ),
    "wmt.xml": '<?xml version="1.0"?><dataset id="x"><doc origlang="en"><src lang="en"><p>'
    + "".join(f'<seg id="{n}">{t}</seg>' for n, (_, t) in enumerate(PAIRS))
    + '</p></src><ref lang="fr" translator="A"><p>'
    + "".join(f'<seg id="{n}">{s}</seg>' for n, (s, _) in enumerate(PAIRS))
    + '</p></ref><ref lang="fr" translator="B"><seg id="0">autre</seg></ref></doc></dataset>',
}


@pytest.mark.parametrize("name", FORMS)
def test_both_sides_of_every_form_are_what_they_are_called(tmp_path, name):
    path = tmp_path / name
    path.write_text(FORMS[name], encoding="utf-8", newline="")
    assert list(table_pairs(str(path), "fr", "en").read()) == PAIRS
    assert list(table_pairs(str(path), "en", "fr").read()) == FLIPPED
    assert table_pairs(str(path), "fr", "en").told  # what was understood


PACKERS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pyarrow.compress(data, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize(
    "name", ["fra.txt", "excel.csv", "names.json", "rows.ndjson", "memory.tmx"]
)
def test_compressed_files_of_every_kind(tmp_path, name, suffix):
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(PACKERS[suffix](FORMS[name].encode()))
    assert list(table_pairs(str(path), "fr", "en").read()) == PAIRS
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="damaged"):
        list(table_pairs(str(path), "fr", "en").read())


def test_parquet_and_arrow(tmp_path):
    import datasets

    rows = datasets.Dataset.from_dict({"fr": [s for s, _ in PAIRS], "en": [t for _, t in PAIRS]})
    rows.to_parquet(tmp_path / "a.parquet")
    rows.save_to_disk(tmp_path / "saved")
    for path in (tmp_path / "a.parquet", next((tmp_path / "saved").glob("*.arrow"))):
        assert list(table_pairs(str(path), "French", "English").read()) == PAIRS


def test_an_archive_of_two_files(tmp_path):
    path = tmp_path / "fr-en.txt.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Books.fr-en.fr", joined((s,) for s, _ in PAIRS))
        archive.writestr("Books.fr-en.en", joined((t,) for _, t in PAIRS))
        archive.writestr("README", "words")
    assert list(table_pairs(str(path), "en", "fr").read()) == FLIPPED
    with pytest.raises(DataError, match=r"no file of 'de' .*Books.fr-en.fr"):
        table_pairs(str(path), "de", "en")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.fr", "\n" * (80 << 20))
        archive.writestr("a.en", "one\n")
    with pytest.raises(DataError, match="expands to more than"):
        list(table_pairs(str(path), "fr", "en").read())
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="no zip archive"):
        table_pairs(str(path), "fr", "en")


def test_test_sets_in_sgml(tmp_path):
    """As WMT made them: no XML, for ampersands are bare and there is no root."""
    for language, number in (("fr", 0), ("en", 1)):
        segments = "\n".join(
            f'<seg id="{n}">{pair[number]} R&D &lt;3\n</seg>' for n, pair in enumerate(PAIRS)
        )
        (tmp_path / f"test.{language}.sgm").write_text(
            f'<srcset setid="x">\n<DOC docid="1">\n<p>\n{segments}\n</p>\n</DOC>\n</srcset>\n'
        )
    source, target = (str(tmp_path / f"test.{language}.sgm") for language in ("fr", "en"))
    found = list(file_pairs(source, target).read())
    assert found == [(f"{s} R&D <3", f"{t} R&D <3") for s, t in PAIRS]
    (tmp_path / "test.fr.sgm").write_text('<seg id="1">abc')
    with pytest.raises(DataError, match="cut short"):
        list(file_pairs(source, target).read())


def test_tags_about_talks_are_left_out_and_said(tmp_path):
    for language, number in (("fr", 0), ("en", 1)):
        (tmp_path / f"train.tags.fr-en.{language}").write_text(
            "<url>http://a.b</url>\n<talkid>1</talkid>\n<title>T</title>\n"
            + joined((pair[number],) for pair in PAIRS)
            + "<reviewer></reviewer>\n"
        )
    pairs = file_pairs(*(str(tmp_path / f"train.tags.fr-en.{one}") for one in ("fr", "en")))
    assert list(pairs.read()) == PAIRS
    assert "lines about the talks are left out" in pairs.told


def test_quotes_belong_to_sentences_where_lines_are_split_by_tabs(tmp_path):
    rows = [*PAIRS, ('"Oui', '"Yes'), ('"Non."', '"No."')]
    path = tmp_path / "a.tsv"
    path.write_text(joined(rows))
    assert list(table_pairs(str(path), "fr", "en").read()) == rows
    path.write_text(joined([("fr", "en"), *rows]))
    assert list(table_pairs(str(path), "fr", "en").read()) == rows


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        # a header whose names don't fit is no data
        ("a.tsv", "german\tenglish\nHallo Welt.\tHello world.\n", "line 1: expected the names"),
        ("a.csv", "id;quelle;ziel\n1;Hallo Welt;Hello world\n", "found 'id,quelle,ziel'"),
        # nothing says which column is which
        ("a.tsv", "a\tb\n", "can't be told from the text"),
        ("a.tsv", "1\tBonjour le monde entier.\t2\n", "1 of text"),
        ("a.csv", "fr,en\nBonjour, vous,Hello\n", "line 2: expected 2 columns, found 3"),
        ("a.tmx", tmx(unit(("de", "eins"), ("en", "one"))), "its languages are de, en"),
        ("a.tmx", tmx(unit(("en", "&e;")), begin='<!DOCTYPE t [<!ENTITY e "x">]>'), "entities"),
        ("a.tmx", "<tmx><body>", "damaged or no XML"),
        ("a.xml", "<html><p>one</p></html>", "neither TMX"),
        ("a.json", '{"a": 1}', "expected is a list of objects"),
    ],
)
def test_what_can_not_be_told_is_asked_for(tmp_path, name, content, fragment):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        list(table_pairs(str(path), "fr", "en").read())
    assert fragment in str(caught.value)


def test_the_user_can_say_which_column_is_which(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("a\tb\nc\td\n")
    for columns, pairs in (
        ("source=1,target=2", [("a", "b"), ("c", "d")]),
        ("target=1,source=2", [("b", "a"), ("d", "c")]),
        ("source=b, target=A", [("d", "c")]),
    ):
        assert list(table_pairs(str(path), "xx", "yy", columns).read()) == pairs
    with pytest.raises(DataError, match="has no column 'bb' for the source, only a, b"):
        table_pairs(str(path), "xx", "yy", "source=bb,target=a")
    with pytest.raises(DataError, match=r"has 2 columns, and --data.columns says"):
        table_pairs(str(path), "xx", "yy", "source=3,target=1")
    with pytest.raises(UsageError, match="expected source=1,target=2"):
        ParallelData(train=str(path), columns="1,2")


def test_languages_that_are_not_known_are_asked_for(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text(joined(PAIRS))
    with pytest.raises(DataError, match="'klingon-ish' is no language that is known"):
        table_pairs(str(path), "klingon-ish", "en")
    assert list(table_pairs(str(path), "source", "target").read()) == PAIRS  # the first, the second


def test_a_bomb_of_entities_is_not_expanded(tmp_path):
    names = [f'<!ENTITY e{n} "{"&e" + str(n - 1) + ";" if n else "x"}">' for n in range(9)]
    path = tmp_path / "a.tmx"
    path.write_text(
        tmx(unit(("en", "&e8;"), ("fr", "y")), begin=f"<!DOCTYPE t [{''.join(names)}]>")
    )
    with pytest.raises(DataError, match="not expanded"):
        list(table_pairs(str(path), "en", "fr").read())


def test_only_what_a_command_needs_has_to_exist(tmp_path):
    from lightning.pytorch import Trainer
    from lightning.pytorch.trainer.states import TrainerFn

    paths = {part: tmp_path / f"{part}.tsv" for part in ("train", "val", "test")}
    for path in paths.values():
        path.write_text(joined([("fr", "en"), *PAIRS * 4]))
    settings = {part: str(path) for part, path in paths.items()}
    settings |= {
        "source": "fr",
        "target": "en",
        "vocabulary_size": 100,
        "cache_dir": str(tmp_path / "c"),
    }
    spec = ParallelData(**settings).spec
    paths["train"].unlink()
    paths["val"].unlink()
    data = ParallelData(**settings, spec=spec)
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    data.trainer.state.fn = TrainerFn.TESTING
    data.prepare_data()
    assert len(data.files("test")) == 20
    data.trainer.state.fn = TrainerFn.FITTING
    with pytest.raises(DataError, match=r"train.tsv' does not exist"):
        data.prepare_data()
