"""Error rates against their definition, and in a run and in `evaluate`."""

from __future__ import annotations

import functools
import math
import random

import pytest
import torch
from unrolled.cli import main
from unrolled.tasks.metrics import PhonemeErrorRate, WordErrorRate
from unrolled.tasks.metrics.edits import edit_distance, sounds


@functools.cache
def definition(one: str, other: str) -> int:
    """Levenshtein's, as it is written down."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        definition(one[1:], other) + 1,
        definition(one, other[1:]) + 1,
        definition(one[1:], other[1:]) + (one[0] != other[0]),
    )


def test_the_distance_is_its_definition():
    draw = random.Random(0)
    for _ in range(60):
        pair = ["".join(draw.choices("abc", k=draw.randint(0, 7))) for _ in range(2)]
        assert edit_distance(*pair) == definition(*pair) == edit_distance(*pair[::-1])


def test_rates_are_edits_over_the_references_symbols():
    metric = WordErrorRate()
    metric.update(["a dog runs", "the cat"], ["a dog", "the black cat sleeps"])
    metric.update([], [])
    assert float(metric.compute()) == pytest.approx(100 * 3 / 6)
    metric.update(["x y z"], [""])  # more edits than words
    assert float(metric.compute()) == pytest.approx(100)
    nothing = WordErrorRate()
    nothing.update([], [])
    assert math.isnan(nothing.compute())
    other = WordErrorRate()
    other.update(["A dog"], ["a dog"])  # as it is written
    assert float(other.compute()) == 50


@pytest.mark.parametrize(
    ("said", "right", "rate"),
    [
        (["K AE1 T", "AH0"], ["K AE1 T S", "AH0"], 100 * 1 / 5),
        # the marks are parts of the letter, and one entry without a space is not yet spelling
        (["kæt", "t͡sʰeː"], ["kæts", "t͡sʰe"], 100 * 2 / 6),
        (["a"], ["a"], 0.0),
    ],
)
def test_phonemes_are_between_spaces_or_letters(said, right, rate):
    metric = PhonemeErrorRate()
    for one, other in zip(said, right, strict=True):
        metric.update([one], [other])
    assert float(metric.compute()) == pytest.approx(rate)
    assert sounds("ã pʰ") == ["ã", "pʰ"]


def test_evaluate_says_the_error_rate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "said").write_text("K AE1 T\nAH0\n")
    (tmp_path / "right").write_text("K AE1 T S\nAH0\n")
    assert main(["evaluate", "said", "right"]) == 0
    assert "wer  20.0000" in capsys.readouterr().out
    assert main(["evaluate", "said", "right", "--errors", "phonemes"]) == 0
    told = capsys.readouterr().out
    assert "per  20.0000" in told
    assert "exact  50.0000" in told
    assert "wer" not in told


def test_metrics_of_processes_add_up():
    texts = [("a b", "a c"), ("d", "d e f"), ("g h", "g h")]
    whole, parts = PhonemeErrorRate(), [PhonemeErrorRate() for _ in range(2)]
    for number, (one, other) in enumerate(texts):
        whole.update([one], [other])
        parts[number % 2].update([one], [other])
    sums = PhonemeErrorRate()
    sums.update([], [])
    for name in sums._defaults:
        setattr(sums, name, torch.stack([getattr(part, name) for part in parts]).sum())
    assert float(sums.compute()) == float(whole.compute())


def test_a_text_in_one_line_takes_seconds():
    """Every cell of the table by itself would take hours."""
    one = ["a", "b"] * 20_000
    assert edit_distance(one, one[1:]) == 1
