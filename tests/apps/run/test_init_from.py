"""--init_from takes rows that stand for symbols by symbol: in every task, for every tensor."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
import unrolled.tasks
from unrolled.apps.run.compare import take_weights
from unrolled.core import GRU, LSTM, Bidirectional, ImageEncoder, SmallCNN
from unrolled.data import ByteVocabulary, CharacterVocabulary
from unrolled.data.alphabet import alphabet, match
from unrolled.data.tokenizer import Subwords
from unrolled.errors import UsageError
from unrolled.loading import CheckedTask
from unrolled.tasks import Captioning, CharLM, Task, Translation, VideoLabelling

FILE = Path("old.ckpt")
SENTENCES = [
    "ein hund läuft",
    "zwei hunde laufen",
    "ein mann sieht einen hund",
    "die katze",
    "zwei katzen",
]
OTHERS = ["eine katze läuft zwei mal", "hunde laufen", "der mann sieht den hund", "katzen katzen"]


def text(symbols: str) -> dict:
    return {"vocabulary": CharacterVocabulary(symbols).to_spec()}


def words(sentences: list[str], kind: str = "word", size: int = 60) -> dict:
    return dict(Subwords.train(sentences, kind=kind, size=size).to_spec())


def pair(source: dict, target: dict) -> dict:
    return {"source": source, "target": target, "joint": source == target}


def captions(sentences: list[str]) -> dict:
    return {"vocabulary": words(sentences), "image_size": 8}


def videos(*classes: str) -> dict:
    return {
        "classes": [*classes],
        "background": [],
        "feature_size": 5,
        "image_size": 0,
        "stride": 1,
    }


def char_lm(spec: dict, **settings) -> CharLM:
    return CharLM(spec, partial(LSTM, hidden_size=6), embedding_size=6, **settings)


def translation(spec: dict, **settings) -> Translation:
    encoder = partial(Bidirectional, core=partial(GRU, hidden_size=3))
    return Translation(spec, encoder, partial(GRU, hidden_size=6), embedding_size=6, **settings)


def captioning(spec: dict, **settings) -> Captioning:
    encoder = partial(ImageEncoder, backbone=partial(SmallCNN, channels=[4]))
    return Captioning(spec, encoder, partial(LSTM, hidden_size=6), embedding_size=6, **settings)


def video(spec: dict, **settings) -> VideoLabelling:
    return VideoLabelling(spec, partial(GRU, hidden_size=6), **settings)


BOTH = words([*SENTENCES, "a dog runs"], "bpe", 70)
OTHER = words(["one more dog", *OTHERS], "bpe", 62)
# For each: how it is made, a spec, and another of other sizes that shares a part of its symbols.
CASES = {
    "characters": (char_lm, text("abcdef"), text("xbcdefgh")),
    "tied": (partial(char_lm, tie_weights=True), text("abcdef"), text("xbcdefgh")),
    "bytes": (char_lm, {"vocabulary": ByteVocabulary().to_spec()}, text("xbcdefghé")),
    "joint": (translation, pair(BOTH, BOTH), pair(OTHER, OTHER)),
    "shared": (
        partial(translation, share_embeddings=True, tie_weights=True),
        pair(BOTH, BOTH),
        pair(OTHER, OTHER),
    ),
    "separate": (
        partial(translation, attention=None, input_feeding=False),
        pair(BOTH, words(SENTENCES)),
        pair(OTHER, words(OTHERS)),
    ),
    "unigram": (translation, pair(words(SENTENCES, "unigram", 40), BOTH), pair(BOTH, OTHER)),
    "captions": (captioning, captions(SENTENCES), captions(OTHERS)),
    "classes": (video, videos("rest", "cut", "mix"), videos("pour", "mix", "rest", "stir")),
    "projected": (
        partial(video, projection_size=4),
        videos("rest", "cut", "mix"),
        videos("pour", "rest", "stir", "a"),
    ),
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def checkpoint(task: Task) -> dict:
    content = {
        "state_dict": {name: value.clone() for name, value in task.state_dict().items()},
        "hyper_parameters": dict(task.hparams),
    }
    task.on_save_checkpoint(content)
    return content


def take(model: Task, content: dict) -> str:
    """Give a model the weights of a checkpoint of this content."""
    torch.save(content, FILE)
    return take_weights(model, CheckedTask(FILE))


def made(case: str) -> tuple[Task, Task, dict[str, torch.Tensor], str]:
    """A model, a new one that took its weights, the new one's weights before, and what was said."""
    make, old, new = CASES[case]
    torch.manual_seed(0)
    first, second = make(old).eval(), make(new).eval()
    before = checkpoint(second)["state_dict"]
    return first, second, before, take(second, checkpoint(first))


