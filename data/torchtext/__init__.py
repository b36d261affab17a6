"""What code written for torchtext goes on with: its vocabularies, tokenizers and vectors.

Everything here behaves as torchtext 0.18 does, its last version, which loads with torch 2.3 only;
none of it needs torchtext. See docs/torchtext.md. `vocab.vocab` is where torchtext has it, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy_names

if TYPE_CHECKING:
    from .tokenizers import basic_english as basic_english
    from .tokenizers import get_tokenizer as get_tokenizer
    from .vectors import Vectors as Vectors
    from .vocab import Vocab as Vocab
    from .vocab import build_vocab_from_iterator as build_vocab_from_iterator

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
