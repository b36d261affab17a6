"""`unrolled shortlist`, and `translate --shortlist`: learnt, kept, used, and refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import unrolled
from app_models import SOURCES, TARGETS, write_models
from lightning.pytorch import Trainer
from unrolled.cli import main
from unrolled.core.seq2seq.shortlist import learn_shortlist
from unrolled.data import ParallelData
from unrolled.errors import DataError
from unrolled.tasks import Translation, ensemble
from unrolled.tasks.translation.shortlist import KEY, from_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("shortlist")
    write_models(place)
    for name, lines in (("train.de", SOURCES), ("train.en", TARGETS)):
        (place / name).write_text("\n".join([*lines, ""]) + "\n", encoding="utf-8")
    files = ["--source", str(place / "train.de"), "--target", str(place / "train.en")]
    made = str(place / "listed.ckpt")
    assert main(["shortlist", made, str(place / "translation.ckpt"), *files]) == 0
    return place


def test_a_checkpoint_with_a_list_is_the_same_but_for_it(folder, capsys):
    listed, plain = (
        torch.load(folder / name, weights_only=True) for name in ("listed.ckpt", "translation.ckpt")
    )
    assert listed.keys() - plain.keys() == {KEY}
    for name, weight in plain["state_dict"].items():
        torch.testing.assert_close(listed["state_dict"][name], weight, rtol=0, atol=0)
    one, two = unrolled.load(folder / "listed.ckpt"), unrolled.load(folder / "translation.ckpt")
    assert one.translate(SOURCES) == two.translate(SOURCES)
    assert main(["translate", str(folder / "listed.ckpt"), str(folder / "train.de")]) == 0
    assert capsys.readouterr().out.split("\n")[:3] == one.translate(SOURCES)


def test_translations_are_written_with_the_listed_subwords(folder, capsys):
    model = unrolled.load(folder / "listed.ckpt")
    said = {"beam_size": 3, "num_hypotheses": 3, "shortlist": True}
    found = model.translations(SOURCES, **said)
    for text, every in zip(SOURCES, found, strict=True):
        (ids,) = model.source.encode_batch([text])
        may = model.shortlist.allowed([[*ids, 2]], size=model.target.size).symbols.tolist()
        names = set(model.target.symbols(may)) | {"</s>"}
        assert all(set(one.target) <= names for one in every)
        alone = model.translations([text], **said)[0]
        assert [one.text for one in alone] == [one.text for one in every]
    words = ["translate", str(folder / "listed.ckpt"), str(folder / "train.de")]
    words += ["--shortlist", "true", "--beam_size", "3"]
    assert main(words) == 0
    expected = [every[0].text for every in found]
    assert capsys.readouterr().out.split("\n") == [*expected, "", ""]
    assert main([*words, "--prefix", "two", "--no_repeat_ngram", "2"]) == 0
    assert all(line.startswith("two") for line in capsys.readouterr().out.split("\n")[:3])
    assert main([*words[:-2], "--temperature", "1", "--seed", "1", "--nbest", "4"]) == 0
    assert len(capsys.readouterr().out.split("\n")) == 4 * 4 + 1


def test_several_models_use_what_any_of_them_lists(folder):
    model = unrolled.load(folder / "listed.ckpt")
    both = ensemble([model, unrolled.load(folder / "listed.ckpt")])
    assert both.translate(SOURCES, shortlist=True) == model.translate(SOURCES, shortlist=True)
    assert ensemble([model, unrolled.load(folder / "translation.ckpt")]).shortlist is None


def test_a_model_without_a_list_says_how_to_make_one(folder, capsys):
    words = ["translate", str(folder / "translation.ckpt"), str(folder / "train.de")]
    assert main([*words, "--shortlist", "true"]) == 2
    said = capsys.readouterr().err
    assert re.search(r"has no shortlist: .*unrolled shortlist NEW\.ckpt \S+ --source FILE", said)
    assert said.count("\n") <= 2
    with pytest.raises(ValueError, match="shortlist=True: this model has none"):
        unrolled.load(folder / "translation.ckpt").translate(SOURCES, shortlist=True)


@pytest.mark.parametrize(
    ("words", "code", "fragment"),
    [
        (["new.ckpt"], 2, "Say what to write"),
        (["listed.ckpt", "translation.ckpt", "train.de", "train.en"], 2, "exists"),
        (["new.ckpt", "lm.ckpt", "train.de", "train.en"], 2, "CharModel"),
        (["new.ckpt", "translation.ckpt", "missing", "train.en"], 3, "missing"),
        (["new.ckpt", "translation.ckpt", "empty", "empty"], 3, "no pair"),
        (["new.ckpt", "translation.ckpt", "train.de", "empty"], 3, "lines"),
    ],
)
def test_mistakes_are_named(folder, capsys, words, code, fragment):
    (folder / "empty").write_text("")
    places = [str(folder / word) for word in words]
    sides = [
        each for pair in zip(("--source", "--target"), places[2:], strict=False) for each in pair
    ]
    assert main(["shortlist", *places[:2], *sides]) == code
    assert fragment in capsys.readouterr().err
    assert not (folder / "new.ckpt").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(always=torch.tensor([-1])),
        lambda found: found.update(always=torch.tensor([10**6])),
        lambda found: found.update(likely=found["likely"][1:]),
        lambda found: found.update(likely=found["likely"].float()),
        lambda found: found.update(likely=torch.tensor([[3]]).expand(len(found["likely"]), 9999)),
        lambda found: found.update(likely="text"),
        lambda found: found.pop("always"),
    ],
)
def test_a_strangers_list_is_looked_at(folder, tmp_path, change):
    content = torch.load(folder / "listed.ckpt", weights_only=True)
    change(content[KEY])
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(DataError, match=r"bad\.ckpt': its shortlist does not fit"):
        unrolled.load(tmp_path / "bad.ckpt")


def test_training_learns_one_from_its_pairs(tmp_path):
    for name, lines in (("train.de", SOURCES), ("train.en", TARGETS)):
        (tmp_path / name).write_text("\n".join(lines * 3) + "\n", encoding="utf-8")
    data = ParallelData(
        train_source=str(tmp_path / "train.de"),
        train_target=str(tmp_path / "train.en"),
        vocabulary_size=60,
        batch_size=3,
        batch_tokens=None,
        cache_dir=str(tmp_path / "cache"),
    )
    task = Translation(data.spec, embedding_size=5)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        max_steps=1,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    model = unrolled.load(tmp_path / "model.ckpt")
    sizes = model.source.size, model.target.size
    expected = learn_shortlist(*data.training_symbols(10**6), sizes=sizes)
    assert model.shortlist.always.tolist() == expected.always.tolist() != []
    assert model.shortlist.likely.tolist() == expected.likely.tolist()
    assert set(model.target.encode_batch(["dog"])[0]) <= set(expected.always.tolist())
    # of which fewer links are learnt from, evenly spread pairs
    few = data.training_symbols(60)
    assert 0 < int((few[1] * few[3]).sum()) <= 100
    assert len(few[1]) < 9
    assert from_checkpoint({}, (60, 60)) is None
