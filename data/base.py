"""The base of all data modules."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from lightning.pytorch import LightningDataModule

from ..errors import DataError, UsageError, at_least
from .loader import BatchDataset, ResumableLoader
from .samplers import SamplerFactory
from .splits import Part


class DataModule(LightningDataModule, ABC):
    """A data module whose training goes on exactly where it was stopped.

    A subclass says what a model has to know of its data, by `own_spec`, and what each part holds,
    by `contents`: a data set that makes a batch, and a sampler that orders them. The rest is here:
    workers, seeds, processes, limits, pinned memory, the place of a resumed run.

    The loader's state is kept in the data module's part of the checkpoint: the state that Lightning
    keeps itself is lost when `trainer.estimated_stepping_batches` is read before training
    (lightning #20550).

    Args:
        num_workers: Processes that prepare batches ahead; 0 for none.
        seed: Start of the pseudo-random numbers.
        spec: What a checkpoint's model was made for, to be used instead of what the data would
            give; None to derive it.

    Attributes:
        spec_form: The TypedDict that a spec has to fit.
    """

    spec_form: ClassVar[type] = dict

    def __init__(
        self, *, num_workers: int = 0, seed: int = 0, spec: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        at_least(0, num_workers=num_workers, seed=seed)
        required: frozenset[str] = getattr(self.spec_form, "__required_keys__", frozenset())
        if spec is not None and (lacking := sorted(required - spec.keys())):
            raise UsageError(
                f"The checkpoint's model was not made for {type(self).__name__}: its spec has no "
                f"'{lacking[0]}'."
            )
        self.num_workers = num_workers
        self.seed = seed
        self.spec_override = spec
        self._train_loader: ResumableLoader | None = None
        self._resume_from: dict[str, int] | None = None

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What a model has to know of the data: the checkpoint's, else the data's own."""
        return self.own_spec() if self.spec_override is None else self.spec_override

    @abstractmethod
    def own_spec(self) -> dict[str, Any]:
        """Return what the data gives; the same in every process, before `prepare_data`."""

    @abstractmethod
    def contents(self, part: Part) -> tuple[BatchDataset, SamplerFactory] | None:
        """Return what makes the batches of a part, and what orders them; None for an empty part."""

    def inputs(self, part: Part) -> Sequence[Any]:
        """Return what the items of a part are called where a test's results are written.

        Args:
            part: The part.

        Returns:
            Of each item by its number; nothing: they are known by their numbers.
        """
        return ()

    def fingerprint(self) -> str:
        """Return what changes with what is learnt from, by which a resumed run knows it again.

        Returns:
            Text that is the same in every process; nothing: changes are not noticed.
        """
        return ""

    def remedy(self, part: Part) -> str:
        """Return what to do about an empty part, as a sentence."""
        if part == "train":
            return "Make val_fraction or test_fraction smaller."
        return f"Set --data.{part}_fraction above 0."

    @property
    def rank(self) -> int:
        """Number of this process, 0 without a trainer."""
        return self.trainer.global_rank if self.trainer else 0

    @property
    def world_size(self) -> int:
        """Number of processes, 1 without a trainer."""
        return self.trainer.world_size if self.trainer else 1

    @property
    def pin_memory(self) -> bool:
        """Whether batches go to a CUDA device."""
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def loader(
        self, part: Part, *, epoch: int = 0, limit: int | float = 1.0
    ) -> ResumableLoader | None:
        """Return this process's loader of a part, None where the part was asked to be empty.

        Args:
            part: The part.
            epoch: The epoch to start with.
            limit: The loader's `limit`.
        """
        contents = self.contents(part)
        if contents is None:
            return None
        dataset, sampler = contents
        overfitting = getattr(self.trainer, "overfit_batches", 0)  # not declared by Lightning
        return ResumableLoader(
            dataset,
            sampler(
                seed=self.seed,
                rank=self.rank,
                world_size=self.world_size,
                shuffle=part == "train" and not overfitting,
            ),
            num_workers=self.num_workers,
            seed=self.seed,
            epoch=epoch,
            limit=limit,
            pin_memory=self.pin_memory,
        )

    def train_dataloader(self) -> ResumableLoader:
        """Return the training loader, at the checkpoint's position after a resume."""
        if self.trainer:
            loader = self.loader(
                "train", epoch=self.trainer.current_epoch, limit=self.trainer.limit_train_batches
            )
        else:
            loader = self.loader("train")
        if loader is None:
            raise DataError(
                f"There is nothing to train on: the part is empty. {self.remedy('train')}"
            )
        if self._resume_from is not None:
            try:
                loader.load_state_dict(self._resume_from)
            except (KeyError, TypeError, ArithmeticError) as error:
                raise DataError(
                    f"The checkpoint says no place in the data to go on from: {error!r}."
                ) from error
            self._resume_from = None
        self._train_loader = loader
        return loader

    def val_dataloader(self) -> ResumableLoader | list[Any]:
        """Return the validation loader, or none in training without a validation part."""
        return self._evaluation("val", "validate")

    def test_dataloader(self) -> ResumableLoader | list[Any]:
        """Return the test loader."""
        return self._evaluation("test", "test")

    def _evaluation(self, part: Part, command: str) -> ResumableLoader | list[Any]:
        loader = self.loader(part)
        if loader is None and self.trainer and self.trainer.state.fn == command:
            raise DataError(
                f"There is nothing to {command}: the part is empty. {self.remedy(part)}"
            )
        if loader is not None:
            return loader
        # Lightning asks whether that was intended; the settings say so
        warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")
        return []

    def state_dict(self) -> dict[str, Any]:
        """Return the training loader's position."""
        return {} if self._train_loader is None else {"loader": self._train_loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the position for the next training loader; evaluation leaves it alone."""
        if self.trainer is None or self.trainer.state.fn == "fit":
            self._resume_from = state_dict["loader"]