def names_of(model: Task, key: str) -> list[str]:
    return alphabet(model.hparams["spec"][key]).names


def test_there_is_a_case_of_every_task():
    classes = [getattr(unrolled.tasks, name) for name in unrolled.tasks.__all__]
    tasks = {cls for cls in classes if isinstance(cls, type) and issubclass(cls, Task)} - {Task}
    assert tasks == {type(make(old)) for make, old, _ in CASES.values()}


@pytest.mark.parametrize("case", CASES)
def test_every_tensor_whose_shape_depends_on_the_symbols_is_declared(case):
    make, old, new = CASES[case]
    first, second = make(old).state_dict(), make(new).state_dict()
    assert first.keys() == second.keys()
    differing = {name for name in first if first[name].shape != second[name].shape}
    assert differing == make(old).symbol_rows.keys()
    for name, key in make(old).symbol_rows.items():
        assert len(first[name]) == len(alphabet(old[key]).names)
        assert first[name].shape[1:] == second[name].shape[1:]


@pytest.mark.parametrize("case", CASES)
def test_rows_go_where_their_symbols_are_and_new_ones_stay_fresh(case):
    first, second, before, told = made(case)
    given, own = first.state_dict(), second.state_dict()
    assert f"took {len(given)} of {len(given)} tensors from old.ckpt" in told
    for name, value in own.items():
        if name not in second.symbol_rows:
            assert torch.equal(value, given[name])
            continue
        old, new = (
            names_of(first, second.symbol_rows[name]),
            names_of(second, second.symbol_rows[name]),
        )
        assert set(old) & set(new)
        assert set(new) - set(old)
        for row, symbol in enumerate(new):
            # A shared table is written through each of its names.
            expected = given[name][old.index(symbol)] if symbol in old else before[name][row]
            assert torch.equal(value[row], expected), (name, symbol)


@torch.no_grad()
def scores(task: Task, texts: list[str]) -> tuple[torch.Tensor, list[str]]:
    """Logits of a few inputs that every alphabet of a case can say, and the symbols they are of."""
    model = task.model
    if isinstance(task, VideoLabelling):
        features = torch.linspace(-2, 2, 35, dtype=torch.float64).view(7, 5)
        return model(features, torch.tensor([7]))[0], names_of(task, "classes")
    if isinstance(task, CharLM):
        ids = torch.tensor([model.vocabulary.encode(row).tolist() for row in texts])
        return model(ids)[0], names_of(task, "vocabulary")
    if isinstance(task, Captioning):
        image = (torch.arange(2 * 3 * 64) % 251).view(2, 3, 8, 8).byte()
        caption = torch.tensor(model.vocabulary.encode_batch(texts))
        decoded, _ = model(image, caption, torch.arange(2))
        return model.decoder.head(decoded.output), names_of(task, "vocabulary")
    source, target = (
        torch.tensor(side.encode_batch(texts)) for side in (model.source, model.target)
    )
    decoded, _ = model(source, torch.full((len(texts),), source.shape[1]), target)
    return model.decoder.head(decoded.output), names_of(task, "target")


def reordered(vocabulary: dict, more: tuple[str, ...] = ()) -> dict:
    """The same words, last first, and some more of them in between."""
    import json

    plain = json.loads(vocabulary["tokenizer"])
    pieces = sorted(plain["model"]["vocab"], key=plain["model"]["vocab"].get)
    pieces = [*pieces[:4], *more, *reversed(pieces[4:])]
    plain["model"]["vocab"] = {piece: number for number, piece in enumerate(pieces)}
    return {**vocabulary, "tokenizer": json.dumps(plain)}


