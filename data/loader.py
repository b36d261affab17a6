"""A DataLoader that resumes exactly, in the middle of an epoch and at its end."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

from torch import Generator
from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler

from ..errors import UnrolledError
from .samplers import Sampler


class BatchDataset(Protocol):
    """Makes a whole batch from what its sampler yields, and so does its own collating."""

    def __getitem__(self, item: Any) -> Any:
        """Return one batch."""


class _Position(SequentialSampler, DistributedSampler[Any]):
    """Hands torch the rest of the running epoch.

    It shares no code with its bases: Lightning leaves a `DistributedSampler` alone under several
    processes and a `SequentialSampler` alone under `overfit_batches`, where it would replace any
    other sampler.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.batches = sampler
        self.epoch = 0
        self.start = 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches.batches(self.epoch, self.start))

    def __len__(self) -> int:
        return self.batches.num_batches(self.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: Lightning's number is stale after a resume, the loader keeps its own."""


class _Reported:
    """Hands a user's errors from a worker to the main process; torch would add a traceback."""

    def __init__(self, dataset: BatchDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, item: Any) -> Any:
        try:
            return self.dataset[item]
        except UnrolledError as error:
            return error


def _leave_signals(_: int) -> None:
    """Let the main process say when a worker ends: a terminal or a cluster tells all at once."""
    for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):
        signal.signal(number, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):  # not on macOS
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def obey_the_parent() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)

    threading.Thread(target=obey_the_parent, daemon=True).start()


def _identity(batch: Any) -> Any:
    return batch


class ResumableLoader(DataLoader[Any]):
    """A DataLoader that knows its epoch and position, and goes on there after `load_state_dict`.

    The state counts the batches that were handed out, not those that workers fetched ahead. The
    epoch advances when the next iteration starts: Lightning stops by count, so code after the last
    batch would never run. Workers are seeded anew from (seed, epoch) each epoch, which does not
    survive a resume in mid-epoch: a data set that augments has to seed from the sample's number,
    which its sampler can pass on together with the epoch.

    Args:
        dataset: Makes a batch from an item of the sampler.
        sampler: The order; already the share of this process.
        num_workers: Processes that prepare batches ahead; 0 for none.
        seed: Start of the workers' pseudo-random numbers; the global generator is left alone.
        epoch: The epoch to start with.
        limit: Where Lightning ends each epoch (its `limit_train_batches`): after so many batches if
            an integer, after this share of the batches if a float.
        pin_memory: Copy batches to page-locked memory, for a faster way to a GPU.

    Examples:
        >>> from unrolled.data import ItemSampler
        >>> class Squares:
        ...     def __getitem__(self, items):
        ...         return [number**2 for number in items.numbers]
        >>> loader = ResumableLoader(Squares(), ItemSampler(6, batch_size=2, shuffle=False))
        >>> batches = iter(loader)
        >>> next(batches)
        [0, 1]
        >>> other = ResumableLoader(Squares(), ItemSampler(6, batch_size=2, shuffle=False))
        >>> other.load_state_dict(loader.state_dict())
        >>> list(other)
        [[4, 9], [16, 25]]
    """

    def __init__(
        self,
        dataset: BatchDataset,
        sampler: Sampler,
        *,
        num_workers: int = 0,
        seed: int = 0,
        epoch: int = 0,
        limit: int | float = 1.0,
        pin_memory: bool = False,
    ) -> None:
        self._position = _Position(sampler)
        self._seed = seed
        self._limit = limit
        self._epoch = epoch
        self._done = 0
        self._resumed = False
        super().__init__(
            # torch's Dataset is a class
            _Reported(dataset) if num_workers else dataset,  # type: ignore[arg-type]
            batch_size=None,
            sampler=self._position,
            collate_fn=_identity,
            num_workers=num_workers,
            worker_init_fn=_leave_signals,
            persistent_workers=num_workers > 0,
            pin_memory=pin_memory,
            generator=Generator(),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the generator out: it is seeded in every epoch, and torch 2.3 can't copy one."""
        return {**self.__dict__, "generator": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, generator=Generator())

    @property
    def epoch(self) -> int:
        """Number of the epoch that is running, or that starts next."""
        return self._epoch

    def __len__(self) -> int:
        return self._position.batches.num_batches(self._epoch)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override] # any iterator will do
        if self._done and not self._resumed:
            self._epoch += 1
            self._done = 0
        return self._rest_of_epoch()

    def _rest_of_epoch(self) -> Iterator[Any]:
        self._position.epoch, self._position.start = self._epoch, self._done
        self.generator.manual_seed((self._seed * 1_000_003 + self._epoch) % 2**63)
        for batch in super().__iter__():
            if isinstance(batch, UnrolledError):
                raise batch
            self._resumed = False
            self._done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return epoch and position; the start of the next epoch when this one is done."""
        total = len(self)
        state = {"epoch": self._epoch, "done": self._done, "num_batches": total}
        last = self._limit if isinstance(self._limit, int) else int(total * self._limit)
        if self._done >= min(total, last):
            state |= {"epoch": self._epoch + 1, "done": 0}
        return state

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a state at the next iteration.

        Args:
            state: What `state_dict` returned. If an epoch had another number of batches then
                (another batch size or number of processes), the position is the same fraction of
                the epoch, and a warning says so.
        """
        self._epoch, self._done, self._resumed = state["epoch"], state["done"], True
        total, before = len(self), state["num_batches"]
        if self._done and before != total:
            self._done = self._done * total // before
            warnings.warn(
                f"The checkpoint was made with {before} batches an epoch and there are {total} "
                f"now: training goes on near the same place ({self._done}), not exactly there. "
                "Keep the batch size, the chunk length and the number of processes for an exact "
                "resume.",
                stacklevel=2,
            )
