"""List the weights of a trained model."""

from __future__ import annotations

from ..checkpoints import find_checkpoint
from ..errors import UsageError


def weights(checkpoint: str, *, like: str = "", trust: str = "") -> None:
    """List the weights of a trained model: name, shape and root mean square.

    Args:
        checkpoint: A checkpoint, or the folder of a run.
        like: Only those with this text in their names.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    file = find_checkpoint(checkpoint)  # a wrong path is answered before torch is imported

    from ..loading import load

    model = load(file, trust=trust)
    found = {name: value for name, value in model.named_parameters() if like in name}
    if not found:
        raise UsageError(f"No weight has '{like}' in its name.")
    for name, value in found.items():
        shape = " x ".join(map(str, value.shape))
        print(f"{name:<28} {shape:>12} {value.square().mean().sqrt():9.4f}")
