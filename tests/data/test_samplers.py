"""What all samplers promise, and items in an order that any number of processes share."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from unrolled.data import ItemSampler, Sampler, StreamSampler
from unrolled.data.translation.sampler import BucketSampler
from unrolled.data.video.sampler import VideoSampler, WindowSampler


@pytest.mark.parametrize(("length", "processes"), [(1, 2), (17, 2), (24, 3), (25, 3)])
def test_processes_share_what_one_would_see(length, processes):
    one = ItemSampler(length, batch_size=4 * processes, shuffle=True, seed=3)
    several = [
        ItemSampler(length, batch_size=4, shuffle=True, seed=3, rank=rank, world_size=processes)
        for rank in range(processes)
    ]
    for epoch in range(2):
        together = list(zip(*(sampler.batches(epoch) for sampler in several), strict=True))
        assert len(together) == one.num_batches() == several[0].num_batches()
        for batch, shares in zip(one.batches(epoch), together, strict=True):
            assert batch.numbers == tuple(number for share in shares for number in share.numbers)
            assert (
                max(len(share.numbers) for share in shares)
                - min(len(share.numbers) for share in shares)
                <= 1
            )
        assert sorted(number for batch in one.batches(epoch) for number in batch.numbers) == list(
            range(length)
        )
    assert [b.numbers for b in one.batches(0)] != [b.numbers for b in one.batches(1)] or length == 1


def samplers() -> dict:
    """Every sampler, made of an order."""
    frames = [7, 3, 12, 5, 9, 4, 4]
    lengths = np.arange(1, 40) % 11 + 1
    return {
        "items": partial(ItemSampler, 23, batch_size=3),
        "streams": partial(StreamSampler, 500, batch_size=3, chunk_length=20, vary_length=True),
        "buckets": partial(BucketSampler, [lengths], batch_tokens=30),
        "videos": partial(VideoSampler, frames, batch_size=2, chunk_length=4),
        "windows": partial(WindowSampler, frames, batch_size=2, length=4),
    }


def epoch_of(sampler: Sampler, epoch: int, start: int = 0) -> list[str]:
    return [str(batch) for batch in sampler.batches(epoch, start)]


@pytest.mark.parametrize("name", samplers())
def test_every_order_is_a_function_of_seed_and_epoch_for_any_number_of_processes(name):
    make = samplers()[name]
    for world_size in (1, 3):
        ranks = [make(seed=5, rank=rank, world_size=world_size) for rank in range(world_size)]
        counts = {rank.num_batches(epoch) for rank in ranks for epoch in range(4)}
        assert len(counts) == 1
        for rank in ranks:
            epochs = [epoch_of(rank, epoch) for epoch in (0, 1)]
            assert epochs[0] != epochs[1]
            assert {len(batches) for batches in epochs} == counts
            assert epoch_of(rank, 0) == epochs[0]
            for start in range(len(epochs[1]) + 1):
                assert epoch_of(rank, 1, start) == epochs[1][start:]
    assert epoch_of(make(seed=6), 0) != epoch_of(make(seed=5), 0)


@pytest.mark.parametrize("name", samplers())
def test_without_shuffling_all_epochs_are_one(name):
    sampler = samplers()[name](shuffle=False)
    assert [b[: b.find("epoch")] for b in epoch_of(sampler, 0)] == [
        b[: b.find("epoch")] for b in epoch_of(sampler, 3)
    ]