WORDS = words(SENTENCES)
FIRST, SECOND = words(SENTENCES, "bpe", 50), words(["katze hund mann", *OTHERS], "bpe", 50)
# The same symbols with other numbers, and with one more; what it is tried on.
PERMUTED = {
    # An alphabet is sorted: equal sizes and other numbers come of a symbol more in front and one
    # less at the end.
    "characters": (char_lm, text("bcdefz"), text("abcdef"), ["fedbc", "bcdee"]),
    "tied": (
        partial(char_lm, tie_weights=True),
        text("bcdefz"),
        text("abcdef"),
        ["fedbc", "bcdee"],
    ),
    "joint": (
        translation,
        pair(FIRST, FIRST),
        pair(reordered(FIRST), reordered(FIRST)),
        ["ein hund"] * 2,
    ),
    "separate": (
        translation,
        pair(FIRST, SECOND),
        pair(reordered(FIRST), reordered(SECOND)),
        ["hunde laufen"] * 2,
    ),
    "words": (
        captioning,
        captions(SENTENCES),
        {"vocabulary": reordered(WORDS), "image_size": 8},
        ["ein hund läuft", "zwei katzen laufen"],
    ),
    "one more word": (
        partial(captioning, tie_weights=True),
        captions(SENTENCES),
        {"vocabulary": reordered(WORDS, ("pferd",)), "image_size": 8},
        ["ein hund läuft", "zwei katzen laufen"],
    ),
    "one more character": (char_lm, text("bcdef"), text("abcdef"), ["fedbc", "bcdee"]),
    "one more subword": (
        translation,
        pair(FIRST, SECOND),
        pair(reordered(FIRST, ("▁neu",)), reordered(SECOND, ("▁new", "q"))),
        ["hunde laufen"] * 2,
    ),
    "classes": (video, videos("rest", "cut", "mix"), videos("mix", "rest", "cut"), []),
    "one more class": (
        video,
        videos("rest", "cut", "mix"),
        videos("mix", "pour", "rest", "cut"),
        [],
    ),
}


@pytest.mark.parametrize("case", PERMUTED)
def test_a_new_model_says_of_shared_symbols_what_the_old_one_said(case):
    make, old, new, texts = PERMUTED[case]
    torch.manual_seed(0)
    first = make(old).double().eval()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.mul_(2)
    second = make(new).double().eval()
    take(second, checkpoint(first))
    expected, symbols = scores(first, texts)
    found, others = scores(second, texts)
    assert symbols != others
    shared = [name for name in symbols if name in others]
    assert len(shared) >= 3
    torch.testing.assert_close(
        found[..., [others.index(name) for name in shared]],
        expected[..., [symbols.index(name) for name in shared]],
        rtol=1e-12,
        atol=1e-12,
    )


