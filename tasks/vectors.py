"""Word vectors from outside, as what a model's own vectors begin with.

Shapes: V symbols, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from ..data.alphabet import Alphabet, alphabet
from ..data.formats.vectors import VectorFile
from ..errors import DataError, UsageError, some
from .model import Model

_TABLE = "embedding.weight"
_SPACE = "▁"


@runtime_checkable
class WordVectors(Protocol):
    """Vectors of words, as `torchtext.vocab.Vectors` and ours hold them.

    Attributes:
        stoi: The number of each word.
        vectors: The vectors, by number (words, D).
    """

    stoi: Mapping[str, int]
    vectors: Tensor


Found: TypeAlias = tuple[str, int, Mapping[str, Tensor]]
"""What the vectors are called, D, and those of the words that were looked for."""


def use_vectors(model: Model, vectors: str | WordVectors, part: str | None = None) -> str:
    """Begin with word vectors: a symbol that is one of their words has its vector.

    A word that they lack is looked for in lower case. Of subwords, those that begin a word, and
    signs, are looked for. All others stay as they are; all of them learn on.

    Args:
        model: The model, changed in place.
        vectors: A file in GloVe's, fastText's or word2vec's text form; or vectors that were read,
            as by `unrolled.data.torchtext.Vectors`.
        part: Which of the model's vocabularies it is about: `source` or `target` of translation;
            None: the only one.

    Returns:
        A line that says how many of the symbols have a vector.

    Raises:
        UsageError: The model has no such vocabulary, or vectors of another size.
        DataError: No word of the vocabulary has a vector, or the file holds none.
    """
    tables = {key: name for name, key in model.symbol_rows.items() if name.endswith(_TABLE)}
    if part is None and len(tables) == 1:
        part = next(iter(tables))
    if part not in tables:
        raise UsageError(f"part is {part}: the vectors are for one of {some(tables) or 'none'}.")
    table = model.get_parameter(tables[part])  # (V, D)
    symbols = alphabet(model.spec[part])
    words = words_of(symbols)
    wanted = set(words.values())
    wanted |= {word.lower() for word in wanted}
    label, size, found = _read(vectors, wanted.__contains__)
    if size != table.shape[1]:
        raise UsageError(
            f"{label} has vectors of {size:,} numbers, and the model's have {table.shape[1]:,}: "
            f"--model.embedding_size {size}."
        )
    exact = {row: found[word] for row, word in words.items() if word in found}
    lower = {
        row: found[word.lower()]
        for row, word in words.items()
        if row not in exact and word.lower() in found
    }
    rows = {**exact, **lower}
    count = len(symbols.names) - symbols.special
    if not rows:
        raise DataError(
            f"{label} has a vector of none of the {count:,} {symbols.kind} of the {part}: "
            "is it of this language?"
        )
    with torch.no_grad():
        index = torch.tensor(list(rows), device=table.device)
        table[index] = torch.stack(list(rows.values())).to(table)
    told = f", {len(lower):,} of them in lower case" if lower else ""
    return (
        f"vectors: {len(rows):,} of {count:,} {symbols.kind} of the {part} "
        f"({len(rows) / count:.1%}) begin with that of {label}{told}"
    )


def words_of(symbols: Alphabet) -> dict[int, str]:
    """Return what each symbol is called among words, by its number; nothing for parts of words.

    Args:
        symbols: The symbols.
    """
    named = dict(enumerate(symbols.names[symbols.special :], symbols.special))
    if symbols.kind == "subwords":
        return {
            row: name.removeprefix(_SPACE)
            for row, name in named.items()
            if (name.startswith(_SPACE) and len(name) > 1)
            or not any(letter.isalnum() for letter in name)
        }
    return {row: name.removeprefix(_SPACE) or name for row, name in named.items()}


def _read(vectors: str | WordVectors, wanted: Callable[[str], bool]) -> Found:
    if isinstance(vectors, str):
        file = VectorFile(vectors)
        rows = {row.word: row.vector for row in file.rows(wanted) if row.vector is not None}
        return file.label, file.size, {word: torch.from_numpy(row) for word, row in rows.items()}
    found = {word: vectors.vectors[row] for word, row in vectors.stoi.items() if wanted(word)}
    return type(vectors).__name__, vectors.vectors.shape[1], found
