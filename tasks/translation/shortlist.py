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
_WIDEST = 1024  # symbols that one may become, in a file


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
    parts = found if isinstance(found, dict) else {}
    always, likely = (
        _places(parts.get(name), least, dimensions, sizes[1])
        for name, least, dimensions in (("always", 0, 1), ("likely", -1, 2))
    )
    if always is None or likely is None or len(likely) != sizes[0]:
        raise DataError("its shortlist does not fit its vocabularies.")
    return Shortlist(always, likely)


def _places(part: Any, least: int, dimensions: int, size: int) -> Tensor | None:
    """Return numbers of symbols, `least` to `size` - 1; None: it is something else."""
    if not isinstance(part, Tensor) or part.layout is not torch.strided or part.is_meta:
        return None
    kind = part.dtype in (torch.int32, torch.int64) and part.dim() == dimensions
    if not kind or part.shape[-1] > max(size, _WIDEST):
        return None
    # of a view that claims more than it holds, no more is made
    if part.nbytes > part.untyped_storage().nbytes():
        return None
    fits = bool(((part >= least) & (part < size)).all())
    return part.to(torch.int64) if fits else None
