"""Batches of similar length: what they hold, who gets what, and how little of them is padding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from unrolled.data.translation.sampler import BucketSampler
from unrolled.errors import UsageError


def lengths_of(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Lengths like those of sentences and their translations."""
    rng = np.random.default_rng(seed)
    source = rng.gamma(4, 4, count).astype(int) + 1
    return source, np.maximum(1, (source * rng.normal(1, 0.2, count)).astype(int))


BUDGETS = [{"batch_size": 16}, {"batch_tokens": 300}]


def epoch_of(sampler: BucketSampler, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [batch.tolist() for batch in sampler.batches(epoch, start)]


def joined(batches: list[list[int]]) -> list[int]:
    return sorted(itertools.chain(*batches))


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("count", [1, 7, 16, 500])
def test_every_item_comes_once_an_epoch(budget, count):
    sampler = BucketSampler(lengths_of(count), **budget)
    for epoch in range(3):
        batches = epoch_of(sampler, epoch)
        assert len(batches) == sampler.num_batches(epoch)
        assert joined(batches) == list(range(count))
        assert all(batches)


@pytest.mark.parametrize("budget", BUDGETS)
def test_an_epoch_is_a_function_of_seed_and_epoch(budget):
    lengths = lengths_of(500)
    first, second = (BucketSampler(lengths, **budget, seed=3) for _ in range(2))
    in_order = [epoch_of(first, epoch) for epoch in range(3)]
    assert [epoch_of(second, epoch) for epoch in (2, 0, 1)] == [
        in_order[2],
        in_order[0],
        in_order[1],
    ]
    assert len({str(batches) for batches in in_order}) == 3
    assert epoch_of(BucketSampler(lengths, **budget, seed=4)) != in_order[0]
    as_sets = [{frozenset(batch) for batch in batches} for batches in in_order]
    assert as_sets[0] != as_sets[1]  # not only the batches' order differs


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("rank", [0, 1])
def test_any_position_can_be_resumed(budget, rank):
    sampler = BucketSampler(lengths_of(300), **budget, rank=rank, world_size=2)
    whole = epoch_of(sampler, 5)
    for start in range(len(whole) + 1):
        assert epoch_of(sampler, 5, start) == whole[start:]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("world_size", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 5, 123, 500])
@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_see_together_what_one_sees(budget, world_size, count, shuffle):
    lengths = lengths_of(count)
    ((name, value),) = budget.items()
    one = BucketSampler(lengths, **{name: value * world_size}, shuffle=shuffle)
    ranks = [
        BucketSampler(lengths, **budget, rank=rank, world_size=world_size, shuffle=shuffle)
        for rank in range(world_size)
    ]
    assert {rank.num_batches() for rank in ranks} == {one.num_batches()}
    for whole, *shares in zip(
        epoch_of(one, 2), *(epoch_of(rank, 2) for rank in ranks), strict=True
    ):
        assert joined(shares) == sorted(whole)
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1 or len(whole) < world_size


def test_budgets_are_kept():
    lengths = lengths_of(2000)
    longest = np.maximum(*lengths)
    by_size = epoch_of(BucketSampler(lengths, batch_size=64))
    assert {len(batch) for batch in by_size} <= {62, 63, 64}
    budget = 400
    by_tokens = epoch_of(BucketSampler(lengths, batch_tokens=budget))
    for batch in by_tokens:
        assert len(batch) * longest[batch].max() <= budget
    assert np.mean([len(batch) * longest[batch].max() for batch in by_tokens]) > 0.75 * budget


def test_an_item_above_the_budget_is_a_batch_of_its_own():
    lengths = np.array([3, 50, 4, 3])
    batches = epoch_of(BucketSampler([lengths], batch_tokens=12, shuffle=False))
    assert batches[0] == [1]
    assert joined(batches) == [0, 1, 2, 3]


def test_evaluation_goes_from_long_to_short():
    lengths = lengths_of(300)
    sampler = BucketSampler(lengths, batch_size=32, shuffle=False)
    first = [lengths[0][batch].max() for batch in epoch_of(sampler)]
    assert first == sorted(first, reverse=True)
    assert epoch_of(sampler, 0) == epoch_of(sampler, 9)


def padding(batches: list[list[int]], lengths) -> float:
    padded = sum(len(batch) * each[batch].max() for batch in batches for each in lengths)
    return 1 - sum(each.sum() for each in lengths) / padded


def test_little_is_padding():
    lengths = lengths_of(29000)
    assert padding(epoch_of(BucketSampler(lengths, batch_size=64)), lengths) < 0.05
    assert padding(epoch_of(BucketSampler(lengths, batch_tokens=1200)), lengths) < 0.05


def test_one_array_of_lengths_and_none_of_items():
    assert joined(epoch_of(BucketSampler([np.arange(9)], batch_size=4))) == list(range(9))
    for budget in BUDGETS:
        sampler = BucketSampler([np.array([], dtype=int)], **budget)
        assert sampler.num_batches() == 0
        assert epoch_of(sampler) == []


@pytest.mark.parametrize(
    ("fragment", "budget"),
    [
        ("Neither", {}),
        ("both given", {"batch_size": 1, "batch_tokens": 1}),
        ("batch_size is 0", {"batch_size": 0}),
        ("batch_tokens is -1", {"batch_tokens": -1}),
    ],
)
def test_refused(fragment, budget):
    with pytest.raises(UsageError, match=fragment):
        BucketSampler(lengths_of(3), **budget)
