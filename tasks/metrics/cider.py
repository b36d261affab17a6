"""CIDEr-D, as a metric of a set and as the reward of a single caption.

Vedantam et al. 2015 (https://arxiv.org/abs/1411.5726), computed as coco-caption does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .overlap import ORDERS, Ngram, ngrams
from .ptb import ptb_words

_SIGMA = 6.0


class _Vector(NamedTuple):
    weights: dict[Ngram, float]  # term frequency times inverse document frequency
    norms: list[float]  # of the n-grams of each order
    length: int  # coco-caption's: the number of bigrams


class CiderD:
    """Scores captions against references, given in how many images' references each n-gram occurs.

    A set whose images all have the same references scores 0, and so does a set of one image: every
    n-gram is in every image and tells nothing.

    Args:
        document_frequency: In how many images' references each n-gram of 1 to 4 words occurs.
        images: How many images there are.

    Examples:
        >>> references = [["a red ball", "a ball"], ["a blue box", "one box"]]
        >>> cider = CiderD.from_references(references)
        >>> right, wrong = cider.scores(["a red ball", "a blue box"], [references[0]] * 2)
        >>> round(right, 2), wrong
        (4.62, 0.0)
    """

    def __init__(self, document_frequency: Mapping[Ngram, int], images: int) -> None:
        log_images = math.log(images) if images else 0.0
        self._rarity = {
            ngram: log_images - math.log(count) for ngram, count in document_frequency.items()
        }
        self._unseen = log_images

    @classmethod
    def from_references(cls, references: Iterable[Sequence[str]]) -> CiderD:
        """Count the n-grams of a set's references.

        Args:
            references: The references of each image, as text.
        """
        return cls.from_counts(
            [[ngrams(ptb_words(text)) for text in texts] for texts in references]
        )

    @classmethod
    def from_counts(cls, references: Sequence[Sequence[Counter[Ngram]]]) -> CiderD:
        """Take n-grams that are counted already.

        Args:
            references: The n-grams of each image's references.
        """
        frequency: Counter[Ngram] = Counter()
        for counts in references:
            frequency.update(set().union(*counts))
        return cls(frequency, len(references))

    def scores(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        """Score captions.

        Args:
            candidates: Captions.
            references: The references of each caption's image.

        Returns:
            The score of each, 10 at most.
        """
        # captions of one image are scored side by side: their references come again
        vectors: dict[str, _Vector] = {}

        def vector(text: str) -> _Vector:
            if text not in vectors:
                vectors[text] = self._vector(ngrams(ptb_words(text)))
            return vectors[text]

        pairs = zip(candidates, references, strict=True)
        return [self._score(vector(text), [vector(one) for one in texts]) for text, texts in pairs]

    def score_counts(
        self, candidate: Counter[Ngram], references: Sequence[Counter[Ngram]]
    ) -> float:
        """Score one caption whose n-grams, and its references', are counted already.

        Args:
            candidate: The caption's n-grams.
            references: The references' n-grams.
        """
        return self._score(self._vector(candidate), [self._vector(counts) for counts in references])

    def _vector(self, counts: Counter[Ngram]) -> _Vector:
        rarity, unseen = self._rarity, self._unseen
        weights = {ngram: count * rarity.get(ngram, unseen) for ngram, count in counts.items()}
        squares = [0.0] * ORDERS
        length = 0
        for ngram, weight in weights.items():
            order = len(ngram) - 1
            squares[order] += weight * weight
            if order == 1:
                length += counts[ngram]
        return _Vector(weights, [math.sqrt(square) for square in squares], length)

    @staticmethod
    def _score(candidate: _Vector, references: Sequence[_Vector]) -> float:
        total = 0.0
        for reference in references:
            products = [0.0] * ORDERS
            weights = reference.weights
            for ngram, weight in candidate.weights.items():
                other = weights.get(ngram)
                if other is not None:
                    products[len(ngram) - 1] += min(weight, other) * other
            similarity = sum(
                product / (mine * theirs)
                for product, mine, theirs in zip(
                    products, candidate.norms, reference.norms, strict=True
                )
                if mine and theirs
            )
            difference = candidate.length - reference.length
            total += similarity * math.exp(-(difference**2) / (2 * _SIGMA**2))
        return 10 * total / (ORDERS * len(references)) if references else 0.0
