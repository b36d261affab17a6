"""Say how likely a model finds texts, translations or captions."""

from __future__ import annotations

import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import DataError, UsageError, a
from .shell.models import model_files, open_models
from .shell.records import Format, Output, format_of
from .shell.sparing import each

if TYPE_CHECKING:
    from ..tasks.char_lm.model import CharModel
    from ..tasks.model import Scored

By = Literal["line", "word", "character", "subword"]
_UNITS = {"characters": "character", "bytes": "character", "words": "word", "subwords": "subword"}
_TOGETHER = 1024
_OURS = ("log_probability", "symbols", "perplexity", "bits_per_character")
_SOURCES = ("source", "src", "input")
_TEXTS = ("translation", "hypothesis", "prediction", "target", "reference", "caption", "text")
_KEPT = ("file", "id", "rank", "image", "image_id")  # where there is a record for each symbol
_END = "</s>"
_IMAGES = ("image", "image_id", "file_name", "filename", "image_name", "path")


class _Item(NamedTuple):
    """A text to be scored.

    Attributes:
        record: What is known of it: its `id`, and the columns of a table.
        input: What it is about: a sentence or an image; None of a language model's text.
        text: The text; of a file of a language model with its line end.
    """

    record: dict[str, Any]
    input: Any
    text: str | DataError


def score(
    checkpoint: str,
    *files: str,
    by: By = "line",
    separate: bool = False,
    column: str | None = None,
    batch_size: int = 64,
    format: Format | None = None,
    out: str | None = None,
    device: str = "cpu",
    trust: str = "",
) -> None:
    """Say how likely a model finds texts, translations or captions, a record for each.

    Of a language model: text files, - is standard input. Of translation: a file of sources and one
    of translations, or a table with columns source and translation, as `translate --nbest 9 --out
    list.tsv` writes. Of captioning: a table with columns image and caption. Tables are .tsv, .csv,
    .json and .jsonl; their columns are kept, and where several texts have one id `rank` says how
    they compare.

    Args:
        checkpoint: A checkpoint, or the folder of a run; several of translation or captioning, with
            commas in between, speak as one: with the mean of their probabilities.
        *files: What to score, see above.
        by: A record for each line, word, character (of models of characters or bytes) or subword
            (of models of these).
        separate: Of a language model: score each line by itself; else it is read after those
            before it, with their line ends.
        column: Of a language model: the files are tables, and this column has the texts, each of
            which is scored by itself. Of others: the column of the translation or caption.
        batch_size: Texts side by side; the result does not depend on it.
        format: The form of the records; null: as the name of --out ends, else tsv.
        out: The file to write; null is standard output.
        device: Where to run, for instance cpu or cuda.
        trust: Packages of your own, with commas in between, whose classes the checkpoint may name.
    """
    paths = model_files(checkpoint)
    if batch_size < 1:
        raise UsageError(f"--batch_size {batch_size}: must be at least 1.")
    from .shell.texts import STANDARD_INPUT, existing_text

    for name in files:
        existing_text(name)
    if files.count(STANDARD_INPUT) > 1:
        raise UsageError("Standard input can be read once: name - for one file only.")

    from ..tasks.captioning.model import CaptioningModel
    from ..tasks.char_lm.model import CharModel
    from ..tasks.model import Model
    from ..tasks.translation.model import TranslationModel

    model = open_models(paths, Model, "score texts", device=device, trust=trust)
    if not isinstance(model, CharModel | TranslationModel | CaptioningModel):
        raise UsageError(f"'{paths[0]}' holds {a(type(model))}, which does not score texts.")
    unit = _UNITS[model.vocabulary.kind] if isinstance(model, CharModel) else "subword"
    if by in ("character", "subword") and by != unit:
        choices = "word" if unit == "word" else f"{unit}, word"
        raise UsageError(f"--by {by}: this model predicts {unit}s: --by {choices} or line.")
    if isinstance(model, CharModel):
        items = _table(files, column, None) if column else _lines(files)
        if column or separate:
            items = [one._replace(text=_without_end(one.text)) for one in items]
            found = _together(items, lambda some: model.score(_all(some), batch_size=batch_size))
        else:
            found = _running(items, model)
    else:
        about = _IMAGES if isinstance(model, CaptioningModel) else _SOURCES
        pairs = isinstance(model, TranslationModel) and len(files) == 2
        items = _parallel(*files) if pairs else _table(files, column, about)
        found = _together(
            items,
            lambda some: model.score(
                [one.input for one in some], _all(some), batch_size=batch_size
            ),
        )
    whole = model.vocabulary.kind in ("word", "words")
    output = Output(_columns(items, by), format or _form(out), out, [*files, *paths])
    _write(items, found, by, output, whole)


