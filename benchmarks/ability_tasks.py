"""Tasks that ask for one ability each, as functions of a generator of random numbers.

Every task makes rows of any length: input, and at each step the answer or -100 where none is
asked for (for adding, which asks for a number, the answer or NaN). What the length counts is the
task's own: see `TASKS`.

Shapes: B rows, T steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

UNASKED = -100
"""The answer at a step that asks for none."""
SYMBOLS = 8
"""Different symbols to copy."""
COPIED = 4
"""How many of them a row has."""
KEYS, VALUES = 40, 16
"""Different keys and values of associative recall."""
DEPTH = 4
"""Most brackets that are open at once."""
MOVES = ((1, 0, 2, 3, 4), (1, 2, 3, 4, 0))
"""Where each move takes the five states: an exchange and a cycle, which make all of S5."""
TOLERANCE = 0.08
"""How far a sum of two numbers within 0 and 1 may be off."""

Rows = tuple[Tensor, Tensor]
"""Input and answers of some rows."""


class Task(NamedTuple):
    """One ability.

    Attributes:
        make: Makes rows: (generator, B, length) -> input (B, T), or (B, T, 2) for numbers, and
            answers (B, T).
        length: The longest that is trained.
        shortest: The shortest that is trained.
        counts: What the length counts.
        symbols: Different symbols of the input; 0 where it is of numbers.
        classes: Different answers; 1 where they are numbers.
        running: Whether every step asks: then the second half of a row is judged.
    """

    make: Callable[[Generator, int, int], Rows]
    length: int
    shortest: int
    counts: str
    symbols: int
    classes: int
    running: bool = False


def copying(generator: Generator, rows: int, delay: int) -> Rows:
    """Show symbols, wait, and ask for them in their order.

    Of Hochreiter and Schmidhuber (1997) and Arjovsky et al. (https://arxiv.org/abs/1511.06464).
    """
    shown = torch.randint(SYMBOLS, (rows, COPIED), generator=generator)
    wait = torch.full((rows, delay), SYMBOLS)
    return _asked_for(torch.cat((shown, wait), 1), shown)


def selective_copying(generator: Generator, rows: int, places: int) -> Rows:
    """Show symbols at any of the places, nothing at the others, and ask for them in their order.

    Of Gu and Dao (https://arxiv.org/abs/2312.00752).
    """
    shown = torch.randint(SYMBOLS, (rows, COPIED), generator=generator)
    where = _distinct(generator, rows, places, COPIED).sort(1).values
    return _asked_for(torch.full((rows, places), SYMBOLS).scatter(1, where, shown), shown)


def _asked_for(shown: Tensor, answers: Tensor) -> Rows:
    """Append the steps that ask."""
    ask = torch.full_like(answers, SYMBOLS + 1)
    nothing = torch.full_like(shown, UNASKED)
    return torch.cat((shown, ask), 1), torch.cat((nothing, answers), 1)


def adding(generator: Generator, rows: int, steps: int) -> Rows:
    """Show numbers, mark one in each half, and ask for the sum of the two at the end.

    Of Hochreiter and Schmidhuber (1997), whose sums of numbers within -1 and 1, divided by four,
    are right within 0.04; here the numbers are within 0 and 1 and the sums right within 0.08.
    """
    numbers = torch.rand(rows, steps, generator=generator)
    half = steps // 2
    first = torch.randint(half, (rows, 1), generator=generator)
    second = torch.randint(half, steps, (rows, 1), generator=generator)
    marks = torch.zeros(rows, steps).scatter(1, torch.cat((first, second), 1), 1.0)
    answers = torch.full((rows, steps), math.nan)
    answers[:, -1] = (numbers * marks).sum(1)
    return torch.stack((numbers, marks), 2), answers


def recall(generator: Generator, rows: int, pairs: int) -> Rows:
    """Show pairs of key and value, then every key once more, and ask for its value.

    Multi-query associative recall of Arora et al. (https://arxiv.org/abs/2312.04927), all pairs
    first and all questions after them.
    """
    keys = _distinct(generator, rows, KEYS, pairs)
    values = torch.randint(VALUES, (rows, pairs), generator=generator)
    asked = _distinct(generator, rows, pairs, pairs)
    shown = torch.stack((keys, values + KEYS), 2).flatten(1)  # (B, 2 * pairs)
    input = torch.cat((shown, keys.gather(1, asked)), 1)
    return input, torch.cat((torch.full_like(shown, UNASKED), values.gather(1, asked)), 1)


def _distinct(generator: Generator, rows: int, of: int, count: int) -> Tensor:
    """Draw different numbers below `of` for each row (rows, count)."""
    return torch.rand(rows, of, generator=generator).argsort(1)[:, :count]


def parity(generator: Generator, rows: int, steps: int) -> Rows:
    """Show bits, and ask at every step whether the ones so far are odd in number."""
    bits = torch.randint(2, (rows, steps), generator=generator)
    return bits, bits.cumsum(1) % 2


def dyck(generator: Generator, rows: int, steps: int) -> Rows:
    """Show brackets of two kinds, and ask at every step for the one that may close: 0 for none.

    A start of a word of Dyck-2, at most `DEPTH` of them open (Hewitt et al.,
    https://arxiv.org/abs/2010.07515). Symbols 0 and 1 open, 2 and 3 close them.
    """
    opens = torch.rand(rows, steps, generator=generator) < 0.5
    kinds = torch.randint(2, (rows, steps), generator=generator)
    stack = torch.zeros(rows, DEPTH + 1, dtype=torch.int64)  # kinds + 1; 0 lies at the bottom
    depth = torch.zeros(rows, 1, dtype=torch.int64)
    input, answers = torch.empty(2, rows, steps, dtype=torch.int64)
    for step in range(steps):
        opened = (opens[:, step, None] & (depth < DEPTH)) | (depth == 0)  # (B, 1)
        top, kind = stack.gather(1, depth), kinds[:, step, None]
        input[:, step, None] = torch.where(opened, kind, top + 1)
        depth += torch.where(opened, 1, -1)
        stack = torch.where(opened, stack.scatter(1, depth, kind + 1), stack)
        answers[:, step, None] = stack.gather(1, depth)
    return input, answers


def automaton(generator: Generator, rows: int, steps: int) -> Rows:
    """Show moves that permute five states, and ask at every step for the state.

    The word problem of S5 as it acts on five points, which no circuit of constant depth solves
    (Barrington 1989; Merrill et al., https://arxiv.org/abs/2404.08819).
    """
    moves = torch.randint(len(MOVES), (rows, steps), generator=generator)
    table = torch.tensor(MOVES)
    state = torch.zeros(rows, dtype=torch.int64)
    answers = []
    for move in moves.unbind(1):
        state = table[move, state]
        answers.append(state)
    return moves, torch.stack(answers, 1)


TASKS = {
    "copying": Task(copying, 12, 0, "steps of waiting", SYMBOLS + 2, SYMBOLS),
    "selective copying": Task(selective_copying, 12, COPIED, "places", SYMBOLS + 2, SYMBOLS),
    "adding": Task(adding, 16, 2, "numbers", 0, 1),
    "recall": Task(recall, 5, 1, "pairs", KEYS + VALUES, VALUES),
    "Dyck-2": Task(dyck, 16, 1, "brackets", 4, 3, True),
    "parity": Task(parity, 16, 1, "bits", 2, 2, True),
    "automaton": Task(automaton, 16, 1, "moves", len(MOVES), len(MOVES[0]), True),
}


def judged(task: Task, answers: Tensor) -> Tensor:
    """Say which steps of answers (B, T) are judged: those that ask, of a running task the last."""
    asked = ~answers.isnan() if answers.is_floating_point() else answers != UNASKED
    if task.running:
        asked[:, : answers.shape[1] // 2] = False
    return asked


def chance(task: Task, length: int) -> float:
    """Return the share of right answers of the best constant answer."""
    answers = task.make(Generator().manual_seed(0), 4096, length)[1]
    found = answers[judged(task, answers)]
    if task.classes == 1:
        return float(((found - 1.0).abs() <= TOLERANCE).double().mean())
    return float(found.bincount().max() / len(found))
