"""Each sentence of a test with its translation and what that is worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..metrics import SacreBLEU
from ..results import Records

COLUMNS = ("id", "source", "reference", "hypothesis", "bleu", "chrf")


class Answer(NamedTuple):
    """A translation.

    Attributes:
        number: The pair's number in its part.
        hypothesis: What the model said.
        reference: What a person said.
    """

    number: int
    hypothesis: str
    reference: str


def translations(answers: Iterable[Answer], sources: Sequence[str], metric: SacreBLEU) -> Records:
    """Return every sentence, with sentence BLEU and chrF.

    Args:
        answers: The translations, in any order; of two of one sentence one counts.
        sources: The sentences by number.
        metric: What computes BLEU and chrF.
    """
    by_number = {answer.number: answer for answer in answers}
    records = []
    for number, answer in sorted(by_number.items()):
        bleu, chrf = metric.of_sentence(answer.hypothesis, answer.reference)
        records.append(
            {
                "id": number + 1,
                "source": sources[number] if number < len(sources) else None,
                "reference": answer.reference,
                "hypothesis": answer.hypothesis,
                "bleu": bleu,
                "chrf": chrf,
            }
        )
    return Records(COLUMNS, records)
