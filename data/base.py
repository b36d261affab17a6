"""The base of all data modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

from lightning.pytorch import LightningDataModule

from ..errors import DataError
from .loader import ResumableLoader

Part = Literal["train", "val", "test"]


class DataModule(LightningDataModule, ABC):
    """A data module whose training loader resumes exactly.

    A subclass implements `spec` and `loader`; its samplers take `rank` and `world_size` into
    account.

    The loader's state is kept in the data module's part of the checkpoint: the state that Lightning
    keeps itself is lost when `trainer.estimated_stepping_batches` is read before training
    (lightning #20550).

    Args:
        spec: What a checkpoint's model was made for, to be used instead of what the data would
            give; None to derive it.
    """

    def __init__(self, *, spec: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.spec_override = spec
        self._train_loader: ResumableLoader | None = None
        self._resume_from: dict[str, int] | None = None

    @property
    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """What a model has to know of the data, as plain data; the same in every process, available at once."""

    @abstractmethod
    def loader(
        self, part: Part, *, epoch: int = 0, limit: int | float = 1.0
    ) -> ResumableLoader | None:
        """Return this process's loader of a part, or None where the part was asked to be empty.

        Args:
            part: The part.
            epoch: The epoch to start with.
            limit: The loader's `limit`.
        """

    def remedy(self, part: Part) -> str:
        """Return what to do about an empty part, as a sentence.

        Args:
            part: The part.
        """
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
        """Return the validation loader, or none at all during training without a validation part."""
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
        return [] if loader is None else loader

    def state_dict(self) -> dict[str, Any]:
        """Return the training loader's position."""
        return {} if self._train_loader is None else {"loader": self._train_loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the position for the next training loader; evaluation leaves it alone."""
        if self.trainer is None or self.trainer.state.fn == "fit":
            self._resume_from = state_dict["loader"]
