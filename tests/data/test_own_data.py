"""A data set of one's own is a data set, an order and a spec; the base does the rest."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch.utilities import move_data_to_device
from unrolled.data import DataModule, ItemSampler
from unrolled.data.batch import CaptionBatch, TextBatch, TranslationBatch, VideoBatch
from unrolled.errors import DataError, UsageError


class Squares(DataModule):
    """Numbers and their squares."""

    def __init__(self, size: int = 10, val_size: int = 0, **settings) -> None:
        super().__init__(**settings)
        self.sizes = {"train": size, "val": val_size, "test": val_size}

    def own_spec(self):
        return {"largest": max(self.sizes.values()) ** 2}

    def contents(self, part):
        if not self.sizes[part]:
            return None
        return self, partial(ItemSampler, self.sizes[part], batch_size=4)

    def __getitem__(self, items):
        numbers = torch.tensor(items.numbers)
        return numbers, numbers**2


@pytest.mark.parametrize("workers", [0, 1])
def test_it_is_read_in_another_order_in_each_epoch(workers):
    loader = Squares(num_workers=workers, seed=3).train_dataloader()
    epochs = [torch.cat([number for number, _ in loader]).tolist() for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    loader.load_state_dict({"epoch": 1, "done": 1, "num_batches": 3})
    assert torch.cat([number for number, _ in loader]).tolist() == epochs[1][4:]


def test_evaluation_is_in_order_and_an_empty_part_is_none():
    data = Squares(val_size=6)
    assert torch.cat([number for number, _ in data.val_dataloader()]).tolist() == list(range(6))
    assert Squares().val_dataloader() == []
    with pytest.raises(DataError, match="There is nothing to train on"):
        Squares(0).train_dataloader()


def test_a_checkpoints_spec_comes_before_its_own():
    assert Squares().spec == {"largest": 100}
    assert Squares(spec={"largest": 7}).spec == {"largest": 7}


def test_settings_of_all_data_are_checked():
    with pytest.raises(UsageError, match="num_workers is -1; it has to be at least 0"):
        Squares(num_workers=-1)
    with pytest.raises(UsageError, match="seed is -1"):
        Squares(seed=-1)


MOVED = {
    TextBatch: {"input", "target"},
    TranslationBatch: {"source", "target"},
    VideoBatch: {"input", "target"},
    CaptionBatch: {"image", "caption", "image_of"},
}


@pytest.mark.parametrize("kind", MOVED)
def test_lightning_moves_what_a_core_does_not_read_on_the_cpu(kind: type[NamedTuple]):
    texts = {"reference", "references", "name"}
    batch = kind(**{f: ("a",) if f in texts else torch.ones(1) for f in kind._fields})
    moved = move_data_to_device(batch, torch.device("meta"))
    assert type(moved) is kind
    assert {f for f in kind._fields if f not in texts and getattr(moved, f).is_meta} == MOVED[kind]
    assert all(getattr(moved, f) is getattr(batch, f) for f in set(kind._fields) - MOVED[kind])
