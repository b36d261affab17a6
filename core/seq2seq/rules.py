"""What may come next in a search.

Shapes: R rows, N hypotheses (N / R of each row), t tokens so far, P tokens of the longest
beginning, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LONGEST = 100_000
"""Tokens of a row: a setting may come out of a checkpoint, and nothing else need end a search."""


class SearchRules:
    """Lengths, forbidden symbols, repetitions, and how a row has to begin.

    Args:
        rows: R.
        end: The end symbol.
        max_length: Tokens at most, of all rows or of each.
        min_length: Tokens at least.
        forbidden: Symbols that never come.
        no_repeat_ngram: No sequence of so many tokens comes twice; 0: any may.
        prefix: What each row begins with, whatever the other rules say; empty: anything.

    Raises:
        ValueError: A setting is out of its range.

    Example:
        >>> import torch
        >>> rules = SearchRules(1, 0, 9, min_length=2, forbidden=[3], no_repeat_ngram=2)
        >>> table = torch.zeros(1, 5)
        >>> rules.forbid(table, history=torch.tensor([[1, 2, 1]]))  # not 2 again, and never 3
        >>> table
        tensor([[0., 0., -inf, -inf, 0.]])
    """

    def __init__(
        self,
        rows: int,
        end: int,
        max_length: int | Sequence[int],
        min_length: int,
        forbidden: Sequence[int],
        no_repeat_ngram: int,
        prefix: Sequence[Sequence[int]] = (),
    ) -> None:
        self.limits = [max_length] * rows if isinstance(max_length, int) else list(max_length)
        if len(self.limits) != rows:
            raise ValueError(
                f"max_length has {len(self.limits)} numbers for {rows} rows: give one, or one for "
                "each"
            )
        for name, least in (
            ("max_length", min(self.limits, default=0)),
            ("min_length", min_length),
        ):
            if least < 0:
                raise ValueError(f"{name}={least}: must be at least 0")
        if max(self.limits, default=0) > LONGEST:
            raise ValueError(f"max_length={max(self.limits)}: must be at most {LONGEST:,}")
        if min_length > min(self.limits, default=min_length):
            raise ValueError(
                f"min_length={min_length}: must be at most max_length={min(self.limits)}"
            )
        if no_repeat_ngram < 0:
            raise ValueError(
                f"no_repeat_ngram={no_repeat_ngram}: must be at least 0 (0: anything may come "
                "again)"
            )
        self.end = end
        self.min_length = min_length
        self.forbidden = torch.tensor(list(forbidden), dtype=torch.int64)
        self.no_repeat_ngram = no_repeat_ngram
        self.prefix = self._beginnings(prefix, rows)

    def _beginnings(self, prefix: Sequence[Sequence[int]], rows: int) -> Tensor | None:
        """Return what is forced (R, P), -1 where nothing is."""
        if not any(prefix):
            return None
        if len(prefix) != rows:
            raise ValueError(f"prefix has {len(prefix)} beginnings for {rows} rows: give each one")
        for tokens, limit in zip(prefix, self.limits, strict=True):
            if len(tokens) > limit:
                raise ValueError(
                    f"prefix has {len(tokens)} tokens: must be at most max_length={limit}"
                )
            if self.end in tokens:
                raise ValueError(f"prefix has the end symbol {self.end} in it: nothing follows it")
        longest = max(map(len, prefix))
        return torch.tensor([[*tokens, *[-1] * (longest - len(tokens))] for tokens in prefix])

    def keep(self, index: Tensor) -> None:
        """Go on with some of the rows.

        Args:
            index: Their numbers among those that there were.
        """
        if self.prefix is not None:
            self.prefix = self.prefix[index.to(self.prefix.device)]

    def forbid(self, table: Tensor, history: Tensor) -> None:
        """Set what may not come to minus infinity, in place.

        Args:
            table: The next token's log-probabilities (N, V).
            history: The tokens before it (N, t).
        """
        if self.prefix is None or history.shape[1] >= self.prefix.shape[1]:
            self._forbid(table, history)
            return
        self.prefix = self.prefix.to(table.device)
        forced = self.prefix[:, history.shape[1]]  # (R,)
        forced = forced.repeat_interleave(len(table) // max(1, len(forced)))  # (N,)
        rows = (forced >= 0).nonzero()[:, 0]
        symbols = forced[rows]
        values = table[rows, symbols]  # before the other rules
        self._forbid(table, history)
        table[rows] = -torch.inf
        table[rows, symbols] = values

    def _forbid(self, table: Tensor, history: Tensor) -> None:
        if len(self.forbidden):
            # once: a list would be copied to a GPU at every step
            self.forbidden = self.forbidden.to(table.device)
            table.index_fill_(1, self.forbidden, -torch.inf)
        if history.shape[1] < self.min_length:
            table[:, self.end] = -torch.inf
        size = self.no_repeat_ngram
        if size and history.shape[1] >= size:
            windows = history.unfold(1, size, 1)  # (N, t - size + 1, size)
            begun = history[:, history.shape[1] - size + 1 :]  # (N, size - 1), the last
            row, place = (windows[:, :, :-1] == begun.unsqueeze(1)).all(2).nonzero(as_tuple=True)
            table[row, windows[row, place, -1]] = -torch.inf
