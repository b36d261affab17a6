"""Where a padded batch is cut."""

from __future__ import annotations

import torch
from unrolled.core.schedule import Schedule, rearrange

CPU = torch.device("cpu")


def cover(schedule: Schedule) -> list[list[int]]:
    """Which steps each row runs, past its end excluded."""
    steps: list[list[int]] = [[] for _ in schedule.lengths]
    for start, stop, rows, lengths, _ in schedule.segments:
        for row in range(rows):
            steps[row] += range(start, stop if lengths is None else start + lengths[row])
    return steps


def test_every_step_runs_once_and_none_past_the_end_without_slack():
    torch.manual_seed(0)
    for seed in range(50):
        lengths = torch.randint(0, 9, (6,), generator=torch.Generator().manual_seed(seed)).tolist()
        reset = torch.rand(6, 9) < 0.1
        for slack in (0, 1, 5, 100):
            schedule = Schedule(lengths, 9, reset if seed % 2 else None, CPU, slack)
            assert cover(schedule) == [list(range(length)) for length in schedule.lengths]
            if slack == 0:
                assert all(segment.lengths is None for segment in schedule.segments)
            if schedule.order is not None:
                assert [lengths[row] for row in schedule.order.tolist()] == schedule.lengths


def test_cuts_are_made_where_they_pay():
    lengths = [100, 10, 10, 10]
    assert [tuple(segment[:3]) for segment in Schedule(lengths, 100, None, CPU, 128).segments] == [
        (0, 10, 4),
        (10, 100, 1),
    ]
    assert [tuple(segment[:3]) for segment in Schedule(lengths, 100, None, CPU, 300).segments] == [
        (0, 100, 4)
    ]
    assert Schedule([10, 100, 10, 10], 100, None, CPU, 300).order is None
    assert Schedule([10, 100, 10, 10], 100, None, CPU, 128).order is not None


def test_resets_past_the_end_are_nothing():
    reset = torch.zeros(2, 5, dtype=torch.bool)
    reset[1, 3] = True
    assert Schedule([5, 3], 5, reset, CPU, 100).segments == [(0, 5, 2, [5, 3], None)]
    assert Schedule([5, 5], 5, None, CPU, 0).whole()


def test_reading_backward_twice_is_reading_forward():
    reset = torch.rand(3, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    schedule = Schedule([6, 4, 2], 6, reset, CPU, 0)
    backward, index = schedule.backward()
    again, _ = backward.backward()
    inner = schedule.reset.clone()
    inner[:, 0] = False  # a reset before the first step separates nothing
    assert torch.equal(again.reset, inner)
    x = torch.randn(3, 6, 2)
    once = rearrange(x.flatten(0, 1), index, index).view_as(x)
    assert torch.equal(once[1, :4], x[1, :4].flip(0))
    assert torch.equal(once[1, 4:], x[1, 4:])
