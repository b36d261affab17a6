"""A network that says which language a name is from.

Shapes: B names, T characters, H output of the core, L languages.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from unrolled.core import CoreFactory
from unrolled.data import padded, vocabulary_from_spec
from unrolled.tasks import Model


class NameModel(Model):
    """Reads a name with any core, and judges by the output at its last character."""

    symbol_rows: ClassVar = {
        "embedding.weight": "vocabulary",
        "head.weight": "languages",
        "head.bias": "languages",
    }

    def __init__(self, spec: Any, core: CoreFactory, *, embedding_size: int = 16) -> None:
        super().__init__(spec)
        self.languages: list[str] = spec["languages"]
        self.vocabulary = vocabulary_from_spec(spec["vocabulary"])
        self.embedding = nn.Embedding(self.vocabulary.size, embedding_size)
        self.core = core(embedding_size)
        self.head = nn.Linear(self.core.output_size, len(self.languages))

    def forward(self, input: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (B, L) of names (B, T) and their lengths (B,)."""
        output, _ = self.core(self.embedding(input), lengths=lengths)  # (B, T, H)
        last = output[torch.arange(len(output)), lengths - 1]  # (B, H)
        logits: Tensor = self.head(last)  # (B, L)
        return logits

    @torch.inference_mode()
    def classify(self, names: Sequence[str]) -> list[tuple[str, float]]:
        """Return the most probable language of each name, and its probability."""
        input, lengths = padded(self.vocabulary.encode(name, unknown="replace") for name in names)
        best = self(input.to(self.device), lengths).softmax(1).max(1)  # (B,) each
        found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(self.languages[number], probability) for number, probability in found]
