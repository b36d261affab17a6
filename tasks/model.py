"""What every model is: a network and what it says to people, without what trains it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, ParamSpec, Self, TypeVar

import torch
from torch import nn

from ..errors import DataError, some

Arguments = ParamSpec("Arguments")
Item = TypeVar("Item")


def infers(
    function: Callable[Arguments, Iterator[Item]],
) -> Callable[Arguments, Iterator[Item]]:
    """Run a generator's steps, and not what its caller does between them, in inference mode.

    One that is left early ends without torch, which may be gone by then: `torch.inference_mode` as
    a decorator would answer the program's exit with a traceback.

    Args:
        function: Makes the generator.
    """

    @functools.wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Iterator[Item]:
        steps = function(*args, **kwargs)
        while True:
            with torch.inference_mode():
                try:
                    item = next(steps)
                except StopIteration:
                    return
            yield item

    return run


class Scored(NamedTuple):
    """How likely a model finds a text.

    Attributes:
        symbols: What it predicts one after another: characters; or words or subwords, as they may
            be shown to a person, of translations and captions with the end symbol.
        log_probabilities: That of each in nats, given those before it.
    """

    symbols: list[str]
    log_probabilities: list[float]


def seeded(seed: int | None, device: torch.device) -> torch.Generator:
    """Return what draws numbers: the same ones for the same seed.

    Args:
        seed: The seed; None: other numbers each time.
        device: Where they are drawn.

    Raises:
        ValueError: The seed has more than 64 bits.
    """
    generator = torch.Generator(device)
    if seed is None:
        generator.seed()
        return generator
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"seed={seed}: must be a number of 64 bits")
    return generator.manual_seed(seed)


_LARGEST_SIDE = 10_000  # pixels of a picture, which a checkpoint's spec may say


def check_sizes(least: int = 1, /, **sizes: Any) -> None:
    """Refuse sizes that are no whole numbers, or too small.

    Args:
        least: The smallest there is.
        sizes: By the names of their arguments; an `image_size` has a largest, too.

    Raises:
        ValueError: One is something else.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise ValueError(f"{name}={size!r}: must be a whole number")
        if size < least:
            raise ValueError(f"{name}={size}: must be at least {least}")
        if name == "image_size" and size > _LARGEST_SIDE:
            raise ValueError(f"{name}={size}: must be at most {_LARGEST_SIDE:,} pixels")


def as_texts(texts: Any, *kinds: type) -> list[Any]:
    """Return a list of texts, which a request from outside may have said to be one.

    Args:
        texts: The texts. One alone would be taken for the list of its letters.
        kinds: What a text may be besides `str`.

    Raises:
        TypeError: It is something else, or one of them is.
    """
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        raise TypeError(f"texts are {type(texts).__name__} {texts!r:.40}: must be a list of str")
    found = list(texts)
    for number, text in enumerate(found):
        if not isinstance(text, (str, *kinds)):
            raise TypeError(f"texts[{number}] is {type(text).__name__} {text!r:.40}: must be str")
    return found


def refuse_broken(model: nn.Module) -> None:
    """Refuse weights with which everything would come out as no number, and be written as text.

    Infinity may stand in biases and masks, where it forbids something.

    Args:
        model: The model.

    Raises:
        DataError: A weight is NaN, or infinite where it is multiplied.
    """
    matrices = {name for name, weight in model.named_parameters() if weight.dim() > 1}
    broken = [
        name
        for name, value in model.state_dict().items()
        # one pass; the sum of finite numbers may overflow
        if value.is_floating_point()
        and not math.isfinite(value.sum())
        and (value.isnan().any() or (name in matrices and value.isinf().any()))
    ]
    if broken:
        raise DataError(
            f"{len(broken)} of its tensors hold NaN or infinity ({some(broken, 3)}): its training "
            "failed.\nTake an earlier checkpoint, and train with a lower learning rate or "
            "--trainer.gradient_clip_val 1."
        )


class Model(nn.Module):
    """The part of a task that is used when training is over: torch alone, no Lightning.

    A task makes it from those of its own arguments that have the same names, and a checkpoint says
    which they are, so that `unrolled.load` makes it again without the task.

    Args:
        spec: What the model knows of its data, as plain data.

    Attributes:
        symbol_rows: Names of the tensors of the state dict whose rows stand for symbols, and the
            key of the spec that lists these: a run that begins with another's weights takes such
            rows by symbol, not by position. Whoever adds such a tensor declares it here.
        shared_by_members: What several models must have in common to be one (see `join`): keys of
            the spec or attributes, and what they are called; empty: they can't be.
    """

    symbol_rows: ClassVar[Mapping[str, str]] = {}
    shared_by_members: ClassVar[Mapping[str, str]] = {}

    def __init__(self, spec: Any) -> None:
        super().__init__()
        self.spec = spec

    def join(self, members: Sequence[Self]) -> None:
        """Speak with the mean of several models' probabilities; `tasks.ensembles` has checked them.

        Args:
            members: The models; this one is a copy of the first.
        """
        raise NotImplementedError(f"{type(self).__name__} has no join(members)")

    def take_more(self, content: Mapping[str, Any]) -> None:
        """Take what a checkpoint holds for this kind of model besides weights; most hold nothing.

        Args:
            content: The checkpoint's, of plain data and tensors, which a stranger may have made.

        Raises:
            DataError: It does not fit.
        """

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device
