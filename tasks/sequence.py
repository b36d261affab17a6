"""What the training of translation and captioning shares: loss, scheduled sampling, free answers.

Shapes: B targets, T target steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchmetrics import MeanMetric

from ..core.seq2seq.decoder import Decoded
from ..core.seq2seq.encoder import Memory
from ..core.seq2seq.losses import chunked_cross_entropy
from .base import Part, Task
from .learning import Variety
from .model import check_sizes
from .schedules import run_length
from .sequence_model import EncoderDecoder
from .step_log import log_step


class EncoderDecoderTask(Task):
    """The training of an encoder and a decoder.

    A subclass says what its loss is, and what becomes of the texts that it is evaluated by.

    Args:
        model: The model.
        label_smoothing: Share of the target distribution that is spread over all symbols.
        scheduled_sampling: Probability, at the end of the run, that the decoder reads a symbol of
            its own instead of the reference's; it grows from 0 in proportion to the steps.
        val_beam_size: Hypotheses that validation during training keeps.
        others: See `Task`; the `update` of its metrics is given texts and references.
    """

    model: EncoderDecoder
    written = ("texts", "inputs")  # what they are called, and what they are about

    def __init__(
        self,
        model: EncoderDecoder,
        *,
        label_smoothing: float,
        scheduled_sampling: float,
        val_beam_size: int,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        shares = {"label_smoothing": label_smoothing, "scheduled_sampling": scheduled_sampling}
        for name, share in shares.items():
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share}: must be at least 0 and less than 1")
        check_sizes(val_beam_size=val_beam_size)
        self.model = model
        self.label_smoothing = label_smoothing
        self.scheduled_sampling = scheduled_sampling
        self.val_beam_size = val_beam_size
        self.metrics["loss"] = MeanMetric()
        self.variety = Variety(*self.written)

    @abstractmethod
    def loss(self, batch: Any, *, sampling: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return what training makes smaller, summed over the targets.

        Args:
            batch: At least one target.
            sampling: Probability that the decoder reads a symbol of its own.

        Returns:
            The loss, and its share that is the smoothed cross-entropy, in nats.
        """

    def learn(self, batch: Any, count: Tensor) -> Tensor:
        """Return the loss of a training step: a mean over all processes' symbols.

        Args:
            batch: The batch.
            count: Its target symbols; 0 where it leaves nothing to this process.
        """
        symbols = int(count)
        if not symbols:
            return self.global_mean(self.zero(), count)
        sampling = self.scheduled_sampling
        if sampling:
            sampling *= min(1.0, self.global_step / max(1, run_length(self.trainer)))
        loss, nats = self.loss(batch, sampling=sampling)
        log_step(self, "train/loss", nats.detach() / symbols)
        return self.global_mean(loss, count)

    def cross_entropy(
        self, decoded: Decoded, target: Tensor, lengths: Tensor, label_smoothing: float = 0.0
    ) -> Tensor:
        """Return the sum of the targets' cross-entropies, in nats.

        Args:
            decoded: What the decoder made of them.
            target: The targets (B, T) int64.
            lengths: Ids of each row (B,) int64, on the CPU.
            label_smoothing: Share of the target distribution that is spread over all symbols.
        """
        loss: Tensor = self.model.decoder.head(
            decoded.output,
            lambda output, weight, bias: chunked_cross_entropy(
                output, weight, bias, target, lengths, label_smoothing=label_smoothing
            ),
        )
        return loss

    def begin_scores(self) -> None:
        """Begin to count, with nothing written."""
        super().begin_scores()
        self.variety.reset()

    def count(self, prediction: Sequence[str], truth: Sequence[str | Sequence[str]]) -> None:
        """Count texts, and give them to the metrics of the configuration."""
        self.variety.add(prediction, truth)
        super().count(prediction, truth)

    def doubts(self) -> list[tuple[str, str]]:
        """Return whether the texts are nearly all the same."""
        return self.variety.doubts()

    def answers(
        self, decoded: Decoded, memory: Memory, target: Tensor, lengths: Tensor, part: Part
    ) -> list[str]:
        """Count the references' loss, and write freely.

        Args:
            decoded: What the decoder made of the references.
            memory: What the encoder found.
            target: The references (B, T) int64.
            lengths: Ids of each (B,) int64, on the CPU.
            part: A test keeps the model's own number of hypotheses, validation `val_beam_size`.

        Returns:
            The best text about each row of the memory.
        """
        count = int(lengths.sum())
        nats = self.cross_entropy(decoded, target, lengths)
        self.metrics["loss"].update(nats / max(count, 1), count)
        beam_size = self.model.beam_size if part == "test" else self.val_beam_size
        found = self.model.search(memory, beam_size=beam_size)
        return [self.model.vocabulary.decode(hypotheses[0].tokens) for hypotheses in found]
