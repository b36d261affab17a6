"""Rendered scenes: sentences are true and complete, parts are apart, everything repeats."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from covering import ALL_OR_SOME
from unrolled.data import ScenesData
from unrolled.data.batch import CaptionBatch
from unrolled.data.captioning.scenes.drawing import description
from unrolled.data.captioning.scenes.language import Kind, Thing, holds, parse, statements
from unrolled.data.tokenizer import Subwords
from unrolled.errors import UsageError

RED = Kind("large", "red", "circle")
BLUE = Kind("small", "blue", "star")
GREEN = Kind("small", "green", "square")


@pytest.fixture(scope="module")
def data() -> ScenesData:
    return ScenesData(train_size=600, val_size=100, test_size=100)


def test_every_reference_is_true_and_different(data):
    for part in ("train", "val", "test"):
        for number, texts in enumerate(data.references(part)):
            assert len(set(texts)) == len(texts) == 5
            for text in texts:
                assert data.judge(part, number, text), text
                assert data.judge(part, number, text.capitalize() + ".")


@ALL_OR_SOME
def test_no_sentence_is_true_of_another_description(data, every):
    scenes = [data.scene("train", number) for number in range(600)]
    texts = [texts[0] for texts in data.references("train")]
    for number, text in [*enumerate(texts)][:: 1 if every else 7]:
        for scene in scenes:
            if holds(text, scene):
                assert description(scene) == description(scenes[number])


def test_parts_share_no_description_no_sentence_but_all_words(data):
    described = {part: set() for part in data.sizes}
    words = {part: set() for part in data.sizes}
    for part in data.sizes:
        for number, texts in enumerate(data.references(part)):
            described[part].add(description(data.scene(part, number)))
            words[part].update(" ".join(texts).split())
    assert not described["train"] & described["val"]
    assert not described["train"] & described["test"]
    assert not described["val"] & described["test"]
    assert words["val"] | words["test"] <= words["train"]


@pytest.mark.parametrize(
    ("caption", "true"),
    [
        ("a large red circle left of a small blue star", True),
        ("We see a big red circle to the left of a little blue star.", True),
        ("there is a small blue star right of a large red circle", True),
        ("a large red circle above a small blue star", False),  # they are level
        ("a large red circle right of a small blue star", False),
        ("a large red circle", False),  # no sentence
        ("a large red circle on the left", False),  # leaves an object out
        ("a red circle left of a blue star", False),  # leaves the sizes out
        ("a small red circle left of a small blue star", False),
        ("a large blue circle left of a small red star", False),
        ("two large red circles left of a small blue star", False),
        ("a large red circles left of a small blue star", False),
        ("there are a large red circle left of a small blue star", False),
        ("a large red circle left of a small blue star and left of a small blue star", False),
        ("a large red circle left of a large red circle", False),
        ("a large red circle left of", False),
        ("a large red circle left of a small blue star left of a small blue star", False),
        ("", False),
    ],
)
def test_holds_a_caption_against_the_scene(caption, true):
    assert holds(caption, (Thing(RED, 1, 0), Thing(BLUE, 1, 2))) is true


@pytest.mark.parametrize(
    ("caption", "true"),
    [
        ("two large red circles above a small blue star", True),
        ("a small blue star under two large red circles", True),
        ("two large red circles left of a small blue star", False),  # one is not
        ("a large red circle above a small blue star", False),
        ("three large red circles above a small blue star", False),
        ("two large red circles side by side", False),
        ("a large red circle above a large red circle and above a small blue star", False),
    ],
)
def test_a_relation_holds_for_every_pair(caption, true):
    assert holds(caption, (Thing(RED, 0, 0), Thing(RED, 1, 2), Thing(BLUE, 2, 1))) is true


@pytest.mark.parametrize(
    ("caption", "true"),
    [
        ("a large red circle left of a small blue star and above a small green square", True),
        ("a small green square below a small blue star and right of a large red circle", True),
        ("a large red circle left of a small blue star and left of a small green square", True),
        ("a large red circle left of a small blue star and below a small green square", False),
        ("a large red circle left of a small blue star", False),
    ],
)
def test_the_first_of_three_is_compared_with_both_others(caption, true):
    assert holds(caption, (Thing(RED, 0, 0), Thing(BLUE, 0, 1), Thing(GREEN, 2, 2))) is true


def test_places_and_arrangements():
    assert holds("a large red circle in the middle", (Thing(RED, 1, 1),))
    assert not holds("a large red circle in the top left corner", (Thing(RED, 1, 1),))
    assert not holds("a large red circle in a row", (Thing(RED, 1, 1),))
    row = (Thing(RED, 1, 0), Thing(RED, 1, 2))
    assert holds("two large red circles side by side", row)
    assert not holds("two large red circles one above the other", row)
    assert not holds("two large red circles in the middle", row)
    assert statements((Thing(RED, 0, 0), Thing(RED, 1, 2))) == []  # neither: no scene is like this


def test_reads_back_what_is_stated():
    statement = parse("There are two little green squares under a big red circle.")
    assert statement is not None
    assert [(group.number, group.kind) for group in statement.groups] == [(2, GREEN), (1, RED)]
    assert statement.relations == ("below",)
    assert parse("there is two small green squares in a row") is None
    assert parse("two small green squares in a row in a row") is None


def test_scenes_and_pictures_repeat_and_differ_by_seed(data, tmp_path):
    again = ScenesData(train_size=600, val_size=100, test_size=100, cache_dir=str(tmp_path))
    other = ScenesData(train_size=600, val_size=100, test_size=100, seed=1)
    assert again.references("val") == data.references("val") != other.references("val")
    longer = ScenesData(train_size=700, val_size=100, test_size=100)
    assert longer.references("train")[:600] == data.references("train")
    pictures = [module.pictures("val").read(7) for module in (data, again, other)]
    assert pictures[0].shape == (3, 64, 64)
    assert torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[0], pictures[2])
    travelled = pickle.loads(pickle.dumps(data.pictures("val")))
    assert torch.equal(travelled.read(7), pictures[0])


def test_what_was_made_is_not_made_again(tmp_path, monkeypatch):
    def made() -> tuple[dict, list[CaptionBatch]]:
        few = ScenesData(20, 4, test_size=0, batch_size=8, cache_dir=str(tmp_path))
        return few.spec, [*few.train_dataloader(), *few.val_dataloader()]

    def never(*_, **__):
        raise AssertionError("it is in the cache")

    spec, batches = made()
    for name in ("scenes.module.draw_scene", "scenes.module.sentences", "scenes.module.picture"):
        monkeypatch.setattr(f"unrolled.data.captioning.{name}", never)
    monkeypatch.setattr(Subwords, "train", never)
    monkeypatch.setattr(Subwords, "encode_batch", never)
    again, others = made()
    assert again == spec
    for one, other in zip(batches, others, strict=True):
        assert one.references == other.references
        for name in ("image", "caption", "lengths", "image_of"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_objects_are_where_the_scene_says(data):
    """Brighter than the ground in the objects' cells, and nowhere else."""
    pictures = data.pictures("test")
    for number in range(100):
        picture = pictures.read(number).numpy().max(0).astype(int)
        bright = picture - np.median(picture) > 60
        cells = {(thing.row, thing.column) for thing in data.scene("test", number)}
        for row in range(3):
            for column in range(3):
                middle = bright[row * 21 + 9 : row * 21 + 13, column * 21 + 9 : column * 21 + 13]
                assert middle.any() == ((row, column) in cells)


