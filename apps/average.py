"""Average the weights of checkpoints."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError, typed

if TYPE_CHECKING:
    import torch

    from ..loading import CheckedTask


def average(output: str, *checkpoints: str, trust: str = "") -> None:
    """Average the weights of checkpoints of one model.

    Translation papers do so with the last ones of a run.

    Args:
        output: The file to write; it must not exist.
        *checkpoints: The checkpoints, two or more.
        trust: Packages of your own, with commas in between, whose classes the checkpoints may name.
    """
    if len(checkpoints) < 2:
        raise UsageError("Say what to average: unrolled average NEW.ckpt CKPT CKPT ...")
    place = Path(output)
    if place.exists():
        raise UsageError(f"'{output}' exists: name a new file, or remove it first.")

    import torch

    from ..loading import CheckedTask
    from .run.compare import differences
    from .run.folder.contents import save

    first = CheckedTask(checkpoints[0], trust=trust)
    # What has no mean (a counter, a mask) is the first checkpoint's.
    sums = {
        name: tensor.to(torch.promote_types(tensor.dtype, torch.float64))
        for name, tensor in first.weights.items()
        if tensor.is_floating_point() or tensor.is_complex()
    }
    shapes = _shapes(first)
    for path in checkpoints[1:]:
        other = CheckedTask(path, trust=trust)
        changes = itertools.chain(
            differences("model", first.model, other.model),
            differences("model.spec", first.spec, other.spec),
            differences("model", shapes, _shapes(other)),  # a part that no checkpoint describes
        )
        if change := next(changes, None):
            raise UsageError(
                f"'{checkpoints[0]}' and '{path}' are of different models: they differ in "
                f"{change[0]}."
            )
        for name, tensor in other.weights.items():
            if name in sums:
                sums[name] = sums[name] + tensor
    kept = ("hyper_parameters", "unrolled", "pytorch-lightning_version", "global_step", "epoch")
    kept_too = ("shortlist",)  # all have the same: they are of the same data
    result = {name: first.content[name] for name in (*kept, *kept_too) if name in first.content}
    result["state_dict"] = {
        name: (sums[name] / len(checkpoints)).to(tensor.dtype) if name in sums else tensor
        for name, tensor in first.weights.items()
    }
    save(result, place.absolute())
    print(f"{output}: the mean of {len(checkpoints)} checkpoints' weights")
    print(f"Next: unrolled info {typed(output)}")


def _shapes(checkpoint: CheckedTask) -> dict[str, torch.Size]:
    return {name.removeprefix("model."): w.shape for name, w in checkpoint.weights.items()}