def _write(
    items: Sequence[_Item],
    found: Sequence[Scored | DataError],
    by: By,
    output: Output,
    whole: bool,
) -> None:
    """Write the records, and on standard error what all texts are worth together.

    Args:
        items: The texts.
        found: What the model says of each.
        by: What has a record.
        output: Where they go.
        whole: Whether the model's symbols are words.
    """
    ours = _ours(items, by)
    ranks = _ranks(items, found) if "rank" in ours else {}
    nats, symbols, letters = 0.0, 0, 0
    with output:
        for number, (item, scored) in enumerate(zip(items, found, strict=True)):
            record = {
                _renamed(name, ours): value
                for name, value in item.record.items()
                if by == "line" or name in _KEPT
            }
            if isinstance(scored, DataError):
                output.failed(record, scored)
                continue
            nats, letters = nats + sum(scored.log_probabilities), letters + len(str(item.text))
            symbols += len(scored.symbols)
            if by == "line":
                rank = {"rank": ranks[number]} if ranks else {}
                output.put({**record, **_summary(scored, str(item.text)), **rank})
                continue
            for place, (unit, value) in enumerate(_units(scored, by == "word" and not whole), 1):
                output.put({**record, **dict(zip(ours, (place, unit, value), strict=True))})
        if symbols:
            print(
                f"{len(items) - output.failures:,} text(s), {symbols:,} symbols: log-probability "
                f"{nats:.4f}, perplexity {_perplexity(nats, symbols):.4f} per symbol, "
                f"{-nats / math.log(2) / max(1, letters):.4f} bits per character",
                file=sys.stderr,
            )
        output.finish(len(items), "text(s)", "scored")


def _ours(items: Sequence[_Item], by: By) -> tuple[str, ...]:
    """Return the columns that are not the inputs'."""
    if by != "line":
        return ("place", by, "log_probability")
    several = len({str(item.record["id"]) for item in items}) < len(items)
    return (*_OURS, *(("rank",) if several else ()))


def _columns(items: Sequence[_Item], by: By) -> list[str]:
    ours = _ours(items, by)
    given = dict.fromkeys(name for item in items for name in item.record)
    kept = [name for name in given if by == "line" or name in _KEPT]
    return [*(_renamed(name, ours) for name in kept), *ours]


def _renamed(name: str, ours: Sequence[str]) -> str:
    """Return what a column of the input is called beside ours."""
    return f"given_{name}" if name in (*ours, "error") else name


def _form(out: str | None) -> Format:
    return (format_of(Path(out)) if out else None) or "tsv"


def _all(items: Sequence[_Item]) -> list[str]:
    return [str(item.text) for item in items]


def _without_end(text: str | DataError) -> str | DataError:
    return text if isinstance(text, DataError) else text.removesuffix("\n")


def _together(
    items: Sequence[_Item], work: Callable[[Sequence[_Item]], Sequence[Scored]]
) -> list[Scored | DataError]:
    """Score texts side by side; each by itself."""
    found: list[Scored | DataError] = []
    for first in range(0, len(items), _TOGETHER):
        some = items[first : first + _TOGETHER]
        results = iter(each(work, [one for one in some if isinstance(one.text, str)]))
        found += [one.text if isinstance(one.text, DataError) else next(results) for one in some]
    return found


def _running(items: Sequence[_Item], model: CharModel) -> list[Scored | DataError]:
    """Score the lines of files, each given those before it in its file."""
    found: list[Scored | DataError] = []
    characters = model.vocabulary.kind == "characters"
    for _, lines in itertools.groupby(items, key=lambda item: item.record.get("file")):
        some = list(lines)
        texts = [one.text if isinstance(one.text, str) else "" for one in some]
        for one, text, scored in zip(some, texts, model.score_stream(texts), strict=True):
            if isinstance(one.text, DataError):
                found.append(one.text)
            elif characters and len(scored.symbols) < len(text):  # read without them: no score
                unknown = sorted(set(text) - set(scored.symbols))
                what = f"has characters that the model never saw: {', '.join(map(repr, unknown))}"
                found.append(DataError(f"Line {one.record['id']} {what}."))
            else:
                found.append(scored)
    return found


