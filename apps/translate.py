"""Translate a file, or standard input."""

from __future__ import annotations

import math
import os
import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from ..errors import DataError, UsageError, at_least
from .shell.models import model_files, open_models
from .shell.products import products
from .shell.records import Format, Output
from .shell.sparing import each

if TYPE_CHECKING:
    from ..tasks.translation.model import Translated

_FOUND = ("translation", "score", "log_probability", "unknown")
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
    min_length: int = 0,
    prefix: str = "",
    no_repeat_ngram: int = 0,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    seed: int | None = None,
    unknown: Literal["mark", "copy"] | None = None,
    alignments: str | None = None,
    shortlist: bool = False,
    int8: bool = False,
    batch_size: int = 64,
    format: Format | None = None,
    out: str | None = None,
    device: str = "cpu",
    trust: str = "",
) -> None:
    """Translate a file, or standard input, line by line.

    A line that can't be translated leaves an empty one; the exit code is then 3, after all others.

    Args:
        checkpoint: A checkpoint, or the folder of a run; several, with commas in between, speak as
            one: with the mean of their probabilities.
        source: A text file in UTF-8, one sentence a line (.gz and .xz as they are); - is standard
            input.
        beam_size: Hypotheses to keep; 1 is greedy search, null the model's own setting.
        nbest: How many translations of each line to write, each on a line of its own, the best
            first.
        scores: true: write the score and a tab before each translation; nan where there is nothing
            that the model knows.
        length_penalty: Exponent of the length that divides a log-probability; null the model's own
            setting.
        max_length: Subwords of a translation at most; null for twice the source's, and 10.
        min_length: Subwords of a translation at least.
        prefix: What each translation begins with.
        no_repeat_ngram: No sequence of so many subwords comes twice in a translation; 0 for no such
            rule.
        temperature: Draw translations instead of searching the best; below 1 safer, above 1 wilder;
            null for 1 where one of the next three is given. --nbest draws so many.
        top_k: Draw from the so many likeliest only.
        top_p: Draw from the fewest likeliest that have this probability together.
        min_p: Draw from those that are at least this share as likely as the likeliest.
        seed: Makes drawing repeatable.
        unknown: What is written for words that the model does not know: mark for <unk>, copy for
            the source's word that it looked at most; null for nothing.
        alignments: A file for the words that belong together, a line for each translation: 0-0 1-2,
            source and target counted from 0 (Pharaoh's form).
        shortlist: true: write with the likeliest translations of a line's subwords, and with the
            most frequent subwords, alone: faster, and now and then another translation. Scores are
            those among them.
        int8: true: take matrix products in 8 bits: faster on processors with AVX-512 and VNNI,
            and now and then another translation. Scores are rounded with them.
        batch_size: Sentences translated side by side; what is drawn depends on it, what a search
            finds does not.
        format: Write records instead of lines: each line's number, itself, its translation, or what
            went wrong; null: as the name of --out ends, .tsv, .csv, .json or .jsonl, else lines.
        out: The file to write; null is standard output.
        device: Where to run, for instance cpu or cuda.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    at_least(1, nbest=nbest, batch_size=batch_size)
    paths = model_files(checkpoint)
    waiting = _lines(source)  # a file that does not exist is answered before torch is imported
    columns = ("id", *(("rank",) if nbest > 1 else ()), "source", *_FOUND)
    output = Output(columns, format, out, [source, *paths])
    aligned = _Alignments(alignments, out, [source, *paths], nbest)

    from ..tasks.translation.model import TranslationModel

    multiplied = products(int8, paths, device)
    model = open_models(paths, TranslationModel, "translate", device=device, trust=trust)
    if shortlist and model.shortlist is None:
        raise UsageError(
            f"{checkpoint} has no shortlist: learn one from the text that it was trained on, "
            f"unrolled shortlist NEW.ckpt {paths[0]} --source FILE --target FILE"
        )
    # Drawing is repeatable where the same sentences are drawn together: what has arrived by now
    # must not count.
    groups = _as_they_come(waiting) if seed is None else _of_one_size(waiting)
    total, strange, unread = 0, 0, 0
    with multiplied, output, aligned:
        for number, texts in enumerate(groups):
            found = each(
                partial(
                    model.translations,
                    beam_size=beam_size,
                    num_hypotheses=nbest,
                    length_penalty=length_penalty,
                    max_length=max_length,
                    min_length=min_length,
                    prefix=prefix,
                    no_repeat_ngram=no_repeat_ngram,
                    temperature=temperature,
                    top_k=top_k,
                    top_p=top_p,
                    min_p=min_p,
                    seed=None if seed is None else seed + number,
                    unknown=unknown,
                    shortlist=shortlist,
                    attention=alignments is not None,
                    batch_size=batch_size,
                ),
                [text for text in texts if isinstance(text, str)],
            )
            results = iter(found)
            for text in texts:
                total += 1
                result = next(results) if isinstance(text, str) else text
                _write(output, total, text, result, nbest, scores)
                aligned.write(total, [] if isinstance(result, DataError) else result)
                if not isinstance(result, DataError) and result[0].unknown:
                    strange += 1
                    unread += math.isnan(result[0].score)
            output.flush()
        if strange:
            more = f", and {unread:,} of them nothing that it knows" if unread else ""
            print(
                f"unrolled: {strange:,} of {total:,} line(s) hold what the model does not know"
                f"{more}" + ("" if unknown else "; see --unknown"),
                file=sys.stderr,
            )
        output.finish(total, "line(s)", "translated")


def _write(
    output: Output,
    number: int,
    source: str | DataError,
    result: list[Translated] | DataError,
    nbest: int,
    scores: bool,
) -> None:
    """Write what came of a line: in lines as many as were asked for, whatever the search found.

    So the output stays aligned with the input.
    """
    record = {"id": number, "source": source if isinstance(source, str) else None}
    nothing = ("nan", "") if scores else ("",)
    if isinstance(result, DataError):
        output.failed(record, _placed(result, number), nothing)
        found, missing = [], nbest - 1
    else:
        found, missing = result, nbest - len(result)
    for rank, one in enumerate(found, 1):
        ranked = {"rank": rank} if nbest > 1 else {}
        values = one.text, one.score, one.log_probability, one.unknown
        said = dict(zip(_FOUND, values, strict=True))
        line = (f"{one.score:.4f}", one.text) if scores else (one.text,)
        output.put({**record, **ranked, **said}, line)
    if output.lines:
        for _ in range(missing):
            output.put({}, nothing)


class _Alignments:
    """The file of the words that belong together: a line for each line of translations.

    Args:
        place: The file; None: there is none.
        out: Where the translations go.
        inputs: Files that must not be overwritten.
        nbest: How many translations each line has.

    Raises:
        UsageError: The file can't be written there.
    """

    def __init__(
        self,
        place: str | None,
        out: str | None,
        inputs: Sequence[str | os.PathLike[str]],
        nbest: int,
    ) -> None:
        if place is not None and Path(place).absolute() == Path(out or "-").absolute():
            raise UsageError(f"--alignments {place}: the translations go there: name another file.")
        self._output = None
        if place is not None:
            columns = ("id", "rank", "alignment")
            self._output = Output(columns, None, place, inputs, "--alignments")
        self._nbest = nbest

    def __enter__(self) -> Self:
        if self._output:
            self._output.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._output:
            self._output.__exit__(kind, error, traceback)

    def write(self, number: int, found: Sequence[Translated]) -> None:
        """Write those of a line.

        Args:
            number: The line's.
            found: Its translations; fewer than were asked for have empty lines in their places.
        """
        if not self._output:
            return
        for rank in range(1, self._nbest + 1):
            links = (found[rank - 1].alignment or []) if rank <= len(found) else []
            said = " ".join(f"{source}-{target}" for source, target in links)
            if self._output.lines or rank <= max(1, len(found)):
                self._output.put({"id": number, "rank": rank, "alignment": said}, (said,))
        self._output.flush()


def _placed(error: DataError, number: int) -> DataError:
    """Say which line an error is about."""
    said = str(error)
    return error if f"line {number} " in said else DataError(f"Line {number}: {said}")


def _lines(source: str) -> Iterator[str | DataError]:
    from ..data.tables import lines_or_errors
    from .shell.texts import text_blocks

    return lines_or_errors(*text_blocks(source))


class _End(NamedTuple):
    """The end of the lines: of all of them, or where no more can be read."""

    error: Exception | None


def _of_one_size(lines: Iterator[str | DataError]) -> Iterator[list[str | DataError]]:
    texts: list[str | DataError] = []
    for line in _ended(lines):
        if not isinstance(line, _End):
            texts.append(line)
        if texts and (isinstance(line, _End) or len(texts) == _TOGETHER):
            yield texts
            texts = []
        if isinstance(line, _End) and line.error:
            raise line.error


def _as_they_come(lines: Iterator[str | DataError]) -> Iterator[list[str | DataError]]:
    """Yield the lines that are there, many at once from a file, one when a person types it."""
    waiting: queue.Queue[str | DataError | _End] = queue.Queue(_TOGETHER)

    def read() -> None:
        for line in _ended(lines):
            waiting.put(line)

    threading.Thread(target=read, daemon=True).start()
    while True:
        ready = [waiting.get()]
        while not isinstance(ready[-1], _End) and len(ready) < _TOGETHER:
            try:
                ready.append(waiting.get_nowait())
            except queue.Empty:
                break
        if texts := [line for line in ready if not isinstance(line, _End)]:
            yield texts
        if isinstance(end := ready[-1], _End):
            if end.error:
                raise end.error
            return


def _ended(lines: Iterator[str | DataError]) -> Iterator[str | DataError | _End]:
    """Yield the lines and their end: an error must not take those with it that came before."""
    try:
        yield from lines
    except Exception as error:  # raised again where the lines are wanted
        yield _End(error)
    else:
        yield _End(None)
