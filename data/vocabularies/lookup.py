"""What `torchtext.vocab.Vocab` answers, for any vocabulary that says what its ids are called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import Protocol

from ...errors import DataError, quoted


class Words(Protocol):
    """What gives its tokens in the order of their ids, as a `torchtext.vocab.Vocab` and ours do."""

    def get_itos(self) -> list[str]:
        """Return the tokens."""


class NotInVocabulary(DataError, RuntimeError):
    """A token or an id that a vocabulary does not have; a RuntimeError, as torchtext raises."""


class TokenLookup(ABC):
    """Tokens by id and ids by token, under the names of `torchtext.vocab.Vocab`.

    A token that the vocabulary lacks has the default index; there is an error where none was set.
    """

    _default_index: int | None = None

    @abstractmethod
    def _named(self) -> list[str]:
        """Return what the ids are called, in their order; all different."""

    @cached_property
    def _tokens(self) -> list[str]:
        return self._named()

    @cached_property
    def _ids_of_tokens(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self._tokens)}

    def get_itos(self) -> list[str]:
        """Return the tokens in the order of their ids."""
        return list(self._tokens)

    def get_stoi(self) -> dict[str, int]:
        """Return the id of each token."""
        return dict(self._ids_of_tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids_of_tokens

    def __getitem__(self, token: str) -> int:
        """Return the id of a token.

        Args:
            token: The token.

        Raises:
            NotInVocabulary: There is no such token, and no default index.
        """
        found = self._ids_of_tokens.get(token, self._default_index)
        if found is None:
            raise NotInVocabulary(
                f"The vocabulary has no token '{quoted(token)}', and no default index is set."
            )
        return found

    def __call__(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens, as `lookup_indices`."""
        return self.lookup_indices(tokens)

    def forward(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens, as `lookup_indices`."""
        return self.lookup_indices(tokens)

    def lookup_indices(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens.

        Args:
            tokens: The tokens.

        Raises:
            NotInVocabulary: One of them is not there, and no default index is set.
        """
        return [self[token] for token in tokens]

    def lookup_token(self, index: int) -> str:
        """Return the token of an id.

        Args:
            index: The id.

        Raises:
            NotInVocabulary: There is no such id.
        """
        if not 0 <= index < len(self):
            raise NotInVocabulary(f"The vocabulary has the ids 0 to {len(self) - 1}, not {index}.")
        return self._tokens[index]

    def lookup_tokens(self, indices: Iterable[int]) -> list[str]:
        """Return the tokens of ids.

        Args:
            indices: The ids.

        Raises:
            NotInVocabulary: There is no such id.
        """
        return [self.lookup_token(index) for index in indices]

    def set_default_index(self, index: int | None) -> None:
        """Say which id a token has that is not there.

        Args:
            index: The id; None: it is an error.
        """
        self._default_index = index

    def get_default_index(self) -> int | None:
        """Return the id that a token has that is not there; None: it is an error."""
        return self._default_index
