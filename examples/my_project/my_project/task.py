"""The training of a network that says which language a name is from."""

from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from unrolled.core import CoreFactory
from unrolled.tasks.base import Part, Task

from .batch import NamesBatch, NamesSpec
from .core import Leaky
from .model import NameModel


class NameClassification(Task):
    """A name in, a distribution over the languages out."""

    model: NameModel
    shown = ("loss", "accuracy")

    def __init__(
        self,
        spec: NamesSpec,
        core: CoreFactory = lambda input_size: Leaky(input_size, hidden_size=64),
        *,
        embedding_size: int = 16,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.save_hyperparameters(logger=False)
        self.model = NameModel(spec, core, embedding_size=embedding_size)
        self.metrics["loss"] = MeanMetric()
        self.metrics["accuracy"] = MulticlassAccuracy(len(spec["languages"]), average="micro")

    def training_step(self, batch: NamesBatch, batch_idx: int) -> Tensor:
        """Return the mean loss of a batch."""
        logits = self.model(batch.input, batch.lengths)  # (B, L)
        nats = cross_entropy(logits, batch.target, reduction="sum")
        loss = self.global_mean(nats, batch.lengths.new_tensor(len(batch.lengths)))
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch.lengths))
        return loss

    def evaluate(self, batch: NamesBatch, part: Part) -> None:
        """Count what the model says of a batch."""
        logits = self.model(batch.input, batch.lengths)  # (B, L)
        self.metrics["loss"].update(cross_entropy(logits, batch.target, reduction="none"))
        self.metrics["accuracy"].update(logits, batch.target)
        self.count(logits, batch.target)  # the metrics of the configuration
