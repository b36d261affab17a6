"""Lexical shortlists: which few target symbols a search has to look at, given the source's.

Jean et al. 2015 (https://arxiv.org/abs/1412.2007, section 3.3), as Marian has it: the most frequent
target symbols, and the likeliest translations of each source symbol. The output layer then
multiplies with hundreds of symbols' vectors instead of thousands.

Shapes: S source vocabulary, F frequent symbols, n translations of a symbol, R rows, U allowed
symbols of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .hypotheses import Hypothesis

_LEAST = 1e-3  # t(f | e) of what a shortlist names


class Allowed(NamedTuple):
    """The symbols that each row of a batch may be written with, by their places in its own list.

    The output layer multiplies with all of the batch's, and each row chooses among its own: what a
    row becomes does not depend on the others.

    Attributes:
        symbols: The batch's symbols, by their numbers in the whole vocabulary (U,) int64, rising.
        lists: Each row's list of places in `symbols` (R, K) int64; those that all rows were
            promised come first, in the order in which they were asked for.
        counts: How long each row's list is (R,) int64.
        shared: The promised ones, by their numbers in the whole vocabulary.

    Example:
        >>> import torch
        >>> words = Shortlist(torch.tensor([2]), torch.tensor([[-1], [5], [4]]))
        >>> allowed = words.allowed([[1], [0]], size=9, shared=[3, 0])
        >>> allowed.symbols[allowed.lists[0]], allowed.counts
        (tensor([3, 0, 2, 5]), tensor([4, 3]))
        >>> allowed.places([0])
        [1]
    """

    symbols: Tensor
    lists: Tensor
    counts: Tensor
    shared: tuple[int, ...]

    def to(self, device: torch.device) -> Allowed:
        """Return the same on a device.

        Args:
            device: The device.
        """
        symbols, lists, counts = (
            part.to(device) for part in (self.symbols, self.lists, self.counts)
        )
        return Allowed(symbols, lists, counts, self.shared)

    def places(self, symbols: Sequence[int]) -> list[int]:
        """Return the places of promised symbols, the same in all lists.

        Args:
            symbols: Their numbers in the whole vocabulary.
        """
        return [self.shared.index(symbol) for symbol in symbols]

    def barred(self, dtype: torch.dtype) -> Tensor:
        """Return what is added to the logits of lists (R, K): minus infinity past their ends.

        Args:
            dtype: Of the logits.
        """
        zeros = torch.zeros(self.lists.shape, dtype=dtype, device=self.lists.device)
        steps = torch.arange(self.lists.shape[1], device=self.lists.device)
        return zeros.masked_fill_(steps >= self.counts.unsqueeze(1), -torch.inf)

    def named(self, found: Sequence[Sequence[Hypothesis]]) -> list[list[Hypothesis]]:
        """Return what a search found with symbols by their numbers in the whole vocabulary.

        Args:
            found: The hypotheses of each row, of places.
        """
        numbers = self.symbols[self.lists].tolist()
        return [
            [one._replace(tokens=[own[place] for place in one.tokens]) for one in row]
            for own, row in zip(numbers, found, strict=True)
        ]


class Shortlist(NamedTuple):
    """What a source's symbols may become; see `learn_shortlist`.

    Attributes:
        always: Target symbols that may always come (F,) int64.
        likely: Those that each source symbol may become (S, n) int64, -1 where there are fewer.

    Example:
        >>> import torch
        >>> words = Shortlist(torch.tensor([0, 2]), torch.tensor([[-1], [5], [4]]))
        >>> words.allowed([[1], [2]], size=9).symbols
        tensor([0, 2, 4, 5])
    """

    always: Tensor
    likely: Tensor

    def allowed(
        self, sources: Sequence[Sequence[int]], *, size: int, shared: Sequence[int] = ()
    ) -> Allowed:
        """Return the symbols that a batch may be written with.

        Args:
            sources: Each row's source symbols.
            size: Target symbols there are.
            shared: Symbols that every row may be written with besides, as special ones and those of
                a forced beginning.
        """
        promised = tuple(dict.fromkeys(shared))
        table = torch.zeros(len(sources), size + 1, dtype=torch.bool)  # the last: where are fewer
        for row, source in zip(table, sources, strict=True):
            row[self.likely[torch.tensor(source, dtype=torch.int64)].flatten()] = True
        table[:, self.always] = True
        table[:, list(promised)] = True
        symbols = table[:, :size].any(0).nonzero()[:, 0]  # (U,)
        table[:, list(promised)] = False
        rest = table[:, symbols]  # (R, U)
        counts = rest.sum(1)  # (R,)
        others = rest.int().argsort(dim=1, descending=True, stable=True)  # each row's first, rising
        others = others[:, : int(counts.max()) if len(sources) else 0]
        first = torch.searchsorted(symbols, torch.tensor(promised, dtype=torch.int64))
        lists = torch.cat((first.expand(len(sources), -1), others), 1)  # (R, K)
        return Allowed(symbols, lists, counts + len(promised), promised)


def joined(lists: Sequence[Shortlist]) -> Shortlist:
    """Return what any of several shortlists of the same vocabularies allows.

    Args:
        lists: The shortlists, at least one.
    """
    return Shortlist(
        torch.cat([one.always for one in lists]).unique(),
        torch.cat([one.likely for one in lists], 1),
    )


def learn_shortlist(
    source: Tensor,
    source_lengths: Tensor,
    target: Tensor,
    target_lengths: Tensor,
    *,
    sizes: tuple[int, int],
    frequent: int = 300,
    likely: int = 40,
    rounds: int = 4,
) -> Shortlist:
    """Learn from pairs which target symbols a source symbol becomes: IBM's model 1.

    Brown et al. 1993 (https://aclanthology.org/J93-2003): t(f | e) of all pairs of symbols that
    come together, by expectation maximisation. Its memory and time grow with the links, the sum of
    the pairs' products of lengths: about 40 bytes each.

    Args:
        source: The sources' symbols, one pair after another (all source symbols,) int64.
        source_lengths: How many each pair has (N,) int64.
        target: The targets' likewise.
        target_lengths: The targets' likewise.
        sizes: Symbols of the source's and of the target's vocabulary.
        frequent: F, how many of the most frequent target symbols are allowed always.
        likely: n, how many others each source symbol may become.
        rounds: Of expectation and maximisation.
    """
    count = target.bincount(minlength=sizes[1])
    always = count.topk(min(frequent, sizes[1])).indices
    always = always[count[always] > 0].sort().values
    places = torch.full((sizes[0], likely), -1, dtype=torch.int64)
    pair = torch.arange(len(target_lengths)).repeat_interleave(target_lengths)  # (targets,)
    width = source_lengths[pair]  # (targets,): links of each target symbol
    if not int(width.sum()):
        return Shortlist(always, places)
    first = source_lengths.cumsum(0) - source_lengths  # (N,)
    mine = torch.arange(len(target)).repeat_interleave(width)  # (links,): whose link it is
    begin = width.cumsum(0) - width  # (targets,)
    linked = source[torch.arange(len(mine)) - begin[mine] + first[pair][mine]]  # (links,)
    keys, link = torch.unique(linked * sizes[1] + target[mine], return_inverse=True)
    left, right = keys // sizes[1], keys % sizes[1]  # (kinds of links,)
    del linked, begin, keys
    share = torch.ones(len(left))
    for _ in range(rounds):
        each = share[link]  # (links,)
        each /= torch.zeros(len(target)).index_add_(0, mine, each)[mine]
        share = torch.zeros(len(left)).index_add_(0, link, each)
        share /= torch.zeros(sizes[0]).index_add_(0, left, share)[left].clamp(min=1e-30)
    listed = torch.zeros(sizes[1], dtype=torch.bool).index_fill_(0, always, True)
    named = ~listed[right] & (share >= _LEAST)
    left, right, share = left[named], right[named], share[named]
    order = share.argsort(descending=True, stable=True)
    order = order[left[order].argsort(stable=True)]  # by source symbol, the likeliest first
    left, right = left[order], right[order]
    begins = torch.zeros(sizes[0], dtype=torch.int64)
    begins[1:] = left.bincount(minlength=sizes[0]).cumsum(0)[:-1]
    rank = torch.arange(len(left)) - begins[left]
    kept = rank < likely
    places[left[kept], rank[kept]] = right[kept]
    return Shortlist(always, places)
