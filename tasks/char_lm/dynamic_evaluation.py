"""Dynamic evaluation: the model goes on learning from the text it is tested on.

Shapes: B batch, T time.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ...core.state import State, detach, map_state
from ...data.batch import TextBatch
from ...errors import UsageError
from .task import CharLM


class DynamicEvaluation(Callback):
    """Fits a language model to the recent text while it is evaluated.

    Krause et al. 2018 (https://arxiv.org/abs/1709.07432). Every chunk is scored first; then the
    weights take one step of gradient descent on it, and a step back towards the trained weights:
    w <- w - learning_rate * gradient + decay * (trained - w). The trained weights are back when the
    evaluation ends. (The paper's variant with RMS-scaled rates needs a pass over the training text
    first; this is its "SGD dynamic evaluation" with the decay prior.)

    Use it with `validate` or `test`, one stream on one process, so that no character is scored by
    weights that have seen what comes after it: `--trainer.callbacks+ DynamicEvaluation
    --data.batch_size 1 --data.chunk_length 20`.

    Args:
        learning_rate: Step size, for the mean gradient of a chunk.
        decay: Share of the way back to the trained weights after each chunk.
        clip: The gradient's norm is cut to this.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from unrolled.data import TextData
        >>> data = TextData(text="hello" * 20, val_fraction=0.5, batch_size=1, chunk_length=20)
        >>> data.prepare_data()
        >>> quiet = dict(logger=False, enable_progress_bar=False, accelerator="cpu")
        >>> trainer = Trainer(callbacks=[DynamicEvaluation(0.05)], **quiet)
        >>> (scores,) = trainer.validate(CharLM(data.spec), data, verbose=False)
        >>> scores["val/loss"] > 0
        True
    """

    def __init__(
        self, learning_rate: float = 0.05, decay: float = 0.001, clip: float = 1.0
    ) -> None:
        if not learning_rate > 0:
            raise ValueError(f"learning_rate={learning_rate}: must be above 0")
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must be at least 0 and below 1")
        self.learning_rate = learning_rate
        self.decay = decay
        self.clip = clip
        self._trained: list[Tensor] = []
        self._state: State | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what dynamic evaluation is not defined for."""
        if stage == "fit":
            raise UsageError(
                "DynamicEvaluation belongs to validate and test: take it out of the callbacks of "
                "fit"
            )
        if not isinstance(pl_module, CharLM):
            raise UsageError(
                "DynamicEvaluation is for character language models, not for "
                f"{type(pl_module).__name__}"
            )
        if trainer.world_size > 1:
            raise UsageError(
                "DynamicEvaluation reads the text in order: use one process (--trainer.devices 1)"
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the trained weights."""
        self._trained = [parameter.detach().clone() for parameter in pl_module.parameters()]

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Remember the state before the chunk."""
        if batch.input.shape[0] != 1:
            raise UsageError(
                "DynamicEvaluation reads one stream, in order, but a batch has "
                f"{batch.input.shape[0]}: give --data.batch_size 1"
            )
        assert isinstance(pl_module, CharLM)
        self._state = pl_module.evaluation_state

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Learn from the chunk that was just scored."""
        assert isinstance(pl_module, CharLM)
        parameters = list(pl_module.parameters())
        with torch.inference_mode(False), torch.enable_grad():
            # What was made in inference mode can't take part in a gradient: copies can.
            chunk = TextBatch(*(tensor.clone() for tensor in batch))
            state = None if self._state is None else map_state(torch.clone, detach(self._state))
            _, nats, _ = pl_module.loss(chunk, state)
            gradients = torch.autograd.grad(nats / int(chunk.lengths.sum()), parameters)
        with torch.no_grad():
            norm = torch.linalg.vector_norm(
                torch.stack([gradient.norm() for gradient in gradients])
            )
            rate = self.learning_rate * (self.clip / norm.clamp(min=self.clip))
            for parameter, gradient, trained in zip(
                parameters, gradients, self._trained, strict=True
            ):
                parameter.sub_(gradient * rate).lerp_(trained, self.decay)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the trained weights back."""
        with torch.no_grad():
            for parameter, trained in zip(pl_module.parameters(), self._trained, strict=True):
                parameter.copy_(trained)
        self._trained, self._state = [], None

    on_test_start = on_validation_start
    on_test_batch_start = on_validation_batch_start
    on_test_batch_end = on_validation_batch_end
    on_test_end = on_validation_end
