"""Pairs of sentences as ids on disk: encoded once, memory-mapped ever after.

Shapes: N pairs, B rows of a batch, S source steps, T target steps.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch

from ...errors import DataError
from ..arrays import Array, ArrayFile, array_writer
from ..batch import TranslationBatch
from ..cache import cached, key_of
from ..formats.letters import folded
from ..tokenizer import Subwords
from .pairs import Pairs

_FORMAT = 2  # of the files in the cache: raise it when they change
_CHUNK = 16384  # pairs encoded at a time
_LOOKED_AT = 1_000_000  # symbols
_NAMED = 4  # positions kept of each kind of pair that was left out
_FILES, _ROWS, _SURVEY = ("source.npy", "target.npy", "text.npy"), "rows.npy", "survey.json"


class PairSurvey(TypedDict):
    """What was found while pairs were encoded: numbers of pairs, and the first of their positions.

    Attributes:
        pairs: Pairs that are kept.
        empty: Pairs with an empty side: left out of training, kept in evaluation.
        long: Pairs with a side that is too long: left out of training.
        same: Pairs whose source and target are the same text.
    """

    pairs: int
    empty: tuple[int, list[int]]
    long: tuple[int, list[int]]
    same: tuple[int, list[int]]


class PairFiles:
    """Encoded pairs, read as batches. They travel to other processes as paths.

    Args:
        folder: Where they are; its name changes whenever they do.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.survey: PairSurvey = json.loads((folder / _SURVEY).read_text(encoding="utf-8"))
        self._source, self._target = (ArrayFile(folder / name, np.int64) for name in _FILES[:2])
        self._text = ArrayFile(folder / _FILES[2])
        rows = np.load(folder / _ROWS, mmap_mode="r")  # (5, N + 1)
        self._source_ends, self._target_ends, self._text_ends = rows[:3]
        self._digests = rows[3, 1:], rows[4, 1:]

    def __len__(self) -> int:
        return self.survey["pairs"]

    def __reduce__(self) -> tuple[type[PairFiles], tuple[Path]]:
        return PairFiles, (self.folder,)

    @property
    def lengths(self) -> tuple[Array, Array]:
        """Ids of each source and of each target, end symbols included, (N,) each."""
        return np.diff(self._source_ends), np.diff(self._target_ends)

    def unknown(self) -> tuple[float, float]:
        """Return the share of unknown symbols in the sources and the targets, of a million each."""
        shares = [
            float((ids == Subwords.UNKNOWN).sum() / max((ids != Subwords.END).sum(), 1))
            for ids in (self._source[:_LOOKED_AT], self._target[:_LOOKED_AT])
        ]
        return shares[0], shares[1]

    @property
    def digests(self) -> tuple[Array, Array]:
        """Two numbers for each pair, (N,) each: one of the source, one of the whole pair.

        They are (nearly certainly) others for texts that differ in more than capitals and blanks.
        """
        return self._digests

    def source_ids(self, number: int) -> list[int]:
        """Return the ids of a source, without the end symbol.

        Args:
            number: The pair's number.
        """
        ids: list[int] = self._source[slice(*self._source_ends[number : number + 2])][:-1].tolist()
        return ids

    def target_text(self, number: int) -> str:
        """Return a target as it was read.

        Args:
            number: The pair's number.
        """
        return self._text[slice(*self._text_ends[number : number + 2])].tobytes().decode("utf-8")

    def symbols(self, most: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the ids of pairs one after another; see `TranslationData.training_symbols`.

        Args:
            most: The sum of the pairs' products of lengths at most.
        """
        source, target = self.lengths
        links = int((source * target).sum())
        count = len(self) if links <= most else int(len(self) * most / links)
        chosen = np.arange(count) * len(self) // max(count, 1)
        rows = [self[chosen[first : first + _CHUNK]] for first in range(0, count, _CHUNK)]
        none = torch.zeros(0, dtype=torch.int64)

        def joined(sides: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
            real = [ids[torch.arange(ids.shape[1]) < n[:, None]] for ids, n in sides]
            return torch.cat([none, *real])

        return (
            joined([(row.source, row.source_lengths) for row in rows]),
            torch.cat([none, *(row.source_lengths for row in rows)]),
            joined([(row.target, row.target_lengths) for row in rows]),
            torch.cat([none, *(row.target_lengths for row in rows)]),
        )

    def __getitem__(self, numbers: Array) -> TranslationBatch:
        """Return the batch of pairs; there may be none of them."""
        source, source_lengths = _rows(self._source, self._source_ends, numbers)
        target, target_lengths = _rows(self._target, self._target_ends, numbers)
        return TranslationBatch(
            source=source,
            source_lengths=source_lengths,
            target=target,
            target_lengths=target_lengths,
            number=torch.from_numpy(np.array(numbers, dtype=np.int64)),
            reference=tuple(self.target_text(int(number)) for number in numbers),
        )


def _rows(tokens: ArrayFile, ends: Array, numbers: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ids of pairs, (B, longest), padded with 0, and their lengths, (B,)."""
    first = np.asarray(ends[numbers], dtype=np.int64)
    lengths = np.asarray(ends[np.asarray(numbers) + 1], dtype=np.int64) - first
    steps = np.arange(lengths.max(initial=1))
    past = steps >= lengths[:, None]
    ids = tokens[np.where(past, 0, first[:, None] + steps)]
    ids[past] = Subwords.PAD
    return torch.from_numpy(ids), torch.from_numpy(lengths)


def encode_pairs(
    pairs: Pairs, source: Subwords, target: Subwords, folder: Path, *, longest: int, train: bool
) -> PairFiles:
    """Return pairs as ids, from the cache if they were encoded before.

    Args:
        pairs: The pairs.
        source: The source's vocabulary.
        target: The target's.
        folder: The cache.
        longest: Subwords that a side may have.
        train: Leave out pairs that are empty or too long; otherwise an empty one is kept and a long
            one is refused.

    Raises:
        DataError: No pair is left, or one is too long for evaluation.
    """
    key = key_of(_FORMAT, pairs.identity, source.to_spec(), target.to_spec(), longest, train)
    return PairFiles(
        cached(
            folder / f"pairs-{key}",
            lambda made: _encode(pairs, (source, target), made, longest, train),
        )
    )


def _encode(
    pairs: Pairs, vocabularies: tuple[Subwords, Subwords], folder: Path, longest: int, train: bool
) -> None:
    folder.mkdir()
    dtypes = [np.dtype(np.min_scalar_type(each.size - 1)) for each in vocabularies]
    numbers: dict[str, list[int]] = {"empty": [], "long": [], "same": []}
    columns: list[list[int]] = [[0], [0], [0], [0], [0]]
    first = 0
    with ExitStack() as stack:
        writers = [
            stack.enter_context(array_writer(folder / name, dtype))
            for name, dtype in zip(_FILES, [*dtypes, np.dtype(np.uint8)], strict=True)
        ]
        for chunk in _chunks(pairs.read()):
            encoded = [
                each.encode_batch(side)
                for each, side in zip(vocabularies, zip(*chunk, strict=True), strict=True)
            ]
            kept: list[int] = []
            for index, (texts, source, target) in enumerate(zip(chunk, *encoded, strict=True)):
                number = first + index
                numbers["empty"] += [number] * (not source or not target)
                numbers["same"] += [number] * (bool(source) and texts[0] == texts[1])
                if max(len(source), len(target)) > longest:
                    numbers["long"].append(number)
                    if not train:
                        raise DataError(_too_long(pairs, number, len(source), len(target), longest))
                elif not train or (source and target):
                    kept.append(index)
            first += len(chunk)
            texts_kept = [chunk[index][1].encode("utf-8", "replace") for index in kept]
            for side, dtype, add, ends in zip(encoded, dtypes, writers, columns, strict=False):
                add(np.fromiter(_ended(side, kept), dtype))
                _extend(ends, [len(side[index]) + 1 for index in kept])
            writers[2](np.frombuffer(b"".join(texts_kept), np.uint8))
            _extend(columns[2], [len(text) for text in texts_kept])
            columns[3] += [_digest(chunk[index][0]) for index in kept]
            columns[4] += [_digest(*chunk[index]) for index in kept]
        if len(columns[0]) == 1:
            raise DataError(
                f"{pairs.name} leaves no pair: {first:,} were read, {_left_out(pairs, numbers)}."
            )
        writers[2](np.zeros(1, np.uint8))  # an array of nothing can't be memory-mapped
    np.save(folder / _ROWS, np.array(columns, dtype=np.int64))
    named = {kind: (len(found), found[:_NAMED]) for kind, found in numbers.items()}
    survey = {"pairs": len(columns[0]) - 1, **named}
    (folder / _SURVEY).write_text(json.dumps(survey), encoding="utf-8")


def _chunks(pairs: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    while chunk := list(itertools.islice(pairs, _CHUNK)):
        yield chunk


def _ended(ids: Sequence[list[int]], kept: list[int]) -> Iterator[int]:
    for index in kept:
        yield from ids[index]
        yield Subwords.END


def _extend(ends: list[int], lengths: list[int]) -> None:
    ends += list(itertools.accumulate(lengths, initial=ends[-1]))[1:]


def _digest(*texts: str) -> int:
    data = "\0".join(map(folded, texts)).encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little", signed=True)


def _too_long(pairs: Pairs, number: int, source: int, target: int, longest: int) -> str:
    side, length = next(
        pair for pair in zip(pairs.sides, (source, target), strict=True) if pair[1] > longest
    )
    return (
        f"{side}, {pairs.where([number])} has {length:,} subwords; evaluation reads "
        f"{longest:,} at most.\n"
        "Is it one sentence? Split or remove it (in the other file as well), or raise "
        "--data.max_length."
    )


def _left_out(pairs: Pairs, numbers: dict[str, list[int]]) -> str:
    kinds = {"empty": "empty", "long": "too long"}
    return ", ".join(f"{len(numbers[kind]):,} {named}" for kind, named in kinds.items())
