"""What torchtext yields, and what is made of it, trains here and loads without torchtext."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import unrolled
from torchtext_cases import SENTENCES, torchtext_itself
from unrolled.core import GRU, LSTM, Bidirectional
from unrolled.data import ParallelData, ScenesData, TextData
from unrolled.data.tokenizer import Subwords
from unrolled.data.torchtext import Vectors, build_vocab_from_iterator, get_tokenizer
from unrolled.errors import DataError, UsageError
from unrolled.tasks import CharLM, Translation
from unrolled.tasks.vectors import use_vectors

PAIRS = [
    ("Ein Hund läuft.\n", "A dog runs.\n"),
    ("Zwei Hunde laufen!", "Two dogs run!"),
    ("Der Hund sieht die Katze.", 'The dog sees the "cat".'),
]
OURS = SimpleNamespace(
    build_vocab_from_iterator=build_vocab_from_iterator,
    get_tokenizer=get_tokenizer,
    Vectors=Vectors,
)
BOTH = [
    pytest.param(lambda: OURS, id="ours"),
    pytest.param(
        torchtext_itself,
        id="torchtext",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("torchtext") is None,
            reason="torchtext loads with torch 2.3 only: make test-torchtext",
        ),
    ),
]


def fitted(trainer, task, data, tmp_path):
    """Train a step, and return the model as another program loads it."""
    made = trainer(max_steps=1, max_epochs=1)
    made.fit(task, datamodule=data)
    made.save_checkpoint(tmp_path / "model.ckpt")
    return unrolled.load(tmp_path / "model.ckpt")


@pytest.mark.filterwarnings("ignore:Load only checkpoints that you trust")
@pytest.mark.parametrize("library", BOTH)
def test_translation_learns_of_pairs_words_and_vectors(library, trainer, tmp_path):
    library = library()
    tokenize = library.get_tokenizer("basic_english")
    vocabs = [
        library.build_vocab_from_iterator(
            (tokenize(pair[side]) for pair in PAIRS * 2), specials=["<unk>", "<pad>"]
        )
        for side in (0, 1)
    ]
    data = ParallelData.from_iterable(
        iter(PAIRS * 2),
        [("Die Katze sieht zwei Hunde.", "The cat sees two dogs.")],
        kind="word",
        tokenizer="basic_english",
        batch_size=2,
        cache_dir=str(tmp_path),
    )
    data.use_words(*vocabs)
    file = tmp_path / "vectors.txt"
    file.write_text("dog 1 2 3\nruns 4 5 6\n")
    task = Translation(
        data.spec,
        partial(Bidirectional, core=partial(GRU, hidden_size=4)),
        partial(GRU, hidden_size=4),
        embedding_size=3,
    )
    use_vectors(task.model, library.Vectors(str(file)), "target")
    row = task.model.target["dog"]
    assert task.model.decoder.embedding.weight[row].tolist() == [1, 2, 3]
    model = fitted(trainer, task, data, tmp_path)
    for side, (vocab, ours) in enumerate(zip(vocabs, (model.source, model.target), strict=True)):
        words = [word for word in vocab.get_itos() if word not in ("<unk>", "<pad>")]
        assert ours.get_itos() == ["<pad>", "<s>", "</s>", "<unk>", *words]
        for pair in PAIRS:
            tokens = tokenize(pair[side])
            assert ours.lookup_tokens(ours.encode_batch([pair[side]])[0]) == tokens
    assert isinstance(model.translate("Ein Hund läuft."), str)


@pytest.mark.filterwarnings("ignore:Load only checkpoints that you trust")
@pytest.mark.parametrize("library", BOTH)
def test_language_model_learns_of_labelled_texts_in_words(library, trainer, tmp_path):
    library = library()
    tokenize = library.get_tokenizer("basic_english")
    texts = [(n % 2, f"The {n % 5} cats sat, and sat on the mat!") for n in range(60)]
    vocab = library.build_vocab_from_iterator(
        (tokenize(text) for _, text in texts), min_freq=20, specials=["<unk>"]
    )
    data = TextData.from_iterable(
        iter(texts),
        tokenizer=tokenize,
        units="words",
        batch_size=2,
        chunk_length=4,
        cache_dir=str(tmp_path),
    )
    data.use_words(vocab)
    task = CharLM(data.spec, partial(LSTM, hidden_size=4), embedding_size=3)
    model = fitted(trainer, task, data, tmp_path)
    assert model.vocabulary.get_itos()[3:] == vocab.get_itos()
    assert isinstance(model.generate("the cats sat ,", length=3, seed=0), str)


def test_captions_are_learnt_in_given_words(tmp_path):
    data = ScenesData(12, 5, test_size=6, batch_size=4, cache_dir=str(tmp_path))
    data.use_words(build_vocab_from_iterator([["a", "red", "circle"]], specials=["<unk>"]))
    words = Subwords.from_spec(data.spec["vocabulary"])
    assert words.get_itos() == ["<pad>", "<s>", "</s>", "<unk>", "a", "circle", "red"]


def test_words_are_parted_as_basic_english_parts_them():
    tokenize = get_tokenizer("basic_english")
    texts = [text for text in SENTENCES if "\x1c" not in text]
    words = Subwords.train(texts, kind="word", tokenizer="basic_english", size=500)
    again = Subwords.from_spec(words.to_spec())
    for text in texts:
        tokens = tokenize(text)
        assert again.lookup_tokens(again.encode_batch([text])[0]) == tokens


def test_what_yields_no_sentences_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"Item 1 of train is \('one',\); it has to be a pair"):
        ParallelData.from_iterable([("a", "b"), ("one",)], cache_dir=str(tmp_path))
    with pytest.raises(DataError, match="Item 0 of the texts is 7"):
        TextData.from_iterable([7], cache_dir=str(tmp_path))
    data = ParallelData.from_iterable(PAIRS, cache_dir=str(tmp_path))
    with pytest.raises(UsageError, match="kind is bpe: set kind to word"):
        data.use_words(OURS.build_vocab_from_iterator([]), OURS.build_vocab_from_iterator([]))
    with pytest.raises(UsageError, match=r"add --data.kind word\."):
        ParallelData.from_iterable(PAIRS, tokenizer="basic_english", cache_dir=str(tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and "tmp" in path.name]


def test_nothing_of_it_imports_torchtext():
    code = (
        "import sys, unrolled.data.torchtext as t; t.Vectors, t.get_tokenizer; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torchtext" not in done.stdout.split()
    assert torch.__name__ in done.stdout.split()
