"""A state that goes on from batch to batch, in checkpoints and over processes.

Shapes: B rows of one process, W processes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.recurrent import RecurrentCore
from ..core.state import State, from_plain, leaves, map_state, to_plain
from .base import Part, Task


class CarriesState(Task):
    """A task whose `model.core` goes on from one batch in the next, in training without gradient.

    The states are the task's, not the core's. That of training is kept in checkpoints, so that a
    resumed run goes on with it; evaluation begins anew each time.

    Attributes:
        training_state: The state after the last batch of training; None: its initial state.
        evaluation_state: The same of validation and test.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.training_state: State | None = None
        self.evaluation_state: State | None = None
        self._restored_state: Any = None

    def begin_scores(self) -> None:
        """Begin to count, and to read."""
        super().begin_scores()
        self.evaluation_state = None

    def log_scores(self, part: Part) -> None:
        """Log the scores of a whole part, and forget where it ended."""
        super().log_scores(part)
        self.evaluation_state = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the carried state, all processes' rows (B * W, ...): all of them must call this."""
        super().on_save_checkpoint(checkpoint)
        if self.training_state is None or self._trainer is None or self.trainer.state.fn != "fit":
            return
        state = self.training_state
        if self.trainer.world_size > 1:
            state = map_state(self._gather, state)
        checkpoint["carried_state"] = to_plain(state)

    def _gather(self, rows: Tensor) -> Tensor:
        everyone = [torch.empty_like(rows) for _ in range(self.trainer.world_size)]
        torch.distributed.all_gather(everyone, rows.contiguous())
        return torch.cat(everyone)  # (B * W, ...)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the carried state until training starts and the device is known."""
        self._restored_state = checkpoint.get("carried_state")

    def on_train_start(self) -> None:
        """Go on with this process's rows of the carried state."""
        super().on_train_start()
        self.training_state, plain = None, self._restored_state
        self._restored_state = None
        if plain is None:
            return
        core = self.model.core
        assert isinstance(core, RecurrentCore)
        whole = from_plain(plain, core.initial_state(1, device=self.device))  # (B * W, ...)
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        self.training_state = map_state(
            lambda rows: rows.tensor_split(processes)[rank].to(self.device, copy=True), whole
        )


def rows_of(state: State | None, rows: int) -> State | None:
    """Return a carried state, if it is of so many rows: another loader may have another number.

    Args:
        state: The state.
        rows: B.
    """
    return state if state is not None and leaves(state)[0].shape[0] == rows else None
