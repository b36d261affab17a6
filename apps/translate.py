"""Translate a file, or standard input."""

from __future__ import annotations

import itertools
import queue
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ..checkpoints import find_checkpoint
from ..errors import UsageError, one_line
from .shell.models import open_model

_TOGETHER = 1024  # lines that are sorted by length and translated in batches


def translate(
    checkpoint: str,
    source: str = "-",
    *,
    beam_size: int | None = None,
    nbest: int = 1,
    scores: bool = False,
    length_penalty: float | None = None,
    max_length: int | None = None,
    no_repeat_ngram: int = 0,
    temperature: float | None = None,
    seed: int | None = None,
    batch_size: int = 64,
    device: str = "cpu",
    trust: str = "",
) -> None:
    """Translate a file, or standard input, line by line.

    Args:
        checkpoint: A checkpoint, or the folder of a run.
        source: A text file in UTF-8, one sentence a line (.gz and .xz as they are); - is standard
            input.
        beam_size: Hypotheses to keep; 1 is greedy search, null the model's own setting.
        nbest: How many translations of each line to write, each on a line of its own, the best
            first.
        scores: true: write the score and a tab before each translation.
        length_penalty: Exponent of the length that divides a log-probability; null the model's own
            setting.
        max_length: Subwords of a translation at most; null for twice the source's, and 10.
        no_repeat_ngram: No sequence of so many subwords comes twice in a translation; 0 for no such
            rule.
        temperature: Draw translations instead of searching the best; below 1 safer, above 1 wilder.
        seed: Makes drawing repeatable.
        batch_size: Sentences translated side by side; what is drawn depends on it, what a search
            finds does not.
        device: Where to run, for instance cpu or cuda.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    path = find_checkpoint(checkpoint)
    waiting = _lines(source)  # a file that does not exist is answered before torch is imported

    from ..tasks.translation.model import TranslationModel

    model = open_model(path, TranslationModel, "translate", device=device, trust=trust)
    # Drawing is repeatable where the same sentences are drawn together: what has arrived by now
    # must not count.
    groups = _as_they_come(waiting) if seed is None else _of_one_size(waiting)
    for number, texts in enumerate(groups):
        found = model.translations(
            texts,
            beam_size=beam_size,
            num_hypotheses=nbest,
            length_penalty=length_penalty,
            max_length=max_length,
            no_repeat_ngram=no_repeat_ngram,
            temperature=temperature,
            seed=None if seed is None else seed + number,
            batch_size=batch_size,
        )
        for row in found:
            # So many lines for every line, whatever the search found: the output stays aligned with
            # the input.
            for one in [*row, *[None] * (nbest - len(row))]:
                text = "" if one is None else one_line(one.text)
                print(f"{0.0 if one is None else one.score:.4f}\t{text}" if scores else text)
        sys.stdout.flush()


def _lines(source: str) -> Iterator[str]:
    from ..data.formats.folders import refuse_address
    from ..data.formats.packed import BLOCK_BYTES, read_blocks
    from ..data.tables import lines
    from ..data.translation.pairs import existing

    if source == "-":
        # Not through the buffer: a thread that waits there holds its lock, on which Python aborts
        # as the program ends.
        stream = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        return lines(iter(partial(stream.read, BLOCK_BYTES), b""), "standard input")
    refuse_address(source)
    if Path(source).expanduser().is_dir():
        raise UsageError(f"'{source}' is a folder: name a file of it, or - for standard input.")
    return lines(read_blocks(existing(source), f"'{source}'"), f"'{source}'")


def _of_one_size(lines: Iterator[str]) -> Iterator[list[str]]:
    while texts := list(itertools.islice(lines, _TOGETHER)):
        yield texts


def _as_they_come(lines: Iterator[str]) -> Iterator[list[str]]:
    """Yield the lines that are there, many at once from a file, one when a person types it."""
    waiting: queue.Queue[str | Exception | None] = queue.Queue(_TOGETHER)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
            waiting.put(None)
        except Exception as error:  # raised again where the lines are wanted
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    while True:
        ready = [waiting.get()]
        while isinstance(ready[-1], str) and len(ready) < _TOGETHER:
            try:
                ready.append(waiting.get_nowait())
            except queue.Empty:
                break
        if texts := [line for line in ready if isinstance(line, str)]:
            yield texts
        if isinstance(ready[-1], Exception):
            raise ready[-1]
        if ready[-1] is None:
            return
