"""Learn from parallel text which words a translator may use for which, and translate faster."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, UsageError, at_least, typed
from .shell.models import checkpoint_file

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.tokenizer import Subwords

_CHUNK = 4096  # pairs encoded at a time
_LONGEST = 256  # subwords of a side: what is longer is no sentence


def shortlist(
    output: str,
    checkpoint: str = "",
    *,
    source: str = "",
    target: str = "",
    frequent: int = 300,
    likely: int = 40,
    trust: str = "",
) -> None:
    """Learn a shortlist from parallel text, and write a checkpoint that has it.

    Then: unrolled translate NEW.ckpt --shortlist true. `fit` learns one by itself.

    Args:
        output: The checkpoint to write; it must not exist.
        checkpoint: A checkpoint of a translation model, or the folder of a run.
        source: The source sentences, one a line (.gz and .xz as they are), best those that the
            model was trained on.
        target: Their translations, line by line.
        frequent: How many of the most frequent target subwords may always be used.
        likely: How many target subwords each source subword may become.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    if not (checkpoint and source and target):
        raise UsageError(
            "Say what to write, and what to learn from: unrolled shortlist NEW.ckpt CKPT --source "
            "train.de --target train.en"
        )
    at_least(1, frequent=frequent, likely=likely)
    place = Path(output)
    if place.exists():
        raise UsageError(f"'{output}' exists: name a new file, or remove it first.")
    file = checkpoint_file(checkpoint)

    from ..core.seq2seq.shortlist import learn_shortlist
    from ..data.translation.pairs import file_pairs
    from ..loading import CheckedCheckpoint, load
    from ..tasks.translation.model import TranslationModel
    from ..tasks.translation.shortlist import KEY, LINKS, to_checkpoint
    from .run.folder.contents import save

    model = load(file, kind=TranslationModel, trust=trust)
    pairs = file_pairs(source, target)
    symbols, read, left_out = _symbols(pairs.read(), model.source, model.target, LINKS)
    if not len(symbols[1]):
        raise DataError(f"{pairs.name}: there is no pair of sentences to learn from.")
    sizes = model.source.size, model.target.size
    learnt = learn_shortlist(*symbols, sizes=sizes, frequent=frequent, likely=likely)
    content = CheckedCheckpoint(file, trust=trust).content
    save({**content, KEY: to_checkpoint(learnt)}, place.absolute())
    kinds = {"empty": left_out[0], f"longer than {_LONGEST} subwords": left_out[1]}
    kinds["beyond what is learnt from"] = read - sum(left_out) - len(symbols[1])
    said = "".join(f"; {count:,} {kind} left out" for kind, count in kinds.items() if count)
    print(f"{output}: a shortlist learnt from {len(symbols[1]):,} pairs{said}")
    print(f"Next: unrolled translate {typed(output)} --shortlist true")


def _symbols(
    pairs: Iterable[tuple[str, str]], source: Subwords, target: Subwords, most: int
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], int, tuple[int, int]]:
    """Return the arguments of `learn_shortlist`, pairs read, and those empty and too long."""
    import itertools

    import torch

    sides: tuple[list[int], list[int]] = ([], [])
    lengths: tuple[list[int], list[int]] = ([], [])
    waiting = iter(pairs)
    read, empty, long, links = 0, 0, 0, 0
    while links < most and (chunk := list(itertools.islice(waiting, _CHUNK))):
        read += len(chunk)
        encoded = zip(
            source.encode_batch([pair[0] for pair in chunk]),
            target.encode_batch([pair[1] for pair in chunk]),
            strict=True,
        )
        for pair in encoded:
            if not all(pair):
                empty += 1
            elif max(map(len, pair)) > _LONGEST:
                long += 1
            elif links < most:
                for ids, kept, counts in zip(pair, sides, lengths, strict=True):
                    kept += [*ids, source.END]
                    counts.append(len(ids) + 1)
                links += lengths[0][-1] * lengths[1][-1]
    read += sum(1 for _ in waiting)
    left, right = sides
    return (
        (
            torch.tensor(left),
            torch.tensor(lengths[0]),
            torch.tensor(right),
            torch.tensor(lengths[1]),
        ),
        read,
        (empty, long),
    )