def _lines(files: Sequence[str]) -> list[_Item]:
    """Return the lines of text files, with their ends."""
    items: list[_Item] = []
    for name in files:
        file = {"file": name} if len(files) > 1 else {}
        found, ended = _read(name)
        for number, line in enumerate(found, 1):
            last = number == len(found) and not ended
            text = line if isinstance(line, DataError) else line + ("" if last else "\n")
            shown = None if isinstance(line, DataError) else line
            items.append(_Item({**file, "id": number, "text": shown}, None, text))
    return items


def _read(name: str) -> tuple[list[str | DataError], bool]:
    """Return the lines of a text file, and whether the last of them has an end."""
    from ..data.tables import lines_or_errors
    from .shell.texts import text_blocks

    blocks, label = text_blocks(name)
    last = b""

    def passing() -> Iterator[bytes]:
        nonlocal last
        for block in blocks:
            last = block
            yield block

    found = list(lines_or_errors(passing(), label))
    return found, last.rstrip(b"\0").endswith(b"\n")  # UTF-16's end may have a zero behind it


def _parallel(sources: str, texts: str) -> list[_Item]:
    """Return the sentences of two files."""
    sides = [_read(name)[0] for name in (sources, texts)]
    if len(sides[0]) != len(sides[1]):
        raise DataError(
            f"'{sources}' has {len(sides[0]):,} lines and '{texts}' {len(sides[1]):,}: line n of "
            "one has to be the translation of line n of the other."
        )
    items = []
    for number, (source, text) in enumerate(zip(*sides, strict=True), 1):
        wrong = next((one for one in (source, text) if isinstance(one, DataError)), None)
        shown = {
            name: None if isinstance(one, DataError) else one
            for name, one in (("source", source), ("translation", text))
        }
        items.append(_Item({"id": number, **shown}, source, wrong or text))
    return items


def _table(files: Sequence[str], name: str | None, about: Sequence[str] | None) -> list[_Item]:
    """Return the texts of tables; what has failed in them has no text and is refused."""
    from ..data.captioning.finding import ImageFinder
    from .shell.reading import column, read_records, text_of

    items: list[_Item] = []
    for file in map(Path, files):
        records = read_records(file)
        text = column(records, (name.lower(),) if name else _TEXTS, file, "the texts")
        inputs = column(records, about, file, "what they are about") if about else None
        finder = ImageFinder(file, [file.parent], None)
        for number, record in enumerate(records, 1):
            said = text_of(record, text, file)
            given = str(record.get(inputs)) if inputs else None
            if about is _IMAGES and given and not Path(given).exists():
                found = finder.find(given)  # in the usual folders, as for training
                given = str(found[0] if len(found) == 1 else file.parent / given)
            known = {"file": str(file)} if len(files) > 1 else {}
            known |= {"id": record.get("id", number), **record}
            missing = DataError(f"'{file}', record {number} has no {text}.")
            items.append(_Item(known, given, missing if said is None else said))
    return items


def _ranks(items: Sequence[_Item], found: Sequence[Scored | DataError]) -> dict[int, int]:
    """Return the rank of each text among those of its id, the likeliest first."""
    groups: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for number, (item, scored) in enumerate(zip(items, found, strict=True)):
        if not isinstance(scored, DataError):
            key = str(item.record.get("file")), str(item.record["id"])
            groups[key].append((-sum(scored.log_probabilities), number))
    return {
        number: rank
        for group in groups.values()
        for rank, (_, number) in enumerate(sorted(group), 1)
    }


def _perplexity(nats: float, symbols: int) -> float:
    return math.exp(min(700.0, -nats / max(1, symbols)))


def _summary(scored: Scored, text: str) -> dict[str, Any]:
    nats, symbols = sum(scored.log_probabilities), len(scored.symbols)
    bits = -nats / math.log(2) / len(text) if text else None
    return dict(zip(_OURS, (nats, symbols, _perplexity(nats, symbols), bits), strict=True))


def _units(scored: Scored, words: bool) -> Iterator[tuple[str, float]]:
    """Yield the symbols of a text, or its words; of characters each with the space after it."""
    pairs = list(zip(scored.symbols, scored.log_probabilities, strict=True))
    if not words:
        yield from pairs
        return
    word, total = "", 0.0
    for symbol, value in pairs:
        starts = symbol.startswith("\u2581") or (word[-1:].isspace() and not symbol.isspace())
        if word and (starts or symbol == _END):
            yield word, total
            word, total = "", 0.0
        word, total = word + symbol, total + value
    if word:
        yield word, total
