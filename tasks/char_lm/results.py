"""How well each document of a test is predicted, though streams cut it into chunks.

Shapes: B rows of a batch, T steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...data.batch import TextBatch
from ...data.vocabulary import ByteVocabulary
from ..results import Records

COLUMNS = ("document", "name", "start", "symbols", "nats", "bits_per_character", "perplexity")


class ScoredPiece(NamedTuple):
    """Neighbouring pairs of one document.

    Attributes:
        start: The first pair's number in its part.
        end: The number after the last's.
        begins: Whether a document begins here.
        nats: The sum of their cross-entropies.
        characters: How many characters of the text their targets stand for.
    """

    start: int
    end: int
    begins: bool
    nats: float
    characters: int


def pieces_of(batch: TextBatch, nats: Tensor, characters: Tensor) -> Iterator[ScoredPiece]:
    """Yield the pieces of documents that a batch is made of.

    Args:
        batch: The batch; it has to know where its rows start.
        nats: The cross-entropy of each target (B, T).
        characters: How many characters each target stands for (B, T), on the CPU.
    """
    assert batch.start is not None
    begins = (batch.input == ByteVocabulary.END).cpu()
    wide = nats.cpu().double()
    for row, (first, length) in enumerate(
        zip(batch.start.tolist(), batch.lengths.tolist(), strict=True)
    ):
        cuts = (torch.nonzero(begins[row, 1:length]).flatten() + 1).tolist()
        for start, end in itertools.pairwise([0, *cuts, length]):
            if start < end:
                yield ScoredPiece(
                    first + start,
                    first + end,
                    bool(begins[row, start]),
                    float(wide[row, start:end].sum()),
                    int(characters[row, start:end].sum()),
                )


def merged(pieces: Iterable[ScoredPiece]) -> list[ScoredPiece]:
    """Put neighbours of one document together; what was given twice counts once.

    Args:
        pieces: Pieces in any order.
    """
    found: list[ScoredPiece] = []
    for piece in sorted(pieces):
        if found and piece.start < found[-1].end:
            continue
        if found and piece.start == found[-1].end and not piece.begins:
            last = found[-1]
            found[-1] = last._replace(
                end=piece.end,
                nats=last.nats + piece.nats,
                characters=last.characters + piece.characters,
            )
        else:
            found.append(piece)
    return found


def documents(pieces: Iterable[ScoredPiece], names: Sequence[str] | None) -> Records:
    """Return what each document of a part costs; a document's end is one of its symbols.

    Args:
        pieces: All pieces.
        names: The documents' names, where they are known.
    """
    records = []
    for number, piece in enumerate(merged(pieces), 1):
        mean, bits = piece.nats / (piece.end - piece.start), piece.nats / math.log(2)
        records.append(
            {
                "document": number,
                "name": names[number - 1] if names and number <= len(names) else None,
                "start": piece.start,
                "symbols": piece.end - piece.start,
                "nats": piece.nats,
                # unknown words alone have no characters
                "bits_per_character": bits / piece.characters if piece.characters else None,
                "perplexity": math.exp(min(mean, 700.0)),
            }
        )
    return Records(COLUMNS, records)
