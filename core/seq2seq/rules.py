"""What may come next in a search.

Shapes: N hypotheses, t tokens so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class SearchRules:
    """Lengths, forbidden symbols and repetitions.

    Args:
        rows: R.
        end: The end symbol.
        max_length: Tokens at most, of all rows or of each.
        min_length: Tokens at least.
        forbidden: Symbols that never come.
        no_repeat_ngram: No sequence of so many tokens comes twice; 0: any may.

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

    def forbid(self, table: Tensor, history: Tensor) -> None:
        """Set what may not come to minus infinity, in place.

        Args:
            table: The next token's log-probabilities (N, V).
            history: The tokens before it (N, t).
        """
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
