"""The scores of captions, over all processes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from .cider import CiderD
from .overlap import Ngram, Words, bleu_of_counts, ngrams, rouge_l
from .ptb import ptb_words

SIGNATURE = (
    "BLEU, ROUGE-L and CIDEr-D of coco-caption: PTB tokens in lower case without punctuation, "
    "CIDEr-D's document frequencies from these references; fractions, not percents"
)


class _Caption(NamedTuple):
    words: Words
    counts: Counter[Ngram]


class CaptionScores(Metric):
    """BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D as coco-caption has them, and how many captions differ.

    Every score needs the whole set (CIDEr-D even for a single image), so the texts are kept until
    `compute`, which gathers those of all processes. A process may have none.

    Examples:
        >>> scores = CaptionScores()
        >>> scores.update(["a red ball", "one box"], [["a red ball"], ["a box", "a blue box"]])
        >>> found = scores.compute()
        >>> round(found["bleu1"].item(), 3), round(found["rouge_l"].item(), 3)
        (0.8, 0.75)
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    records: list[Tensor]  # lines of JSON as bytes: what torchmetrics knows to gather

    def __init__(self) -> None:
        super().__init__()
        self.add_state("records", default=[], dist_reduce_fx="cat")

    def update(
        self,
        candidates: Sequence[str],
        references: Sequence[Sequence[str]],
        number: Sequence[int] | Tensor | None = None,
    ) -> None:
        """Add captions.

        Args:
            candidates: A caption of each image.
            references: The references of each image, at least one.
            number: The images' numbers; of those that come more than once, one counts. None: every
                image counts.

        Raises:
            ValueError: If an image has no reference, or the lists differ in length.
        """
        numbers = [None] * len(candidates) if number is None else torch.as_tensor(number).tolist()
        if not len(candidates) == len(references) == len(numbers):
            raise ValueError(
                f"{len(candidates)} candidates, {len(references)} lists of references and "
                f"{len(numbers)} numbers: "
                "every image needs one of each"
            )
        if not all(references):
            raise ValueError("an image has no references: leave it out, or give it at least one")
        lines = "".join(
            json.dumps(record) + "\n"
            for record in zip(numbers, candidates, map(list, references), strict=True)
        )
        data = (
            torch.frombuffer(bytearray(lines.encode()), dtype=torch.uint8)
            if lines
            else torch.empty(0).byte()
        )
        self.records.append(data.to(self.device))

    def sync(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any | None = None,
        should_sync: bool = True,
        distributed_available: Callable[..., Any] | None = None,
    ) -> None:
        """Gather the texts of all processes.

        Args:
            dist_sync_fn: As torchmetrics', whose method this is otherwise.
            process_group: Likewise.
            should_sync: Likewise.
            distributed_available: Likewise.
        """
        # torchmetrics leaves out a process with an empty list, and the others wait for it
        if not self.records:
            self.records.append(torch.empty(0, dtype=torch.uint8, device=self.device))
        super().sync(dist_sync_fn, process_group, should_sync, distributed_available)

    def compute(self) -> dict[str, Tensor]:
        """Return fractions: bleu1 to bleu4, rouge_l, cider_d, distinct; all 0 without captions."""
        candidates, references = self._texts()
        scores = caption_scores(candidates, references)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in scores.items()}

    def _texts(self) -> tuple[list[str], list[list[str]]]:
        nothing = isinstance(self.records, list) and not self.records  # a tensor after `sync`
        lines = (
            []
            if nothing
            else dim_zero_cat(self.records).cpu().numpy().tobytes().decode().splitlines()
        )
        seen: set[int] = set()
        candidates, references = [], []
        for number, candidate, texts in map(json.loads, lines):
            if number in seen:
                continue
            if number is not None:
                seen.add(number)
            candidates.append(candidate)
            references.append(texts)
        return candidates, references


def caption_scores(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Score the captions of a whole set.

    Args:
        candidates: A caption of each image.
        references: The references of each image.

    Returns:
        bleu1, bleu2, bleu3, bleu4, rouge_l, cider_d, and distinct: different captions over
        captions.
    """
    names = ["bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider_d", "distinct"]
    if not candidates:
        return dict.fromkeys(names, 0.0)
    given = [_captions([text])[0] for text in candidates]
    wanted = [_captions(texts) for texts in references]
    pairs = list(zip(given, wanted, strict=True))
    scorer = CiderD.from_counts([[one.counts for one in others] for others in wanted])
    values = [
        *bleu_of_counts(given, wanted),
        fmean(rouge_l(one.words, [other.words for other in others]) for one, others in pairs),
        fmean(
            scorer.score_counts(one.counts, [other.counts for other in others])
            for one, others in pairs
        ),
        len({tuple(one.words) for one in given}) / len(given),
    ]
    return dict(zip(names, values, strict=True))


def _captions(texts: Iterable[str]) -> list[_Caption]:
    return [_Caption(words, ngrams(words)) for words in map(ptb_words, texts)]
