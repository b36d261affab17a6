"""Word vectors as `torchtext.vocab.Vectors` reads them.

Shapes: N words of the file, n tokens asked for, D numbers of a vector.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..formats.vectors import Vector, VectorFile


class Vectors:
    """The vectors of a file in GloVe's, fastText's or word2vec's text form.

    Of a word that the file has twice, the last counts. Nothing is downloaded.

    Args:
        name: The file.
        unk_init: Makes the vector of a word that the file lacks, from a tensor of its size; None:
            zeros.
        max_vectors: Read so many lines at most: the most frequent words come first; None: all.

    Attributes:
        itos: The words (N,), in the file's order.
        stoi: The number of each word.
        vectors: Theirs (N, D).
        dim: D.

    Raises:
        DataError: There is no such file, or it holds something else.
    """

    def __init__(
        self,
        name: str | os.PathLike[str],
        *,
        unk_init: Callable[[Tensor], Tensor] | None = None,
        max_vectors: int | None = None,
    ) -> None:
        self.unk_init = torch.Tensor.zero_ if unk_init is None else unk_init
        file = VectorFile(os.fspath(name))
        self.dim = file.size
        self.itos: list[str] = []
        rows: list[Vector] = []
        for word, vector in file.rows():
            if max_vectors is not None and len(rows) >= max_vectors:
                break
            assert vector is not None
            self.itos.append(word)
            rows.append(vector)
        self.stoi = {word: number for number, word in enumerate(self.itos)}
        self.vectors = torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, self.dim)

    def __len__(self) -> int:
        return len(self.vectors)

    def __contains__(self, token: object) -> bool:
        return token in self.stoi

    def __getitem__(self, token: str) -> Tensor:
        """Return the vector (D,) of a token, or what `unk_init` makes.

        Args:
            token: The token.
        """
        number = self.stoi.get(token)
        return self.unk_init(torch.empty(self.dim)) if number is None else self.vectors[number]

    def get_vecs_by_tokens(
        self, tokens: str | Sequence[str], lower_case_backup: bool = False
    ) -> Tensor:
        """Return the vectors of tokens.

        Args:
            tokens: A token, or several.
            lower_case_backup: Look for a token that is not there in lower case.

        Returns:
            (D,) of one token, (n, D) of several.
        """
        several = [tokens] if isinstance(tokens, str) else list(tokens)
        if lower_case_backup:
            several = [token if token in self.stoi else token.lower() for token in several]
        found = [self[token] for token in several]
        if isinstance(tokens, str):
            return found[0]
        return torch.stack(found)
