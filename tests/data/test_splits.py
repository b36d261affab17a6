"""Parts carved from a whole: sizes, order, nothing lost."""

from __future__ import annotations

import pytest
from unrolled.data.splits import carve, cut, draw, shares
from unrolled.errors import UsageError


def test_shares_are_exact_and_checked():
    assert list(map(float, shares(0.1, 0.2).values())) == [0.7, 0.1, 0.2]
    assert shares(0, 1)["train"] == 0
    with pytest.raises(UsageError, match=r"val_fraction -0.1 and .* their sum at most 1"):
        shares(-0.1, 0)
    with pytest.raises(UsageError, match="their sum below 1"):
        shares(0.5, 0.5, all_of_it=False)


@pytest.mark.parametrize("length", [0, 1, 7, 1000])
def test_a_cut_leaves_nothing_out(length):
    parts = cut(length, shares(0.1, 0.3))
    assert parts["train"][0] == 0
    assert parts["train"][1] == parts["val"][0]
    assert parts["val"][1] == parts["test"][0]
    assert parts["test"][1] == length


def test_carving_follows_an_order_and_keeps_the_items_own():
    parts = carve("abcdef", {"test": 2, "val": 1}, [5, 0, 3, 1, 2, 4])
    assert parts == {"train": ["b", "c", "e"], "val": ["d"], "test": ["a", "f"]}
    assert carve([], {"val": 3}, []) == {"train": [], "val": [], "test": []}


def test_a_draw_takes_one_at_least_and_leaves_one():
    assert draw([], 0.5, 0) == ([], [])
    assert draw(["a"], 0.5, 0) == (["a"], [])
    assert [len(part) for part in draw("ab", 0.01, 0)] == [1, 1]
    assert [len(part) for part in draw("abcd", 0.99, 0)] == [1, 3]
    assert draw("abcd", 0, 0) == (list("abcd"), [])
    assert draw(range(50), 0.3, 1) == draw(range(50), 0.3, 1) != draw(range(50), 0.3, 2)
