"""Embeddings that begin with word vectors from outside, in every task that has symbols."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_runs import CPU, enter, fit, read
from unrolled.core import GRU, LSTM, Bidirectional, ImageEncoder, SmallCNN
from unrolled.data.alphabet import alphabet
from unrolled.data.tokenizer import Subwords
from unrolled.data.torchtext import Vectors
from unrolled.data.vocabulary import CharacterVocabulary
from unrolled.errors import DataError, UsageError
from unrolled.tasks import Captioning, CharLM, Translation
from unrolled.tasks.vectors import use_vectors

GERMAN = ["der hund sieht die katze", "Zwei Hunde laufen ."]
ENGLISH = ["the dog sees the cat", "two dogs run ."]
KINDS = ("word", "bpe", "unigram")
SMALL = partial(ImageEncoder, backbone=partial(SmallCNN, channels=[4, 6, 8, 8]))


def words(texts: list[str], kind: str = "word") -> dict:
    return dict(Subwords.train(texts, kind=kind, size=120).to_spec())


def translation(kind: str, **settings) -> Translation:
    spec = {"source": words(GERMAN, kind), "target": words(ENGLISH, kind), "joint": False}
    cores = partial(Bidirectional, core=partial(GRU, hidden_size=4)), partial(GRU, hidden_size=4)
    return Translation(spec, *cores, embedding_size=3, **settings)


def write(folder: Path, *rows: str, name: str = "vectors.txt") -> str:
    file = folder / name
    file.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(file)


def row_of(part: dict, name: str) -> int:
    return alphabet(part).names.index(name)


@pytest.mark.parametrize("kind", KINDS)
def test_words_begin_with_their_vectors_and_nothing_else_changes(tmp_path, kind):
    task = translation(kind)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    told = use_vectors(
        task.model, write(tmp_path, "2 3", "katze 1 2 3", ". 7 8 9", "nirgends 0 0 1"), "source"
    )
    after, spec = task.model.state_dict(), task.model.spec["source"]
    rows = {
        name: row_of(spec, name)
        for name in ("▁katze", "katze", ".", "▁.")
        if name in alphabet(spec).names
    }
    expected = {"▁katze": [1.0, 2.0, 3.0], ".": [7.0, 8.0, 9.0], "▁.": [7.0, 8.0, 9.0]}
    changed = set()
    for name, row in rows.items():
        if name in expected:
            assert after["encoder.embedding.weight"][row].tolist() == expected[name]
            changed.add(row)
    assert changed
    assert f"vectors: {len(changed)} of " in told
    others = [row for row in range(len(alphabet(spec).names)) if row not in changed]
    for name, value in before.items():
        same = others if name == "encoder.embedding.weight" else slice(None)
        assert torch.equal(after[name][same] if value.dim() else after[name], value[same]), name


def test_words_are_looked_for_in_lower_case_after_all(tmp_path):
    task = translation("word")
    file = write(tmp_path, "zwei 1 1 1", "hunde 2 2 2", "Hunde 3 3 3")
    told = use_vectors(task.model, file, "source")
    table, spec = task.model.encoder.embedding.weight, task.model.spec["source"]
    assert table[row_of(spec, "▁Zwei")].tolist() == [1, 1, 1]
    assert table[row_of(spec, "▁Hunde")].tolist() == [3, 3, 3]
    assert "2 of 9 words of the source (22.2%)" in told
    assert "1 of them in lower case" in told


def test_of_a_word_that_is_there_twice_the_last_counts(tmp_path):
    task = translation("word")
    use_vectors(task.model, write(tmp_path, "dog 1 1 1", "dog 2 2 2"), "target")
    row = row_of(task.model.spec["target"], "▁dog")
    assert task.model.decoder.embedding.weight[row].tolist() == [2, 2, 2]


def test_vectors_that_were_read_are_the_same_as_their_file(tmp_path):
    file = write(tmp_path, "two 1 1 1", "Dogs 2 2 2", "dogs 3 3 3", "dogs 4 4 4")
    both = []
    for vectors in (file, Vectors(file)):
        torch.manual_seed(0)
        task = translation("word")
        use_vectors(task.model, vectors, "target")
        both.append(task.model.decoder.embedding.weight)
    assert torch.equal(*both)


def test_characters_and_captions_have_vectors_too(tmp_path):
    file = write(tmp_path, "a 1 2 3", "dog 4 5 6")
    lm = CharLM({"vocabulary": CharacterVocabulary("ab").to_spec()}, partial(LSTM, hidden_size=4))
    with pytest.raises(UsageError, match="3 numbers, and the model's have 64"):
        use_vectors(lm.model, file)
    spec = {"vocabulary": CharacterVocabulary("ab").to_spec()}
    lm = CharLM(spec, partial(LSTM, hidden_size=4), embedding_size=3)
    assert "1 of 2 characters" in use_vectors(lm.model, file)
    assert lm.model.embedding.weight[2].tolist() == [1, 2, 3]
    captioner = Captioning(
        {"vocabulary": words(ENGLISH), "image_size": 8},
        SMALL,
        partial(LSTM, hidden_size=4),
        embedding_size=3,
    )
    use_vectors(captioner.model, file)
    row = row_of(captioner.model.spec["vocabulary"], "▁dog")
    assert captioner.model.decoder.embedding.weight[row].tolist() == [4, 5, 6]


def test_wrong_vectors_are_refused(tmp_path):
    model = translation("word").model
    with pytest.raises(UsageError, match=r"2 numbers, and the model's have 3: --model.embedding_s"):
        use_vectors(model, write(tmp_path, "dog 1 2"), "target")
    with pytest.raises(DataError, match="a vector of none of the 8 words of the target"):
        use_vectors(model, write(tmp_path, "chien 1 2 3"), "target")
    with pytest.raises(UsageError, match="for one of source, target"):
        use_vectors(model, write(tmp_path, "dog 1 2 3"))
    with pytest.raises(DataError, match=r"line 2.*1 numbers; those before it have 3"):
        use_vectors(model, write(tmp_path, "dog 1 2 3", "cat 1"), "target")


def test_training_begins_with_them_and_a_resumed_run_needs_no_file(
    tmp_path, monkeypatch, capsys, caplog
):
    enter(tmp_path, monkeypatch)
    file = write(tmp_path, "3 3", "t 5 5 5", "c 6 6 6", "ten 7 7 7")
    size = ["--model.embedding_size", "3"]
    small = ["--model.optimizer.lr", "1e-9", *size, "--model.vectors", "vectors.txt"]
    caplog.set_level("INFO")
    assert fit(*small) == 0
    assert "vectors: 2 of 11 characters of the vocabulary (18.2%)" in caplog.text
    kept = read("last")
    names = alphabet(kept["hyper_parameters"]["spec"]["vocabulary"]).names
    for letter, value in {"t": 5.0, "c": 6.0}.items():
        row = kept["state_dict"]["model.embedding.weight"][names.index(letter)]
        torch.testing.assert_close(row, torch.full((3,), value), rtol=0, atol=1e-4)
    Path(file).unlink()
    assert fit("--resume", "--name", "1", steps=3) == 0
    assert fit(*small, "--name", "2") == 3
    assert "'vectors.txt' does not exist" in capsys.readouterr().err
    assert not Path("runs/char_lm/2").exists()
    write(tmp_path, "t 1 2")
    assert fit(*small, "--name", "2", *CPU) == 2
    assert "--model.embedding_size 2" in capsys.readouterr().err
