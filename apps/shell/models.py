"""What commands open: the trained model of a checkpoint, of the kind that they need."""

from __future__ import annotations

from typing import TypeVar

from ...checkpoints import WholeFile
from ...errors import UsageError

Kind = TypeVar("Kind")


def open_model(
    checkpoint: WholeFile, kind: type[Kind], purpose: str, *, device: str, trust: str
) -> Kind:
    """Return the trained model of a checkpoint.

    Args:
        checkpoint: The checkpoint, as `find_checkpoint` returned it: that is known in no time.
        kind: The class that the model has to be of.
        purpose: What such a model does, for the message about another one.
        device: As for `load`.
        trust: As for `load`.

    Raises:
        UnrolledError: That of `load`, or it holds a model of another kind.
    """
    from ...loading import load

    model = load(checkpoint, device=device, trust=trust)
    if not isinstance(model, kind):
        raise UsageError(
            f"'{checkpoint}' holds a {type(model).__name__}, which does not {purpose}."
        )
    return model
