from __future__ import annotations

import itertools
import random

import pytest
from unrolled.data.text.sampler import Chunk, StreamSampler
from unrolled.errors import UsageError


def pairs(chunk: Chunk, row: int, length: int) -> list[int]:
    return [(chunk.starts[row] + step) % length for step in range(chunk.lengths[row])]


def random_case(seed: int) -> dict:
    rng = random.Random(seed)
    vary = rng.random() < 0.4
    return {
        "length": rng.randrange(1, 20_000) if vary else rng.randrange(1, 2000),
        "batch_size": rng.randrange(1, 9),
        "chunk_length": rng.randrange(20, 70) if vary else rng.randrange(1, 50),
        "seed": rng.randrange(1000),
        "world_size": rng.randrange(1, 4),
        "vary_length": vary,
        "shuffle": rng.random() < 0.7,
    }


@pytest.mark.parametrize("case", [random_case(seed) for seed in range(60)], ids=str)
def test_every_pair_once_in_continuous_streams(case):
    length, world_size, batch_size = case["length"], case["world_size"], case["batch_size"]
    samplers = [StreamSampler(rank=rank, **case) for rank in range(world_size)]
    for epoch in (0, 3):
        epochs = [list(sampler.batches(epoch)) for sampler in samplers]
        seen: list[int] = []
        for sampler, chunks in zip(samplers, epochs, strict=True):
            assert len(chunks) == sampler.num_batches(epoch) == samplers[0].num_batches(0)
            streams: list[list[int]] = [[] for _ in range(batch_size)]
            for number, chunk in enumerate(chunks):
                assert chunk.first == (number == 0)
                assert chunk.steps >= 1
                assert max(chunk.lengths) <= chunk.steps
                if number < len(chunks) - 1:
                    assert set(chunk.lengths) == {chunk.steps}, "only the last chunk may be ragged"
                for row in range(batch_size):
                    if chunk.lengths[row]:
                        streams[row] += pairs(chunk, row, length)
            for stream in streams:  # chunk k + 1 goes on where chunk k ended
                assert all(b == (a + 1) % length for a, b in itertools.pairwise(stream))
                seen += stream
        assert sorted(seen) == list(range(length))
        steps = [[chunk.steps for chunk in chunks] for chunks in epochs]
        assert steps.count(steps[0]) == len(steps), "all processes cut at the same places"


@pytest.mark.parametrize("case", [random_case(seed) for seed in range(30)], ids=str)
def test_processes_share_what_one_process_would_see(case):
    world_size, batch_size = case.pop("world_size"), case.pop("batch_size")
    parts = [
        StreamSampler(rank=r, world_size=world_size, batch_size=batch_size, **case)
        for r in range(world_size)
    ]
    whole = StreamSampler(batch_size=batch_size * world_size, **case)
    for together, *shares in zip(
        whole.batches(2), *(part.batches(2) for part in parts), strict=True
    ):
        assert sum((share.starts for share in shares), ()) == together.starts
        assert sum((share.lengths for share in shares), ()) == together.lengths


@pytest.mark.parametrize("case", [random_case(seed) for seed in range(20)], ids=str)
def test_order_is_a_pure_function_and_starts_anywhere(case):
    sampler, other = StreamSampler(**case), StreamSampler(**case)
    chunks = list(sampler.batches(5))
    list(other.batches(1))
    assert list(other.batches(5)) == chunks
    for start in {0, 1, len(chunks) // 2, len(chunks) - 1, len(chunks)}:
        assert list(sampler.batches(5, start)) == chunks[start:]


def test_epochs_and_seeds_start_at_different_places():
    sampler = StreamSampler(10_000, batch_size=1, chunk_length=100, seed=1)
    starts = {next(iter(sampler.batches(epoch))).starts for epoch in range(20)}
    assert len(starts) == 20
    other = StreamSampler(10_000, batch_size=1, chunk_length=100, seed=2)
    assert next(iter(other.batches(0))).starts not in starts
    still = StreamSampler(10_000, batch_size=1, chunk_length=100, shuffle=False)
    assert {next(iter(still.batches(epoch))).starts for epoch in range(3)} == {(0,)}


def test_varied_lengths_are_those_of_awd_lstm():
    sampler = StreamSampler(2_000_000, batch_size=4, chunk_length=70, vary_length=True)
    steps = [chunk.steps for chunk in sampler.batches(0)]
    half = [s for s in steps if s < 52]
    assert 0.045 < len(half) / len(steps) < 0.055
    whole = [s for s in steps if s >= 52]
    mean = sum(whole) / len(whole)
    spread = (sum((s - mean) ** 2 for s in whole) / len(whole)) ** 0.5
    assert abs(mean - 70) < 1
    assert abs(spread - 5) < 0.5
    assert min(steps) >= 5
    assert max(steps) <= 95
    assert [chunk.steps for chunk in sampler.batches(1)] != steps


def test_a_long_corpus_costs_nothing():
    sampler = StreamSampler(10**12, batch_size=32, chunk_length=64, vary_length=True)
    start = sampler.num_batches(0) - 3
    assert len(list(sampler.batches(0, start))) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0, "chunk_length": 1}, "batch_size is 0"),
        ({"batch_size": 1, "chunk_length": 0}, "chunk_length is 0"),
        ({"batch_size": 1, "chunk_length": 10, "vary_length": True}, "at least 20, not 10"),
    ],
)
def test_impossible_settings(arguments, words):
    with pytest.raises(UsageError, match=words):
        StreamSampler(100, **arguments)
