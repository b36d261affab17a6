"""Several trained models that speak as one: the mean of their probabilities at each step."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

from ..errors import UsageError, a
from .model import Model

M = TypeVar("M", bound=Model)


def ensemble(models: Sequence[M], names: Sequence[str] = ()) -> M:
    """Return one model that says what several find likeliest together.

    At each step the probability of a word, a subword or a class is the mean of the models' own.
    Cores, sizes and encoders may differ. What else a model is set to, as its number of hypotheses,
    is the first one's.

    Args:
        models: Trained models of one kind; they are not changed, and share their weights with what
            is returned.
        names: What to call them in errors.

    Returns:
        A model of the same kind, in evaluation mode.

    Raises:
        UsageError: They are of different kinds, or of a kind that can't speak together, or know
            different words, classes or sizes.
    """
    called = list(names) or [f"model {number}" for number in range(1, len(models) + 1)]
    if not models:
        raise UsageError("An ensemble needs at least one model.")
    first = models[0]
    if len(models) > 1 and not first.shared_by_members:
        raise UsageError(f"Several models of the kind {type(first).__name__} can't speak together.")
    for model, name in zip(models, called, strict=True):
        if type(model) is not type(first):
            raise UsageError(
                f"{called[0]} holds {a(type(first))}, {name} {a(type(model))}: "
                "only models of one kind speak together."
            )
        for key, what in first.shared_by_members.items():
            if _of(first, key) != _of(model, key):
                raise UsageError(
                    f"{called[0]} and {name} differ in {what}: models speak together that were "
                    "trained on the same data, with the same --data settings."
                )
    if len(models) == 1:
        return first
    joined = copy.copy(first)
    # a module's copy shares the dicts with its parts
    for kind in ("_parameters", "_buffers", "_modules"):
        vars(joined)[kind] = dict(vars(first)[kind])
    joined.join(models)
    return joined.eval()


def _of(model: Model, key: str) -> object:
    """Return what a model's spec says; of what it says nothing about, the model's attribute."""
    return model.spec[key] if key in model.spec else getattr(model, key, None)
