"""The matrix products that a command decodes with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from ...checkpoints import WholeFile
from ...errors import SetupError, UsageError


def products(
    int8: bool, checkpoints: Sequence[WholeFile | Path], device: str
) -> AbstractContextManager[None]:
    """Return what a command decodes within: products in 8 bits where they are asked for.

    Args:
        int8: Whether they are.
        checkpoints: What speaks, as `model_files` returned it.
        device: Where it runs.

    Raises:
        SetupError: This processor has no such products.
        UsageError: What speaks multiplies elsewhere.
    """
    if not int8:
        return nullcontext()
    if device != "cpu":
        raise UsageError(f"--int8 true: products in 8 bits are the cpu's, not those of {device}.")
    if exported := [one for one in checkpoints if isinstance(one, Path)]:
        raise UsageError(
            f"--int8 true: '{exported[0]}' is an exported model, whose products are in its graphs: "
            "unrolled export with --int8 true makes one in 8 bits."
        )
    from ...core.products import NONE, eight_bits, has_eight_bits

    if not has_eight_bits():
        raise SetupError(f"--int8 true: {NONE}: leave --int8 out.")
    return eight_bits()
