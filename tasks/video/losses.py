"""The loss of frames: of one label each or of several, with rare classes in mind.

Shapes: N frames, C classes, B rows, T frames of the longest row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ...core.seq2seq.losses import IGNORED, truncated_smoothness
from ...data.batch import VideoBatch
from ...data.tables import read_lines
from ...errors import DataError, UsageError, did_you_mean, quoted, some

# Roots have an endless slope at 0, and some versions of torch give what is cut at 0 half of it.
_LEAST = 1e-6


def frame_loss(
    logits: Tensor,
    target: Tensor,
    *,
    weights: Tensor | None = None,
    gamma: float = 0.0,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the sum of the frames' losses, and what to divide it by for their mean.

    One label a frame: cross-entropy, each frame weighted by its class (the mean is weighted then,
    as torch's). Several: binary cross-entropy of every class, the frames that have it weighted.
    With `gamma` the focal loss (Lin et al. 2017, https://arxiv.org/abs/1708.02002): what is sure
    and right counts (1 - p)^gamma of itself.

    Args:
        logits: (N, C).
        target: Class numbers (N,), -100 for none; or which classes a frame has, (N, C): 1, 0, or
            -100 where nothing is known.
        weights: Of the classes (C,); None: all the same.
        gamma: 0: no focal loss.
        label_smoothing: Share of the target distribution that is spread over all classes.
    """
    # for sums, also under half precision
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if weights is not None:
        weights = weights.to(logits)
    if target.dim() == 2:
        return _several(logits, target, weights, gamma, label_smoothing)
    known = target != IGNORED  # (N,)
    count = known.sum() if weights is None else weights[target.clamp(min=0)][known].sum()
    if not gamma:
        total = functional.cross_entropy(
            logits,
            target,
            weight=weights,
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        return total, count
    nats = functional.cross_entropy(
        logits,
        target,
        weight=weights,
        ignore_index=IGNORED,
        reduction="none",
        label_smoothing=label_smoothing,
    )  # (N,)
    chosen = logits.log_softmax(-1).gather(1, target.clamp(min=0)[:, None])[:, 0]  # (N,)
    miss = 1 - chosen.exp()
    return (nats * miss.clamp(min=_LEAST).pow(gamma))[known].sum(), count


def _several(
    logits: Tensor, target: Tensor, weights: Tensor | None, gamma: float, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    known = target != IGNORED  # (N, C)
    wanted = target.clamp(min=0).to(logits.dtype)
    soft = wanted * (1 - label_smoothing) + label_smoothing / 2
    nats = functional.binary_cross_entropy_with_logits(
        logits, soft, pos_weight=weights, reduction="none"
    )
    if gamma:
        miss = (wanted - logits.sigmoid()).abs()  # 1 - p of what is right
        nats = nats * miss.clamp(min=_LEAST).pow(gamma)
    return nats.masked_fill(~known, 0.0).sum(), known.sum()


def balanced(counts: Tensor, *, frames: int | None = None) -> Tensor:
    """Return weights (C,) by which all classes count the same.

    One label a frame: N / (C n) of a class with n of N frames, as scikit-learn's. Several: the
    frames without a class over those with it.

    Args:
        counts: Frames of each class (C,).
        frames: N, where a frame may have several labels; None: one each.
    """
    counts = counts.double()
    there = counts > 0
    if frames is not None:
        found = (frames - counts) / counts.clamp(min=1)
    else:
        found = counts.sum() / (there.sum() * counts.clamp(min=1))
    return torch.where(there, found, torch.ones_like(found)).float()


def several(target: Tensor, classes: int, *, dims: int) -> Tensor:
    """Return which classes frames have, also of labels that are one each.

    Args:
        target: Class numbers, -100 for none; or which classes a frame has already, (..., C).
        classes: C.
        dims: Dimensions of the class numbers.

    Returns:
        (..., C): 1, 0, or -100 where nothing is known.
    """
    if target.dim() > dims:
        return target
    found = functional.one_hot(target.clamp(min=0), classes)  # (..., C)
    return found.masked_fill((target < 0).unsqueeze(-1), IGNORED)


def several_jumps(logits: Tensor, lengths: Tensor, threshold: float) -> Tensor:
    """Return `truncated_smoothness` where each class goes by itself: having it, or not.

    Args:
        logits: (B, T, C).
        lengths: Frames of each row (B,) int64, on the CPU.
        threshold: Where a jump is truncated.
    """
    classes = logits.shape[2]
    pairs = torch.stack((torch.zeros_like(logits), logits), -1)  # (B, T, C, 2)
    pairs = pairs.transpose(1, 2).flatten(0, 1)  # (B C, T, 2)
    each = lengths.repeat_interleave(classes)  # (B C,)
    return truncated_smoothness(pairs, each, threshold=threshold) / classes


def class_weights(
    setting: str,
    classes: Sequence[str],
    count: Callable[[], tuple[int, list[int]]] | None,
    *,
    one_each: bool,
) -> Tensor:
    """Return the weights (C,) that a setting asks for.

    Args:
        setting: `balanced`, or a file.
        classes: The classes.
        count: Counts the frames of the training part: all, and those of each class.
        one_each: Whether a frame has one label.

    Raises:
        UsageError: Nothing counts the frames.
        DataError: The file is wrong.
    """
    if setting != "balanced":
        return read_weights(Path(setting), classes)
    if count is None:
        raise UsageError(
            "--model.class_weights balanced needs a data module that counts its classes "
            "(class_counts); give a file of weights."
        )
    frames, counts = count()
    return balanced(torch.tensor(counts), frames=None if one_each else frames)


def read_weights(path: Path, classes: Sequence[str]) -> Tensor:
    """Return the weights of classes (C,) that a file gives: `class,weight` on each line.

    Args:
        path: The file.
        classes: The classes.

    Raises:
        DataError: It is missing, a line is something else, or a class has no weight.
    """
    missing = f"There is no file of class weights '{path}'; or give `balanced`."
    found: dict[str, float] = {}
    lines = read_lines(path, missing=missing)
    for number, line in enumerate(lines, 1):
        mark = next((mark for mark in ("\t", ",", ";") if mark in line), ",")
        name, _, weight = (part.strip().strip('"') for part in line.rpartition(mark))
        if not line.strip() or (number == 1 and weight.lower() in ("weight", "weights")):
            continue
        try:
            value = float(weight)
            if not 0 <= value < math.inf:
                raise ValueError
        except ValueError:
            raise DataError(
                f"'{path}', line {number}: expected a class and a weight of at least 0, as "
                f"'walk,2.5', got '{quoted(line)}'."
            ) from None
        if name not in classes:
            raise DataError(
                f"'{path}', line {number}: there is no class '{quoted(name)}'."
                f"{did_you_mean(name, classes)}"
            )
        found[name] = value
    if lacking := [name for name in classes if name not in found]:
        raise DataError(f"'{path}' gives no weight for {len(lacking)} class(es): {some(lacking)}.")
    return torch.tensor([found[name] for name in classes])


def read_labels(batch: VideoBatch, steps: int) -> Tensor:
    """Return the labels of the frames that are read, where those of all frames are there.

    Args:
        batch: A batch.
        steps: T.

    Returns:
        (B, T) int64.
    """
    if not steps:
        return batch.target[:, :0]
    return batch.target[:, :: max(1, batch.target.shape[1] // steps)][:, :steps]
