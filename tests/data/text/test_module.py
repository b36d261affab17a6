"""Splits, batches, vocabularies and settings of text data."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from unrolled.data import TextData
from unrolled.errors import DataError, UsageError

LETTERS = "abcdefghijklmnopqrstuvwxyz \n"


def text_of(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list(LETTERS), length))


@pytest.fixture
def text_file(tmp_path):
    def make(content: str | bytes, name: str = "input.txt"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return make


def streams(data: TextData, loader) -> list[str]:
    """Return what each row of a loader read in one epoch: the targets."""
    rows: list[list[int]] = []
    for batch in loader:
        rows = rows or [[] for _ in batch.target]
        for row, (target, length) in enumerate(
            zip(batch.target.tolist(), batch.lengths.tolist(), strict=True)
        ):
            rows[row] += target[:length]
    return [data.vocabulary.decode(row) for row in rows]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("units", ["characters", "bytes"])
def test_the_parts_hold_every_character_once(text_file, seed, units):
    rng = np.random.default_rng(seed)
    text = text_of(int(rng.integers(300, 3000)), seed)
    val, test = (round(float(x), 2) for x in rng.uniform(0.02, 0.4, 2))
    data = TextData(
        text_file(text),
        units=units,
        val_fraction=val,
        test_fraction=test,
        batch_size=int(rng.integers(1, 4)),
        chunk_length=int(rng.integers(1, 20)),
    )
    train_end, val_end, end = (data.bounds(part)[1] for part in ("train", "val", "test"))
    assert (train_end, val_end, end) == (
        pytest.approx(len(text) * (1 - val - test), abs=1),
        pytest.approx(len(text) * (1 - test), abs=1),
        len(text),
    )
    assert "".join(streams(data, data.val_dataloader())) == text[train_end:val_end]
    assert "".join(streams(data, data.test_dataloader())) == text[val_end:]
    assert sorted("".join(streams(data, data.train_dataloader()))) == sorted(text[:train_end])


def test_batches(text_file):
    data = TextData(
        text_file(text_of(200)),
        val_fraction=0,
        test_fraction=0,
        batch_size=3,
        chunk_length=16,
        seed=5,
    )
    loader = data.train_dataloader()
    for _ in range(3):
        before = None
        batches = list(loader)
        for number, batch in enumerate(batches):
            kinds = [torch.int64, torch.int64, torch.bool, torch.int64, torch.int64]
            assert [t.dtype for t in batch] == kinds
            steps = batch.input.shape[1]
            assert batch.input.shape == batch.target.shape == batch.reset.shape == (3, steps)
            for row, length in enumerate(batch.lengths.tolist()):
                assert steps == length or number == len(batches) - 1
                begins = [symbol == 0 for symbol in batch.input[row, :length].tolist()]
                assert batch.reset[row, :length].tolist() == [begins[0] or number == 0, *begins[1:]]
                follows = batch.target[row, : length - 1] == batch.input[row, 1:length]
                assert (follows | (batch.input[row, 1:length] == 0)).all()
                for padded in batch[:3]:
                    assert not padded[row, length:].any()
                if number:  # goes on where the row ended
                    assert batch.input[row, 0] in (before.target[row, -1], 0)
            before = batch
    assert data.train_dataloader().state_dict()["epoch"] == 0


def test_the_first_symbol_is_predicted_from_the_boundary_and_others_from_the_text(text_file):
    text = text_of(100)
    data = TextData(
        text_file(text), val_fraction=0.2, test_fraction=0.3, batch_size=1, chunk_length=10
    )
    encoded = data.vocabulary.encode(text)
    assert data.tokens[:].tolist() == [0, *encoded]
    assert next(iter(data.val_dataloader())).input[0, 0] == encoded[49]
    assert next(iter(data.test_dataloader())).input[0, 0] == encoded[69]
    data.trainer = Trainer(
        accelerator="cpu", overfit_batches=2, logger=False, enable_progress_bar=False
    )
    assert next(iter(data.train_dataloader())).input[0].tolist() == [0, *encoded[:9]]


def test_nanogpt_split(shared_data):
    path = shared_data("shakespeare") / "input.txt"
    data = TextData(str(path), val_fraction=0.1, test_fraction=0, batch_size=1, chunk_length=1000)
    text = path.read_text()
    n = int(0.9 * len(text))
    assert data.bounds("train") == (0, n)
    assert streams(data, data.val_dataloader()) == [text[n:]]
    assert data.test_dataloader() == []
    assert data.vocabulary.size == 65 + 2


def test_documents_are_separated(tmp_path):
    for name, content in {
        "b.txt": "beta",
        "a.txt": "alpha",
        "empty.txt": "",
        "sub/c.txt": "gamma",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    data = TextData(str(tmp_path), val_fraction=0, test_fraction=0, batch_size=1, chunk_length=4)
    encode = data.vocabulary.encode
    assert data.tokens[:].tolist() == [0, *encode("alpha"), 0, *encode("beta"), 0, *encode("gamma")]
    batches = list(data.train_dataloader())
    resets = sum(int(batch.reset.sum()) for batch in batches)
    # three documents, and the first step of the epoch where it is in the middle of one
    assert resets in (3, 4)


def test_characters_are_the_smallest_integers_that_do(text_file):
    many = "".join(chr(0x4E00 + i) for i in range(300))
    for content, dtype in (("abc", np.uint8), (many, np.uint16), ("\U0010ffff\x00", np.uint8)):
        data = TextData(text_file(content), val_fraction=0, test_fraction=0)
        assert np.load(data.tokens.path, mmap_mode="r").dtype == dtype
        assert data.vocabulary.decode(data.tokens[:]) == content


def test_text_is_taken_as_it_is(text_file):
    content = "a\r\nb\rc\u2028\x00\ufeff\n"
    data = TextData(text_file("\ufeff" + content))  # a byte-order mark is none of it
    assert data.vocabulary.decode(data.tokens[:]) == content


def test_blocks_may_cut_characters_anywhere(text_file, monkeypatch):
    monkeypatch.setattr("unrolled.data.text.corpus.BLOCK_BYTES", 3)
    content = "aß漢🦆" * 5
    data = TextData(text_file(content), cache_dir=None)
    assert data.vocabulary.decode(data.tokens[:]) == content
    for encoding in ("utf-16", "utf-32-be", "shift_jis", "latin-1"):
        content = "aß" if encoding == "latin-1" else "a漢" * 5
        data = TextData(text_file(content.encode(encoding), f"{encoding}.txt"), encoding=encoding)
        assert data.vocabulary.decode(data.tokens[:]) == content


def test_cache_follows_the_file(text_file):
    path = text_file("abc" * 10)
    first = TextData(path)
    assert first.tokens.path == TextData(path).tokens.path
    kept = pickle.loads(pickle.dumps(first.tokens))
    text_file("abcd" * 10)
    second = TextData(path)
    assert second.vocabulary.size == 6
    assert len(second.tokens) == 41
    assert len(kept) == 31
    assert TextData(path, units="bytes").tokens.path != second.tokens.path


def test_spec_of_a_checkpoint(text_file):
    trained = TextData(text_file("abcdef" * 10))
    other = TextData(text_file("abc" * 20, "other.txt"), spec=trained.spec)
    assert other.spec == trained.spec
    assert other.tokens[:4].tolist() == [0, 2, 3, 4]
    as_bytes = TextData(
        text_file("äöü"), spec=TextData(text_file("x", "x.txt"), units="bytes").spec
    )
    assert as_bytes.vocabulary.decode(as_bytes.tokens[:]) == "äöü"


def test_characters_that_the_checkpoint_lacks(text_file):
    spec = TextData(text_file("abc" * 10)).spec
    path = text_file("abcüüz\U0010ffff", "other.txt")
    with pytest.raises(DataError) as caught:
        _ = TextData(path, spec=spec).tokens
    assert (
        "has 3 characters that the vocabulary lacks: 'ü' (2 x), 'z' (1 x), '\\U0010ffff' (1 x)"
        in str(caught.value)
    )
    assert path in str(caught.value)
    assert "--data.unknown replace" in str(caught.value)
    assert "--data.units bytes" in str(caught.value)
    replaced = TextData(path, spec=spec, unknown="replace")
    assert replaced.tokens[:].tolist() == [0, 2, 3, 4, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("length", "rows", "steps"), [(1000, 14, 64), (50, 1, 45), (1, 1, 1), (5, 1, 5)]
)
@pytest.mark.parametrize("vary", [False, True])
def test_streams_and_chunks_follow_a_short_text(text_file, length, rows, steps, vary, caplog):
    text = text_of(length)
    data = TextData(text_file(text), vary_length=vary)
    (batch, *_) = data.train_dataloader()
    assert batch.input.shape[0] == rows
    if not vary:
        assert batch.input.shape[1] == steps
    assert f"{rows} stream(s) and chunks of {steps}: too few for batch_size 32" in caplog.text
    train = len(text) if length < 20 else length * 9 // 10
    whole = sorted("".join(streams(data, data.train_dataloader())))
    assert whole == sorted(text[:train])


def test_a_text_too_short_for_parts_is_for_training(text_file, caplog):
    path = text_file("hello")
    data = TextData(path)
    assert streams(data, data.train_dataloader()) != []
    assert (data.val_dataloader(), data.test_dataloader()) == ([], [])
    assert caplog.text.count("all of it is for training") == 1
    assert "has 5 symbols, and the val share of 0.05 comes to none" in caplog.text
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    data.trainer.state.fn = "validate"
    with pytest.raises(DataError, match=r"--data\.val_fraction 1 --data\.test_fraction 0"):
        data.val_dataloader()
    assert streams(data, TextData(path, val_fraction=1, test_fraction=0).val_dataloader())
    halves = TextData(text_file("a", "a.txt"), val_fraction=0.5, test_fraction=0.5)
    with pytest.raises(DataError, match=r"has 1 symbols, and the val share of 0\.5 comes to none"):
        halves.val_dataloader()


def test_short_parts_are_read_in_few_streams(text_file):
    text = text_of(3000)
    data = TextData(text_file(text), batch_size=32, chunk_length=64)
    assert len(streams(data, data.val_dataloader())) == 150 // 64
    assert (
        len(streams(data, TextData(data.path, batch_size=32, chunk_length=999).val_dataloader()))
        == 1
    )


def test_all_for_one_part(text_file):
    path = text_file(text_of(500))
    data = TextData(path, val_fraction=1.0, test_fraction=0, chunk_length=50)
    assert "".join(streams(data, data.val_dataloader())) == text_of(500)
    with pytest.raises(DataError, match="nothing to train on: the part is empty"):
        data.train_dataloader()
    data = TextData(path, val_fraction=0, test_fraction=0)
    assert data.val_dataloader() == []
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    for part, command in (("val", "validate"), ("test", "test")):
        data.trainer.state.fn = command
        with pytest.raises(DataError, match=f"nothing to {command}.*--data.{part}_fraction"):
            getattr(data, f"{part}_dataloader")()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"val_fraction": 0.6, "test_fraction": 0.6}, "sum at most 1"),
        ({"val_fraction": -0.1}, "at least 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"chunk_length": 0}, "chunk_length is 0"),
        ({"vary_length": True, "chunk_length": 8}, "at least 20"),
        ({"dataset": "b"}, "both given"),
    ],
)
def test_settings_that_do_not_fit(settings, words):
    with pytest.raises(UsageError, match=words) as caught:
        TextData("a", **settings)
    assert caught.value.exit_code == 2


def test_data_travels_to_other_processes(text_file):
    data = TextData(text_file(text_of(3000)), num_workers=2, batch_size=2)
    without = TextData(data.path, batch_size=2)
    data.train_dataloader()
    copied = copy.deepcopy(data)
    assert pickle.loads(pickle.dumps(data)).spec == copied.spec == data.spec
    for ours, theirs in zip(copied.train_dataloader(), without.train_dataloader(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_importing_the_package_and_vocabularies_is_light():
    code = (
        "import sys, unrolled.data\n"
        "assert 'TextData' in dir(unrolled.data)\n"
        "unrolled.data.CharacterVocabulary\n"
        "assert not {'torch', 'lightning', 'datasets'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_does_not_exist():
    import unrolled.data

    with pytest.raises(AttributeError, match="TextDate"):
        _ = unrolled.data.TextDate


@pytest.mark.parametrize("units", ["characters", "words"])
def test_letters_are_one_character_however_they_were_typed(text_file, units, caplog):
    text = "Der Bär läuft. " * 40
    mixed = text_file(unicodedata.normalize("NFD", text) + text)
    data = TextData(mixed, units=units, val_fraction=0, test_fraction=0)
    assert data.spec == TextData(text_file(text * 2, "nfc.txt"), units=units).spec
    assert "made it 80 characters shorter" in caplog.text
    kept = TextData(mixed, normalize=False).spec["vocabulary"]["symbols"]
    assert {"\u0308", "ä"} <= set(kept)
    assert TextData(mixed, units="bytes").corpus.survey()["symbols"] == len(
        (unicodedata.normalize("NFD", text) + text).encode()
    )


@pytest.mark.parametrize(
    ("sign", "made"),
    [("\u2126", "changed single signs"), ("\u0958", "made it 40 characters longer")],
)
def test_what_normalisation_made_of_a_text_is_said_as_it_is(text_file, sign, made, caplog):
    TextData(text_file(f"a{sign} " * 40)).spec  # noqa: B018
    assert f"brought to Unicode's NFC, which {made}: there" in caplog.text
