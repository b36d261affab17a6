"""A state that goes on from batch to batch, in checkpoints and over processes.

Shapes: B rows of one process, W processes.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from ..core.recurrent import RecurrentCore
from ..core.state import State, from_plain, map_state, to_plain


def saved_state(state: State, trainer: Trainer) -> Any:
    """What a checkpoint keeps of a carried state: all processes' rows; every process has to call this.

    Args:
        state: This process's state, leaves (B, ...).
        trainer: The trainer.

    Returns:
        Plain data, leaves (B * W, ...).
    """

    def gather(rows: Tensor) -> Tensor:
        everyone = [torch.empty_like(rows) for _ in range(trainer.world_size)]
        torch.distributed.all_gather(everyone, rows.contiguous())
        return torch.cat(everyone)

    return to_plain(map_state(gather, state) if trainer.world_size > 1 else state)


def restored_state(
    plain: Any, core: RecurrentCore, trainer: Trainer, device: torch.device
) -> State:
    """This process's rows of what a checkpoint kept.

    Args:
        plain: What `saved_state` returned.
        core: The core whose state it is.
        trainer: The trainer.
        device: Where the state is needed.
    """
    whole = from_plain(plain, core.initial_state(1, device=device))
    rank, processes = trainer.global_rank, trainer.world_size
    return map_state(lambda rows: rows.tensor_split(processes)[rank].to(device, copy=True), whole)
