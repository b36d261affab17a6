"""Search for whole sequences over any step: greedy, sampled, beam.

All rows are searched side by side, and rows that are done leave the batch. Scores are the model's:
what a setting forbids is left out of the choice, not out of the distribution.

Shapes: R rows (sentences, images), k hypotheses of each, N = R k, t tokens so far, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..state import State, leaves, select_rows
from .hypotheses import Beam
from .hypotheses import Hypothesis as Hypothesis
from .rules import SearchRules
from .sampling import check_sampling, choose

SearchStep = Callable[[Tensor, Any, State], tuple[Tensor, Any]]
"""(tokens (N,), state, prepared) -> (logits (N, V), state); `SequenceDecoder.stepper()` is one.

Rows i k to i k + k - 1 of N read row i of `prepared`.
"""


WIDEST = 10_000
"""Hypotheses of a row: a setting may come out of a checkpoint, and memory grows with it."""

_STRONGEST = 10  # length penalty: powers of any length are finite numbers up to it


def search_sequences(
    step: SearchStep,
    state: State,
    prepared: State,
    *,
    start: int,
    end: int,
    max_length: int | Sequence[int],
    min_length: int = 0,
    prefix: Sequence[Sequence[int]] = (),
    forbidden: Sequence[int] = (),
    no_repeat_ngram: int = 0,
    beam_size: int = 1,
    num_hypotheses: int = 1,
    length_penalty: float = 1.0,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> list[list[Hypothesis]]:
    """Search as the settings say: greedily, with a beam, or by drawing.

    Args:
        step: See `greedy_search`, also for what is not named here.
        state: See there.
        prepared: See there.
        start: See there.
        end: See there.
        max_length: See there.
        min_length: See there.
        prefix: See there.
        forbidden: See there.
        no_repeat_ngram: See there.
        beam_size: Above 1: `beam_search`.
        num_hypotheses: See `beam_search`; of drawing, how many are drawn for each row.
        length_penalty: See `beam_search`; greedy search and drawing know none.
        temperature: Not None, or one of the next three is not: `sample_search`; None is then 1.
        top_k: See `sample_search`.
        top_p: See there.
        min_p: See there.
        generator: See there.

    Returns:
        The hypotheses of each row, the best first; of those that are drawn one may come twice.

    Raises:
        ValueError: A setting is out of its range, or does not go with another; or the step's logits
            are no numbers.
    """
    filters = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    given = {name: value for name, value in filters.items() if value is not None}
    if given and beam_size > 1:
        raise ValueError(
            f"beam_size={beam_size} searches the best, {' and '.join(given)} draw: leave one out"
        )
    if beam_size < 1:
        raise ValueError(f"beam_size={beam_size}: must be at least 1")
    if num_hypotheses > WIDEST:
        raise ValueError(f"num_hypotheses={num_hypotheses}: must be at most {WIDEST:,}")
    if num_hypotheses < 1 or not (given or num_hypotheses <= beam_size):
        raise ValueError(
            f"num_hypotheses={num_hypotheses}: must be at least 1 and at most beam_size={beam_size}"
        )
    rules: dict[str, Any] = {"start": start, "end": end, "min_length": min_length}
    rules |= {"forbidden": forbidden, "no_repeat_ngram": no_repeat_ngram}
    if not given:
        begin = (step, state, prepared)
        rules |= {"max_length": max_length, "prefix": prefix}
        if beam_size == 1:
            return [[best] for best in greedy_search(*begin, **rules)]
        rules |= {"num_hypotheses": num_hypotheses, "length_penalty": length_penalty}
        return beam_search(*begin, **rules, beam_size=beam_size)
    rows, device = leaves(state)[0].shape[0], leaves(state)[0].device
    if num_hypotheses > 1:  # each row as often as it is drawn for
        index = torch.arange(rows, device=device).repeat_interleave(num_hypotheses)
        state, prepared = select_rows(state, index), select_rows(prepared, index)
        prefix = [row for row in prefix for _ in range(num_hypotheses)]
        if not isinstance(max_length, int):
            max_length = [limit for limit in max_length for _ in range(num_hypotheses)]
    rules |= {"max_length": max_length, "prefix": prefix, "generator": generator, **given}
    drawn = sample_search(step, state, prepared, **rules)
    groups = [drawn[row * num_hypotheses :][:num_hypotheses] for row in range(rows)]
    return [sorted(group, key=lambda one: (one.finished, one.score))[::-1] for group in groups]


def greedy_search(
    step: SearchStep,
    state: State,
    prepared: State,
    *,
    start: int,
    end: int,
    max_length: int | Sequence[int],
    min_length: int = 0,
    prefix: Sequence[Sequence[int]] = (),
    forbidden: Sequence[int] = (),
    no_repeat_ngram: int = 0,
) -> list[Hypothesis]:
    """Take the most probable token at every step.

    Args:
        step: Predicts the next token.
        state: The state before the first token, R rows.
        prepared: What the step needs besides, R rows.
        start: What the step reads before the first token.
        end: The end symbol.
        max_length: Tokens at most, of all rows or of each; the end symbol does not count.
        min_length: Tokens at least.
        prefix: What each row begins with, whatever the rules say; empty: nothing is forced.
        forbidden: Symbols that never come.
        no_repeat_ngram: No sequence of so many tokens comes twice in a row; 0: any may.

    Returns:
        One hypothesis a row.

    Raises:
        ValueError: A setting is out of its range, or the step's logits are no numbers.
    """
    return sample_search(
        step,
        state,
        prepared,
        start=start,
        end=end,
        max_length=max_length,
        min_length=min_length,
        prefix=prefix,
        forbidden=forbidden,
        no_repeat_ngram=no_repeat_ngram,
        temperature=0.0,
    )


def sample_search(
    step: SearchStep,
    state: State,
    prepared: State,
    *,
    start: int,
    end: int,
    max_length: int | Sequence[int],
    min_length: int = 0,
    prefix: Sequence[Sequence[int]] = (),
    forbidden: Sequence[int] = (),
    no_repeat_ngram: int = 0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> list[Hypothesis]:
    """Draw a sequence for each row.

    Args:
        step: See `greedy_search`, also for what is not named here.
        state: See there.
        prepared: See there.
        start: See there.
        end: See there.
        max_length: See there.
        min_length: See there.
        prefix: See there.
        forbidden: See there.
        no_repeat_ngram: See there.
        temperature: Divides the logits; 0 takes the most probable token. See `choose`, also for the
            rest.
        top_k: See `choose`.
        top_p: See `choose`.
        min_p: See `choose`.
        generator: See `choose`.

    Returns:
        One hypothesis a row; its log-probability is that of the model at temperature 1.

    Raises:
        ValueError: A setting is out of its range, or the step's logits are no numbers.
    """
    check_sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    device = leaves(state)[0].device
    rows = leaves(state)[0].shape[0]
    rules = SearchRules(rows, end, max_length, min_length, forbidden, no_repeat_ngram, prefix)
    found: list[Hypothesis] = [Hypothesis([], 0.0, 0.0, False)] * rows
    running = list(range(rows))
    tokens = torch.full((rows,), start, device=device)
    history = tokens.new_empty(rows, 0)  # (N, t)
    total: Tensor | None = None  # (N,)
    while running:
        length = history.shape[1]
        logits, state = step(tokens, state, prepared)
        table = _log_probabilities(logits)  # (N, V)
        rules.forbid(table, history)
        tokens = choose(
            table,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            generator=generator,
        )
        gained = table.gather(1, tokens.unsqueeze(1)).squeeze(1)  # (N,)
        before = torch.zeros_like(gained) if total is None else total
        total = before + gained
        # Rows that are done leave the batch.
        stays = []
        facts = zip(running, (tokens == end).tolist(), before.tolist(), total.tolist(), strict=True)
        for place, (row, ended, old, new) in enumerate(facts):
            if math.isnan(new):
                raise _no_number()
            # nothing may come, or nothing more
            if new == -torch.inf or (length == rules.limits[row] and not ended):
                found[row] = Hypothesis(history[place].tolist(), old, old, False)
            elif ended:
                found[row] = Hypothesis(history[place].tolist(), new, new, True)
            else:
                stays.append(place)
        if len(stays) < len(running):
            running = [running[place] for place in stays]
            keep = torch.tensor(stays, device=device, dtype=torch.int64)
            tokens, history, total = tokens[keep], history[keep], total[keep]  # fewer rows
            rules.keep(keep)
            state, prepared = select_rows(state, keep), select_rows(prepared, keep)
        history = torch.cat((history, tokens.unsqueeze(1)), 1)  # (N, t + 1)
    return found


def beam_search(
    step: SearchStep,
    state: State,
    prepared: State,
    *,
    start: int,
    end: int,
    max_length: int | Sequence[int],
    min_length: int = 0,
    prefix: Sequence[Sequence[int]] = (),
    forbidden: Sequence[int] = (),
    no_repeat_ngram: int = 0,
    beam_size: int,
    num_hypotheses: int = 1,
    length_penalty: float = 1.0,
) -> list[list[Hypothesis]]:
    """Keep the k best hypotheses of each row at every step.

    A step's candidates are the hypotheses with one more token. Those among the best k of them that
    end are finished; the best k of the others go on. A row is done when k hypotheses are finished,
    when no running one can overtake the finished ones that were asked for, or at its length.

    Args:
        step: See `greedy_search`, also for what is not named here.
        state: See there.
        prepared: See there.
        start: See there.
        end: See there.
        max_length: See there.
        min_length: See there.
        prefix: See there.
        forbidden: See there.
        no_repeat_ngram: See there.
        beam_size: k.
        num_hypotheses: How many to return for each row, at most k.
        length_penalty: Exponent a of ((5 + length) / 6)^a, which divides the log-probability (Wu et
            al. 2016, https://arxiv.org/abs/1609.08144, equation 14); the length counts the end
            symbol. 0 ranks by log-probability.

    Returns:
        The hypotheses of each row, the best first, finished ones before others; fewer than were
        asked for where there are no more, but at least one.

    Raises:
        ValueError: A setting is out of its range, or the step's logits are no numbers.
    """
    if beam_size > WIDEST:
        raise ValueError(f"beam_size={beam_size}: must be at most {WIDEST:,}")
    if not 1 <= num_hypotheses <= beam_size:
        raise ValueError(
            f"num_hypotheses={num_hypotheses}, beam_size={beam_size}: both must be at least 1, the "
            "first at most the second"
        )
    check_length_penalty(length_penalty)
    device = leaves(state)[0].device
    rows = leaves(state)[0].shape[0]
    rules = SearchRules(rows, end, max_length, min_length, forbidden, no_repeat_ngram, prefix)
    beams = [Beam(limit, beam_size, num_hypotheses, length_penalty) for limit in rules.limits]
    running = beams
    tokens = torch.full((rows,), start, device=device)
    history = tokens.new_empty(rows, 1, 0)  # (R, k, t)
    scores: Tensor | None = None  # (R, k)
    while running:
        length = history.shape[2]
        logits, state = step(tokens, state, prepared)
        table = _log_probabilities(logits)  # (R k, V)
        if scores is None:
            scores = table.new_zeros(rows, 1)
        rules.forbid(table, history.flatten(0, 1))
        # The candidates: a row's best 2 k are among the best 2 k of each of its hypotheses, and k
        # of them do not end.
        top, symbols = table.topk(min(2 * beam_size, table.shape[1]), 1)  # (R k, 2 k)
        width = top.shape[1]
        candidates = (scores.view(-1, 1) + top).view(len(running), -1)  # (R, k 2 k)
        best, place = candidates.topk(min(2 * beam_size, candidates.shape[1]), 1)  # (R, 2 k)
        parents, symbols = place // width, symbols.view(len(running), -1).gather(1, place)
        # Those of the best k that end are finished.
        ends = symbols == end
        ended = ends[:, :beam_size] & best[:, :beam_size].isfinite()  # (R, k)
        owners = ended.nonzero()[:, 0]  # (finished,)
        sequences = history[owners, parents[:, :beam_size][ended]].tolist()
        gains = best[:, :beam_size][ended].tolist()
        for owner, sequence, log_probability in zip(owners.tolist(), sequences, gains, strict=True):
            running[owner].add(sequence, log_probability, finished=True)
        # The best k of the others go on, in the rows that are not done.
        others = best.masked_fill(ends, -torch.inf)
        follow, order = others.topk(min(beam_size, best.shape[1]), 1)  # (R, k), falling
        stays = []
        for row, (beam, first) in enumerate(zip(running, follow[:, 0].tolist(), strict=True)):
            if math.isnan(first):
                raise _no_number()
            if length == beam.limit or first == -torch.inf:
                beam.fill_up(history[row], scores[row])
            elif not beam.is_done(first, length):
                stays.append(row)
        before, hypotheses = len(running), history.shape[1]
        running = [running[row] for row in stays]
        keep = torch.tensor(stays, device=device, dtype=torch.int64)
        order, scores = order[keep], follow[keep]  # fewer rows
        parents, symbols = parents[keep].gather(1, order), symbols[keep].gather(1, order)  # (R, k)
        tokens = symbols.flatten()  # (R k,)
        history = torch.cat((history[keep.unsqueeze(1), parents], symbols.unsqueeze(2)), 2)
        state = select_rows(state, (keep.unsqueeze(1) * hypotheses + parents).flatten())
        if len(running) < before:
            prepared = select_rows(prepared, keep)
            rules.keep(keep)
    return [beam.best() for beam in beams]


def _no_number() -> ValueError:
    return ValueError(
        "the step's logits are no numbers (NaN, an infinite one, or none that may come): its "
        "weights or its inputs are broken, or too large for the numbers' type"
    )


def _log_probabilities(logits: Tensor) -> Tensor:
    return logits.log_softmax(1, dtype=torch.promote_types(logits.dtype, torch.float32))


def check_length_penalty(value: float) -> None:
    """Refuse an exponent of lengths that is none, or without measure.

    Args:
        value: The exponent.

    Raises:
        ValueError: It is no number, or too far from 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"length_penalty={value!r}: must be a number")
    if not abs(value) <= _STRONGEST:
        raise ValueError(f"length_penalty={value}: must be between -{_STRONGEST} and {_STRONGEST}")
