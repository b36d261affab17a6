"""FSDP over gloo: Lightning refuses its strategy without a GPU, by its type, torch does not."""

from __future__ import annotations

import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel


class OnCPUs(FSDPStrategy):
    """Lightning's strategy, but for the devices."""

    @property
    def root_device(self):
        return torch.device("cpu")

    def _setup_model(self, model):
        return FullyShardedDataParallel(
            model,
            sharding_strategy=self.sharding_strategy,
            mixed_precision=self.mixed_precision_config,
            device_id=torch.device("cpu"),
            **self.kwargs,
        )
