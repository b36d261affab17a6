"""What a search has found for a row, and whether more is to be looked for.

Shapes: k hypotheses, t tokens so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Hypothesis(NamedTuple):
    """What a search found for one row.

    Attributes:
        tokens: Without start and end symbol.
        score: What it is ranked by: the log-probability, over the length penalty in a beam search.
        log_probability: The model's, in nats, that of the end symbol included where there is one.
        finished: Whether it came to the end symbol within the length allowed.

    Example:
        >>> import torch
        >>> from unrolled.core import greedy_search
        >>> def count(tokens, state, prepared):
        ...     return torch.eye(6)[tokens + 1].log(), state
        >>> greedy_search(count, torch.zeros(1, 1), (), start=0, end=5, max_length=9)
        [Hypothesis(tokens=[1, 2, 3, 4], score=0.0, log_probability=0.0, finished=True)]
    """

    tokens: list[int]
    score: float
    log_probability: float
    finished: bool


@dataclass
class Beam:
    """The hypotheses of one row that go no further; all but the limit as `beam_search` has it."""

    limit: int
    beam_size: int
    num_hypotheses: int
    length_penalty: float
    found: list[Hypothesis] = field(default_factory=list)

    def add(self, tokens: list[int], log_probability: float, *, finished: bool) -> None:
        """Keep a hypothesis; a finished one has its end symbol besides the tokens."""
        score = self.score(log_probability, len(tokens) + finished)
        self.found.append(Hypothesis(tokens, score, log_probability, finished))

    def score(self, log_probability: float, length: int) -> float:
        """Return the log-probability over the length penalty."""
        return float(log_probability / ((5 + length) / 6) ** self.length_penalty)

    def fill_up(self, history: Tensor, scores: Tensor) -> None:
        """Add hypotheses (k, t) that did not come to an end, the best first, where some lack."""
        known = {tuple(one.tokens) for one in self.found}
        for tokens, log_probability in zip(history.tolist(), scores.tolist(), strict=True):
            wanted = len(self.found) < self.num_hypotheses and tuple(tokens) not in known
            if wanted and log_probability > -torch.inf:
                self.add(tokens, log_probability, finished=False)

    def is_done(self, running: float, length: int) -> bool:
        """Say whether no step is needed, the best that runs having this log-probability."""
        if len(self.found) < self.num_hypotheses:
            return False
        if len(self.found) >= self.beam_size:
            return True
        # A log-probability only falls; what the length penalty makes of it is best at one end of
        # the lengths to come.
        bound = max(self.score(running, ahead) for ahead in (length + 2, self.limit + 1))
        return bound <= self.best()[-1].score

    def best(self) -> list[Hypothesis]:
        """Return as many as are wanted, finished ones before others, the best first."""
        ranked = sorted(self.found, key=lambda one: (one.finished, one.score), reverse=True)
        return ranked[: self.num_hypotheses]
