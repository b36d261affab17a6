"""The tasks that tell what a recurrence can do: each answer is what a plain loop finds."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
_SPEC = importlib.util.spec_from_file_location("ability_tasks", FOLDER / "ability_tasks.py")
tasks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tasks)
TASKS = tasks.TASKS


def made(name: str, rows: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    return TASKS[name].make(Generator().manual_seed(seed), rows, length)


def copied(row: list[int]) -> list[int]:
    shown = [symbol for symbol in row if symbol < tasks.SYMBOLS]
    return [tasks.UNASKED] * (len(row) - len(shown)) + shown


def recalled(row: list[int]) -> list[int]:
    held, answers, key = {}, [], None
    for place, symbol in enumerate(row):
        shows = place < 2 * len(row) // 3
        answers.append(tasks.UNASKED if shows else held[symbol])
        if shows and key is None:
            key = symbol
        elif shows:
            assert key not in held
            held[key], key = symbol - tasks.KEYS, None
    return answers


def odd(row: list[int]) -> list[int]:
    return [sum(row[: place + 1]) % 2 for place in range(len(row))]


def closing(row: list[int]) -> list[int]:
    stack, answers = [], []
    for symbol in row:
        if symbol < 2:
            stack.append(symbol)
        else:
            assert stack.pop() == symbol - 2  # nothing is closed that is not open
        assert len(stack) <= tasks.DEPTH
        answers.append(stack[-1] + 1 if stack else 0)
    return answers


def moved(row: list[int]) -> list[int]:
    where = {0: 0}
    answers = []
    for move in row:
        where = {ball: tasks.MOVES[move][state] for ball, state in where.items()}
        answers.append(where[0])
    return answers


LOOPS = {
    "copying": copied,
    "selective copying": copied,
    "recall": recalled,
    "parity": odd,
    "Dyck-2": closing,
    "automaton": moved,
}


def lengths(name: str) -> list[int]:
    task = TASKS[name]
    return [task.shortest, task.length, 8 * task.length]


@pytest.mark.parametrize("name", LOOPS)
def test_answers_are_what_a_loop_finds(name):
    for length in lengths(name):
        input, answers = made(name, 20, length)
        assert answers.tolist() == [LOOPS[name](row) for row in input.tolist()]
        assert input.min() >= 0
        assert input.max() < TASKS[name].symbols
        assert answers.max() < TASKS[name].classes


def test_the_sum_is_of_the_two_marked_numbers():
    for length in lengths("adding"):
        input, answers = made("adding", 50, length)
        for row, answer in zip(input, answers, strict=True):
            (first, second) = row[:, 1].nonzero().flatten().tolist()
            assert first < length // 2 <= second
            assert answer[-1] == row[first, 0] + row[second, 0]
            assert answer[:-1].isnan().all()


@pytest.mark.parametrize("name", TASKS)
def test_no_constant_answers(name):
    """Chance is what counting answers gives, and far from all."""
    task = TASKS[name]
    for length in lengths(name)[1:]:
        expected = {"adding": 0.08 * (2 - 0.08), "Dyck-2": None}.get(name, 1 / task.classes)
        found = tasks.chance(task, length)
        assert found < 0.55
        if expected is not None:
            assert abs(found - expected) < 0.02


@pytest.mark.parametrize("name", TASKS)
def test_rows_are_a_function_of_the_generator(name):
    task = TASKS[name]
    first, again, other = (made(name, 4, task.length, seed) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        torch.testing.assert_close(one, two, equal_nan=True, rtol=0, atol=0)
    assert not torch.equal(first[0], other[0])
    before = torch.get_rng_state()
    made(name, 4, task.length)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", TASKS)
def test_what_is_judged(name):
    """All that is asked for, or of a running task the second half: what lies past what is easy."""
    task = TASKS[name]
    for length in lengths(name):
        answers = made(name, 3, length)[1]
        judged = tasks.judged(task, answers)
        asked = {"copying": 4, "selective copying": 4, "adding": 1, "recall": length}
        count = asked.get(name, length - length // 2)
        assert judged.sum(1).tolist() == [count] * 3
        assert judged[:, -count:].all()


def test_the_moves_make_every_permutation():
    found, new = set(), {tuple(range(5))}
    while new:
        found |= new
        new = {tuple(move[state] for state in one) for one in new for move in tasks.MOVES} - found
    assert len(found) == 120


@pytest.mark.slow
def test_the_table_goes_on_where_it_was_cut_off(tmp_path):
    out = tmp_path / "cells.jsonl"

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        words = ["--out", str(out), "--cores", "MinGRU", "--tasks", "parity", "--steps", "1", *more]
        return subprocess.run(
            [sys.executable, FOLDER / "abilities.py", *words], capture_output=True, text=True
        )

    assert "| `MinGRU` | 68 | " in run("--seeds", "0").stdout
    first = out.read_text()
    assert "is there: --resume it" in run("--seeds", "0").stderr
    out.write_text(first + first[:20])  # a kill while a line was written
    assert run("--seeds", "0", "1", "--resume").returncode == 0
    lines = out.read_text().splitlines(keepends=True)
    assert lines[0] == first
    assert [json.loads(line)["seed"] for line in lines] == [0, 1]
    assert "cells of other --steps" in run("--resume", "--steps", "2").stderr