def test_makes_batches(data):
    loader = data.train_dataloader()
    batch = next(iter(loader))
    assert batch.image.shape == (64, 3, 64, 64)
    assert batch.image.dtype == torch.uint8
    assert batch.caption.shape[0] == 320
    assert batch.image_of.tolist() == [image for image in range(64) for _ in range(5)]
    texts = [text for texts in batch.references for text in texts]
    for ids, length, text in zip(batch.caption, batch.lengths, texts, strict=True):
        assert ids[length - 1] == data.vocabulary.END
        assert (ids[length:] == data.vocabulary.PAD).all()
        assert data.vocabulary.decode(ids.tolist()) == text
    assert data.spec["image_size"] == 64
    assert 40 < data.vocabulary.size < 60


def test_takes_the_checkpoints_words(data):
    narrow = ScenesData(train_size=2, val_size=50, spec=data.spec)
    assert narrow.spec == data.spec
    with pytest.raises(UsageError, match="takes pictures of 32 pixels, and the scenes have 64"):
        ScenesData(spec={**data.spec, "image_size": 32})
    with pytest.raises(UsageError, match="was not made for ScenesData"):
        ScenesData(spec={"vocabulary": {}})


def test_refuses_what_makes_no_sense():
    with pytest.raises(UsageError, match="train_size is 0; it has to be at least 1"):
        ScenesData(train_size=0)
    with pytest.raises(UsageError, match="captions_per_image is 0"):
        ScenesData(captions_per_image=0)
    assert ScenesData(train_size=2, val_size=0).val_dataloader() == []
