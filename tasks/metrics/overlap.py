"""BLEU and ROUGE-L of captions, as coco-caption computes them.

Source: https://github.com/tylin/coco-caption

They differ from the same names elsewhere: BLEU's brevity penalty takes the *shorter* of two
references that are equally near, and ROUGE-L weighs recall by beta = 1.2.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

Words = Sequence[str]
Ngram = tuple[str, ...]

ORDERS = 4
_BETA = 1.2


def ngrams(words: Words) -> Counter[Ngram]:
    """Count the n-grams of 1 to 4 words.

    Args:
        words: A caption.
    """
    counts: Counter[Ngram] = Counter()
    for order in range(1, ORDERS + 1):
        counts.update(zip(*(words[start:] for start in range(order)), strict=False))
    return counts


def bleu(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    """Return BLEU-1 to BLEU-4 of a set (Papineni et al. 2002, https://aclanthology.org/P02-1040).

    Args:
        candidates: A caption of each image.
        references: The references of each image.

    Returns:
        Four fractions.
    """
    return bleu_of_counts(
        ((words, ngrams(words)) for words in candidates),
        ([(one, ngrams(one)) for one in texts] for texts in references),
    )


def bleu_of_counts(
    candidates: Iterable[tuple[Words, Counter[Ngram]]],
    references: Iterable[Iterable[tuple[Words, Counter[Ngram]]]],
) -> list[float]:
    """`bleu` for captions whose n-grams are counted already.

    Args:
        candidates: A caption of each image, with its n-grams.
        references: The references of each image, with their n-grams.
    """
    matched, possible = [0] * ORDERS, [0] * ORDERS
    length = reference_length = 0
    for (words, counts), texts in zip(candidates, references, strict=True):
        others = list(texts)
        length += len(words)
        reference_length += min((abs(len(one) - len(words)), len(one)) for one, _ in others)[1]
        for order in range(ORDERS):
            possible[order] += max(0, len(words) - order)
        for ngram, count in counts.items():
            most = max(reference.get(ngram, 0) for _, reference in others)
            if most:
                matched[len(ngram) - 1] += min(count, most)
    if not length:
        return [0.0] * ORDERS
    brevity = min(1.0, math.exp(1 - reference_length / length))
    scores, product = [], 1.0
    for order in range(ORDERS):
        # coco-caption's constants, which make the score of nothing at all defined
        product *= (matched[order] + 1e-15) / (possible[order] + 1e-9)
        scores.append(brevity * product ** (1 / (order + 1)))
    return scores


def rouge_l(candidate: Words, references: Sequence[Words]) -> float:
    """Return ROUGE-L of one caption: the best precision with the best recall.

    Lin 2004, https://aclanthology.org/W04-1013.

    Args:
        candidate: A caption.
        references: The image's references.
    """
    if not candidate:
        return 0.0
    common = [(longest_common_subsequence(candidate, one), len(one)) for one in references if one]
    precision = max((long / len(candidate) for long, _ in common), default=0.0)
    recall = max((long / length for long, length in common), default=0.0)
    if not precision:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def longest_common_subsequence(left: Words, right: Words) -> int:
    """Return the length of the longest common subsequence; a row of the table is one integer.

    Hyyrö 2004, "Bit-parallel LCS-length computation revisited": a bit is 0 where the table rises.

    Args:
        left: Words.
        right: Words.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(left)) - 1
    row = everything
    for word in right:
        matches = row & places.get(word, 0)
        row = (row + matches) | (row - matches)
    return len(left) - (row & everything).bit_count()
