"""Metrics of text."""

from __future__ import annotations

import logging
import math
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class BitsPerCharacter(Metric):
    """Mean cross-entropy over all characters seen, in bits.

    The batches' sums are kept apart and added in float64 at the end, over all processes, so neither
    the batch size, nor the chunk length, nor the number of processes changes the result.

    Examples:
        >>> bits = BitsPerCharacter()
        >>> bits.update(torch.tensor(8 * math.log(2)), 4)  # 8 bits for 4 characters
        >>> round(bits.compute().item(), 6)
        2.0
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    nats: list[Tensor]  # a list, not a float64 sum: Apple's GPUs have no float64
    characters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nats", default=[], dist_reduce_fx="cat")
        self.add_state(
            "characters", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum"
        )

    def update(self, nats: Tensor, characters: Tensor | int) -> None:
        """Add a batch.

        Args:
            nats: The sum of the characters' cross-entropies, in nats.
            characters: How many they are.
        """
        self.nats.append(nats.reshape(1))
        self.characters += characters

    def compute(self) -> Tensor:
        """Return the bits per character; not a number where nothing was counted."""
        if isinstance(self.nats, list) and not self.nats:
            return torch.full((), math.nan, device=self.device)
        nats = dim_zero_cat(self.nats).cpu().double().sum()
        return nats / self.characters.cpu() / math.log(2)


class SacreBLEU(Metric):
    """BLEU and chrF as sacreBLEU computes them, and exact matches.

    Post 2018 (https://arxiv.org/abs/1804.08771). Texts are brought into Unicode's NFC first: it
    does not matter how an accented letter was typed. The texts of all processes are scored
    together, so the number of processes does not change the result.

    Args:
        tokenize: sacreBLEU's tokenization: 13a, zh, ja-mecab, ko-mecab, char, intl, flores200,
            none.

    Attributes:
        can_tell: Whether BLEU can tell better from worse, as the last references were: not where it
            counts words and most of them are one, for it counts four in a row.

    Raises:
        ValueError: sacreBLEU has no such tokenization.

    Examples:
        >>> scores = SacreBLEU()
        >>> scores.update(["the cat sat on the mat"], ["the cat sat on a mat"])
        >>> {name: round(score.item(), 1) for name, score in scores.compute().items()}
        {'bleu': 53.7, 'chrf': 72.1, 'exact': 0.0}
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    # UTF-8, candidates and references in turn, each ended by a byte that UTF-8 never has
    texts: list[Tensor]

    def __init__(self, *, tokenize: str = "13a") -> None:
        super().__init__()
        if tokenize not in BLEU.TOKENIZERS:
            raise ValueError(
                f"tokenize={tokenize!r}: sacreBLEU has {', '.join(sorted(BLEU.TOKENIZERS))}"
            )
        try:
            self.bleu = BLEU(tokenize=tokenize)
            self._sentence_bleu = BLEU(tokenize=tokenize, effective_order=True)
        except (RuntimeError, ImportError) as error:  # sacreBLEU's message says what to install
            raise ValueError(f"tokenize={tokenize!r}: {' '.join(str(error).split())}") from error
        self.chrf = CHRF()
        self.by_words = tokenize in ("13a", "intl", "none")
        self.can_tell = True
        self.add_state("texts", default=[], dist_reduce_fx="cat")

    def update(self, candidates: Sequence[str], references: Sequence[str]) -> None:
        """Add sentences; a process without any adds none, but has to call.

        Args:
            candidates: Raw translations.
            references: One raw reference for each.
        """
        pairs = zip(candidates, references, strict=True)
        packed = b"".join(_encoded(text) + _END for pair in pairs for text in pair)
        self.texts.append(torch.tensor(bytearray(packed), dtype=torch.uint8, device=self.device))

    def compute(self) -> dict[str, Tensor]:
        """Return percents: `bleu`, `chrf`, `exact` (matches); all 0 where there is no sentence."""
        nothing = isinstance(self.texts, list) and not self.texts  # a tensor after `sync`
        packed = b"" if nothing else bytes(dim_zero_cat(self.texts).cpu().numpy())
        texts = [text.decode() for text in packed.split(_END)[:-1]]
        candidates, references = texts[::2], texts[1::2]
        if not candidates:
            return {name: torch.zeros(()) for name in ("bleu", "chrf", "exact")}
        single = sum(len(reference.split()) < 2 for reference in references)
        self.can_tell = not self.by_words or 2 * single <= len(references)
        with warnings.catch_warnings(), _silent("sacrebleu"):
            warnings.simplefilter("ignore")
            scores = {
                "bleu": self.bleu.corpus_score(candidates, [references]).score,
                "chrf": self.chrf.corpus_score(candidates, [references]).score,
            }
        matches = sum(
            one.strip() == other.strip() for one, other in zip(candidates, references, strict=True)
        )
        scores["exact"] = 100 * matches / len(candidates)
        return {name: torch.tensor(score, dtype=torch.float64) for name, score in scores.items()}

    def of_sentence(self, candidate: str, reference: str) -> tuple[float, float]:
        """Return BLEU and chrF of one sentence by itself, in percent.

        BLEU leaves out the orders that so short a sentence has no n-grams of, as sacreBLEU advises
        for sentences (`effective_order`); so the mean over sentences is not the BLEU of a text.

        Args:
            candidate: A raw translation.
            reference: Its raw reference.
        """
        with _silent("sacrebleu"):
            bleu = self._sentence_bleu.sentence_score(candidate, [reference]).score
            return bleu, self.chrf.sentence_score(candidate, [reference]).score

    def signatures(self) -> dict[str, str]:
        """Say in sacreBLEU's short form how the last scores were computed; after `compute`."""
        return {
            "bleu": f"BLEU|{self.bleu.get_signature()}",
            "chrf": f"chrF2|{self.chrf.get_signature()}",
        }


_END = b"\xff"


def _encoded(text: str) -> bytes:
    return unicodedata.normalize("NFC", text).encode("utf-8", "replace")


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep sacreBLEU from suggesting, at every validation, that the text were tokenized already."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
