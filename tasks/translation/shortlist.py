"""The shortlist of a translation model: learnt from its training part, kept in its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ...core.seq2seq.shortlist import Shortlist, learn_shortlist
from ...errors import DataError

KEY = "shortlist"
"""Where a checkpoint holds it."""
LINKS = 10_000_000
"""Pairs of symbols that it is learnt from at most, or some 500 MB: all of Multi30k's."""
_WIDEST = 1024  # symbols that one may become, of a stranger's file


@runtime_checkable
class TranslationKnowledge(Protocol):
    """What the task asks of its data module, beside batches; `TranslationData` has it."""

    def training_symbols(self, most: int) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Return the training part's ids: the arguments of `learn_shortlist`.

        Args:
            most: The sum of the pairs' products of lengths at most.
        """


def shortlist_of(data: TranslationKnowledge, sizes: tuple[int, int]) -> Shortlist | None:
    """Learn from the training part; None where there is none.

    Args:
        data: The data module.
        sizes: Symbols of the source's and of the target's vocabulary.
    """
    symbols = data.training_symbols(LINKS)
    return None if symbols is None else learn_shortlist(*symbols, sizes=sizes)


def to_checkpoint(shortlist: Shortlist) -> dict[str, Tensor]:
    """Return a shortlist as a checkpoint holds it.

    Args:
        shortlist: The shortlist.
    """
    return {name: value.to(torch.int32) for name, value in shortlist._asdict().items()}


def from_checkpoint(content: Mapping[str, Any], sizes: tuple[int, int]) -> Shortlist | None:
    """Return a checkpoint's shortlist; None where it has none.

    Args:
        content: The checkpoint's.
        sizes: Symbols of the source's and of the target's vocabulary.

    Raises:
        DataError: It is not what it should be.
    """
    found = content.get(KEY)
    if found is None:
        return None
    always, likely = (
        (found.get("always"), found.get("likely")) if isinstance(found, dict) else (None, None)
    )
    for part, shape in ((always, (None,)), (likely, (sizes[0], None))):
        fits = (
            isinstance(part, Tensor)
            and part.layout is torch.strided
            and part.device.type == "cpu"
            and part.dtype in (torch.int32, torch.int64)
            and part.dim() == len(shape)
            and part.shape[0] <= max(sizes)
            and (shape[0] is None or part.shape[0] == shape[0])
            and part.shape[-1] <= (_WIDEST if part.dim() == 2 else sizes[1])
            and (not part.numel() or bool(((part >= -1) & (part < sizes[1])).all()))
        )
        if not fits or (part is always and bool((part < 0).any())):
            raise DataError("its shortlist does not fit its vocabularies.")
    return Shortlist(always.to(torch.int64), likely.to(torch.int64))
