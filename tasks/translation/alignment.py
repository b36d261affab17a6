"""Which words of a sentence belong to which of its translation, as the attention has it.

Shapes: S source symbols, T target symbols, the end symbol included.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_SPACE = "\u2581"


def word_numbers(symbols: Sequence[str], *, whole: bool) -> list[int]:
    """Return the number of the word that each symbol is a part of, from 0.

    Args:
        symbols: Subwords, of which one with a space before it begins a word; without the end.
        whole: They are words, each by itself.
    """
    numbers, word, written = [], 0, False
    for symbol in symbols:
        if written and (whole or symbol.startswith(_SPACE)):
            word, written = word + 1, False
        written = written or symbol != _SPACE  # several spaces are one
        numbers.append(word)
    # a space at the end begins no word
    return numbers if written or not word else [min(number, word - 1) for number in numbers]


def word_alignment(
    attention: Tensor, source: Sequence[int], target: Sequence[int]
) -> list[tuple[int, int]]:
    """Link each word of a translation with the word of the source that it looked at most.

    A word looks at another with the sum over that one's symbols, as its own symbols do on average.
    One that looked most at the source's end is linked with nothing.

    Args:
        attention: How much each target symbol looked at each source symbol (T, S).
        source: The source's words, by symbol, without the end: see `word_numbers`.
        target: The translation's, likewise.

    Returns:
        Pairs of words (source, target), from 0.
    """
    if not source or not target:
        return []
    end = source[-1] + 1
    words = torch.tensor([*source, end], device=attention.device)  # (S,)
    seen = attention.new_zeros(len(attention), end + 1).index_add_(1, words, attention)
    rows = torch.tensor(target, device=attention.device)  # without the end's row
    count = target[-1] + 1
    mean = seen.new_zeros(count, end + 1).index_add_(0, rows, seen[: len(target)])
    best = mean.argmax(1).tolist()
    return sorted((word, number) for number, word in enumerate(best) if word != end)


def looked_at(
    attention: Tensor, source: Sequence[int], spans: Sequence[tuple[int, int]], text: str
) -> list[str]:
    """Return the word of a sentence that each target symbol looked at most, as it is written there.

    Args:
        attention: How much each target symbol looked at each source symbol (T, S).
        source: The source's words, by symbol, without the end: see `word_numbers`.
        spans: Where each of these symbols begins and ends in the sentence.
        text: The sentence.
    """
    if not source:
        return [""] * len(attention)
    words = []
    for place in attention[:, : len(source)].argmax(1).tolist():
        parts = [span for span, word in zip(spans, source, strict=True) if word == source[place]]
        words.append(text[parts[0][0] : parts[-1][1]].strip())
    return words
