"""Sentences of the CLDR: one translation each, every word trained on, compositions held out."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys

import pytest
from babel import Locale
from unrolled.data import CLDRData
from unrolled.data.translation.cldr.sentences import Composer, Sentence
from unrolled.errors import DataError, UsageError


def data_of(*languages: str, **settings) -> CLDRData:
    return CLDRData(
        *languages, **({"num_sentences": 800, "num_val": 60, "num_test": 50} | settings)
    )


@pytest.fixture(scope="module")
def default() -> CLDRData:
    return CLDRData()


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+|[^\w\s]", text))


def test_sizes_and_disjoint_parts(default):
    parts = {
        part: [sentence.source for sentence in found] for part, found in default.sentences.items()
    }
    assert [len(parts[part]) for part in ("train", "val", "test")] == [30000, 1000, 1000]
    every = list(itertools.chain(*parts.values()))
    assert len(set(every)) == len(every)


def test_one_target_for_each_source(default):
    composer = Composer(*default.locales, default.seed)
    translations: dict[str, str] = {}
    for sentence in itertools.islice(composer.sentences(), 5000):
        assert translations.setdefault(sentence.source, sentence.target) == sentence.target


def test_every_word_and_atom_is_in_the_training_part(default):
    train = default.sentences["train"]
    atoms = {atom for sentence in train for atom in sentence.atoms}
    known = [
        set().union(*(words(getattr(s, side)) for s in train)) for side in ("source", "target")
    ]
    for part in ("val", "test"):
        for sentence in default.sentences[part]:
            assert sentence.atoms <= atoms
            assert words(sentence.source) <= known[0]
            assert words(sentence.target) <= known[1]
    german = default.locales[0]
    for kind, names in (("territory", german.territories), ("language", german.languages)):
        there = {key for name, key, *_ in (atom for atom in atoms if len(atom) > 1) if name == kind}
        assert len(there) > 0.95 * len(
            [key for key in names if len(key) == 2 and not key.startswith(("X", "Z"))]
        )
    assert {atom for atom in atoms if atom[0] == "weekday"} == {
        ("weekday", day) for day in range(7)
    }
    assert len({atom for atom in atoms if atom[0] == "month" and atom[1] == "long"}) == 12
    assert len({atom for atom in atoms if atom[0] == "minute"}) == 60


def test_known_sentences(default):
    sentences = {s.source: s.target for part in default.sentences.values() for s in part}
    plural = {s: t for s, t in sentences.items() if re.fullmatch(r"(1|vor \d+|in \d+) \w+", s)}
    assert len(plural) > 50
    for source, target in plural.items():
        if source.startswith("vor "):
            assert target.endswith(" ago")
        if source.startswith("in "):
            assert target.startswith("in ")
    lists = [(s, t) for s, t in sentences.items() if re.fullmatch(r"\w+, \w+ (und|oder) \w+", s)]
    assert len(lists) > 50
    for source, target in lists:
        assert target.count(", ") == 2
        assert (" und " in source) == (", and " in target)
    assert not [
        text
        for pair in sentences.items()
        for text in pair
        if text != " ".join(text.split()) or "{" in text
    ]
    assert not [text for text in sentences.values() if re.search(r"[a-z]+-[a-z]+-[a-z]+-", text)]


def test_a_date_with_a_time_stands_alone(default):
    """In a list, `date, time or X` could be two items or three, whose translations differ."""
    moments = [s for s in default.sentences["train"] if "moment" in {atom[0] for atom in s.atoms}]
    assert len(moments) > 500
    assert not [s for s in moments if " oder " in s.source or " und " in s.source]


def test_a_seed_gives_the_same_sentences_and_another_gives_others():
    first, second, other = (data_of(seed=seed) for seed in (1, 1, 2))
    assert first.sentences == second.sentences
    assert (
        len(
            {s.source for s in first.sentences["train"]}
            & {s.source for s in other.sentences["train"]}
        )
        < 400
    )
    code = (
        "import itertools\nfrom babel import Locale\nfrom unrolled.data.translation.cldr.sentences "
        "import Composer\n"
        "found = itertools.islice(Composer(Locale('de'), Locale('en'), 0).sentences(), 50)\n"
        "print([sentence[:2] for sentence in found])"
    )
    prints = set()
    for seed in "12":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        prints.add(run.stdout)
    assert len(prints) == 1


@pytest.mark.parametrize(
    "languages",
    [
        ("ko", "en"),
        ("en", "ar"),
        ("fr", "zh_Hant"),
        ("pt-BR", "sr_Latn"),
        ("gsw", "ja"),
        ("sw", "vo"),
    ],
)
def test_any_two_languages(languages, tmp_path):
    data = data_of(*languages, num_sentences=400, vocabulary_size=1500, cache_dir=str(tmp_path))
    source, target = data.vocabularies
    for part, number in (("train", 400), ("val", 60), ("test", 50)):
        sentences = data.sentences[part]
        rows = {}
        for batch in data.loader(part):
            for row, index in enumerate(batch.number.tolist()):
                rows[index] = (
                    batch.source[row].tolist(),
                    batch.target[row].tolist(),
                    batch.reference[row],
                )
        assert len(rows) == number
        for index, (read, said, reference) in rows.items():
            assert reference == sentences[index].target
            if part == "train":  # characters that only the others have are unknown
                assert (source.decode(read), target.decode(said)) == sentences[index][:2]


def test_what_a_language_lacks_is_left_out():
    for sentence in itertools.islice(Composer(Locale("en"), Locale("ar"), 0).sentences(), 3000):
        assert not re.search(r"[a-z]+-[a-z]+", sentence.target)


def test_too_few_words(monkeypatch):
    monkeypatch.setattr(
        Composer, "sentences", lambda self: itertools.cycle([Sentence("ja", "yes", frozenset())])
    )
    with pytest.raises(DataError, match=r"too few words .* 1 were found.*--data.num_sentences"):
        data_of(num_sentences=10).sentences  # noqa: B018


def test_too_few_sentences_to_train_on(monkeypatch):
    monkeypatch.setattr("unrolled.data.translation.cldr.module._TRIES", 500)
    with pytest.raises(
        DataError,
        match=r"The words of 3 training sentences .* and 110 are asked for.*--data.num_val",
    ):
        data_of(num_sentences=3).sentences  # noqa: B018


def test_parts_may_be_empty():
    data = data_of(num_sentences=50, num_val=0)
    assert data.loader("val") is None
    assert data.val_dataloader() == []
    assert "--data.num_val" in data.remedy("val")


@pytest.mark.parametrize(
    ("fragment", "settings"),
    [
        ("Did you mean 'de_AT'", {"source": "de_ATT"}),
        ("no language 'klingon'", {"target": "klingon"}),
        ("no language ''", {"target": ""}),
        ("two languages", {"source": "en"}),
        ("num_sentences is 0", {"num_sentences": 0}),
        ("num_val is -1", {"num_val": -1}),
        ("num_test is -1", {"num_test": -1}),
        ("batch_size is 0", {"batch_size": 0}),
    ],
)
def test_settings_are_checked(fragment, settings):
    with pytest.raises(UsageError, match=fragment):
        CLDRData(**settings)