class TestMessage:
    def told(self, old: dict, new: dict, make=char_lm) -> str:
        return take(make(new), checkpoint(make(old))).removeprefix(
            "took 7 of 7 tensors from old.ckpt; "
        )

    def test_it_counts_and_names(self):
        assert self.told(text("abc"), text("abc")) == "characters: all 3 matched"
        assert (
            self.told(text("abc"), text("bcé"))
            == "characters: 2 matched, 1 new ('é'), 1 left out ('a')"
        )
        assert (
            self.told(text("abc"), text("ab"))
            == "characters: 2 matched, none new, 1 left out ('c')"
        )

    def test_long_lists_are_cut(self):
        many = "".join(map(chr, range(200, 223)))
        shown = ", ".join(map(repr, many[:10]))
        assert self.told(text("a"), text(f"a{many}")) == (
            f"characters: 1 matched, 23 new ({shown} and 13 more), none left out"
        )

    def test_not_one_symbol_matches(self):
        told = take(char_lm(text("xyz")), checkpoint(char_lm(text("abc"))))
        assert told.startswith(
            "took 4 of 7 tensors from old.ckpt; not taken: model.embedding.weight (its rows stand "
            "for other"
        )
        assert told.endswith(
            "characters: none matched, 3 new ('x', 'y', 'z'), 3 left out ('a', 'b', 'c')"
        )

    def test_another_kind_of_symbols_is_said(self):
        told = self.told({"vocabulary": ByteVocabulary().to_spec()}, text("abé"))
        assert told.startswith(
            "characters (bytes in the checkpoint): 2 matched, 1 new ('é'), 254 left out ('\\x00', "
        )

    def test_each_vocabulary_is_named(self):
        make, old, new = CASES["separate"]
        told = take(make(new), checkpoint(make(old)))
        assert "; source subwords: " in told
        assert "; target words: 9 matched, " in told
        assert "'mal'" in told
        make, old, new = CASES["joint"]
        told = take(make(new), checkpoint(make(old)))
        assert told.count("matched") == 1
        assert "; source and target subwords: " in told

    def test_tensors_that_do_not_fit_are_listed_up_to_ten(self):
        torch.manual_seed(0)
        old = checkpoint(video(videos("a")))
        old["state_dict"] |= {f"more.{number}": torch.zeros(1) for number in range(16)}
        told = take(video(videos("a")), old)
        assert told.count("(not in this model)") == 10
        assert "and 6 more; classes: all 1 matched" in told


def test_words_are_the_subwords_that_begin_with_a_space():
    old = alphabet(words(["das haus hat ein haus , das haus"], "bpe", 40))
    new = alphabet(words(["das haus hat tore , das tor"]))
    found = match(old, new)
    pairs = {(old.names[a], new.names[b]) for a, b in zip(found.old, found.new, strict=True)}
    assert {("▁haus", "▁haus"), ("▁das", "▁das"), ("<unk>", "<unk>"), ("<pad>", "<pad>")} <= pairs
    assert "words (subwords in the checkpoint): " in found.told
    assert "'tore'" in found.told


def test_columns_that_stand_for_no_symbols_are_never_taken_in_part():
    old = videos("a", "b")
    told = take(new := video({**old, "feature_size": 7}), before := checkpoint(video(old)))
    assert "model.core.weight_ih (18x5 there, 18x7 here)" in told
    assert torch.equal(new.model.head.weight, before["state_dict"]["model.head.weight"])
    told = take(VideoLabelling(old, partial(GRU, hidden_size=7)), before)
    assert "model.head.weight (2x6 there, 2x7 here)" in told
    assert "classes: all 2 matched" in told


def test_a_checkpoint_of_another_precision_and_of_another_task():
    given = checkpoint(char_lm(text("abc")).to(torch.bfloat16))
    new = char_lm(text("xabc"))
    take(new, given)
    assert {parameter.dtype for parameter in new.parameters()} == {torch.float32}
    table = given["state_dict"]["model.embedding.weight"]
    assert torch.equal(new.model.embedding.weight[2:5], table[2:].float())

    labels = VideoLabelling(
        videos("a", "b", "c", "d", "e"), partial(LSTM, hidden_size=6), projection_size=6
    )
    told = take(labels, given)
    assert "took 4 of 7 tensors" in told
    assert "model.head.weight (its rows stand for other symbols)" in told
    with pytest.raises(UsageError, match="fits this model"):
        take(VideoLabelling(videos("a"), partial(GRU, hidden_size=2)), given)


def test_a_table_that_becomes_shared_keeps_what_only_one_side_knew():
    old = translation(pair(words(["a b"]), words(["b c"])))
    both = words(["a b c"])
    new = translation(pair(both, both), share_embeddings=True)
    take(new, given := checkpoint(old))
    table = dict(zip(alphabet(both).names, new.model.decoder.embedding.weight, strict=True))
    source, target = (
        given["state_dict"]["model.encoder.embedding.weight"],
        given["state_dict"]["model.decoder.embedding.weight"],
    )
    sources, targets = old.model.source.symbols(range(6)), old.model.target.symbols(range(6))
    assert torch.equal(table["▁a"], source[sources.index("a")])
    assert torch.equal(table["▁b"], target[targets.index("b")])
    assert torch.equal(table["▁c"], target[targets.index("c")])
