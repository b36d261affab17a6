"""What a run's model says: texts that it writes, and what it said in a test."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from ...errors import UnrolledError
from ...tasks.char_lm.model import CharModel
from ...tasks.char_lm.writing import as_text
from .html import Content, Html, element, joined, table
from .runs import RunSummary
from .tested import Row, Tested

LENGTH = 400  # characters of a text
_SHOWN = 6  # of the first, and of the worst
_CELL = 300  # characters of a cell
_MOST = 24  # classes of a confusion matrix
_TEXTS = {
    "id",
    "source",
    "reference",
    "hypothesis",
    "caption",
    "references",
    "name",
    "class",
    "video",
}
_LONG_NUMBER = re.compile(r"-?\d{1,15}\.\d{3,20}")
_TEXTS_AT_MOST = 6
_WRITTEN = ((0.5, 1), (1.0, 1))  # temperature and seed of each text


def written(run: RunSummary) -> list[tuple[str, list[str]]]:
    """Return texts that a language model writes, the same each time, with how they were made.

    They are as many as fill `LENGTH`: one of a model of books, several of a model of names.

    Args:
        run: The run; one of another task writes nothing.
    """
    if not isinstance(run.model, CharModel):
        return []
    found = []
    for temperature, seed in _WRITTEN:
        texts = run.model.generate(
            [""] * _TEXTS_AT_MOST, length=LENGTH, temperature=temperature, seed=seed
        )
        kept: list[str] = []
        for text in texts:
            if text and sum(map(len, kept)) < LENGTH:
                kept.append(as_text(text))
        found.append((f"temperature {temperature}, seed {seed}", kept))
    return found


def samples(run: RunSummary, texts: Sequence[tuple[str, list[str]]]) -> Html:
    """Return what a run's model said, as far as it is known.

    Args:
        run: The run.
        texts: What `written` returned.
    """
    parts: list[Content] = [
        [
            element("h3", f"It writes ({how})"),
            [element("pre", text, class_="text") for text in each] or element("p", "Nothing."),
        ]
        for how, each in texts
    ]
    if run.tested:
        for show in (_translations, _captions, _videos, _classes, _confusion, _documents):
            try:
                parts.append(show(run.tested))
            except UnrolledError as error:
                run.missing.append(f"Samples: {error}")
    return joined(parts)


def first_and_worst(
    rows: Iterable[Row], key: str, *, lowest: bool = True
) -> tuple[list[Row], list[Row], int]:
    """Return the first rows of a table, those that a number is worst of, and how many there are.

    Args:
        rows: The rows.
        key: The number's name.
        lowest: Whether the lowest is the worst.
    """
    first: list[Row] = []
    worst: list[tuple[float, int, Row]] = []
    count = 0
    for count, row in enumerate(rows, 1):
        if count <= _SHOWN:
            first.append(row)
        try:
            value = float(row.get(key, ""))
        except ValueError:
            continue
        worst.append((value if lowest else -value, count, row))
        if len(worst) > 50 * _SHOWN:
            worst = sorted(worst, key=lambda one: one[:2])[:_SHOWN]
    ranked = sorted(worst, key=lambda one: one[:2])[:_SHOWN]
    return first, [row for _, _, row in ranked], count


def _listed(rows: Sequence[Row], columns: Sequence[str], caption: str) -> Html:
    columns = [name for name in columns if any(row.get(name) for row in rows)]
    cells = [[_shown(name, row.get(name, "")) for name in columns] for row in rows]
    return table(columns, cells, caption)


def _shown(name: str, text: str) -> str:
    """Return a cell: a text's beginning, or a number with as many digits as say something."""
    if name not in _TEXTS and _LONG_NUMBER.fullmatch(text):
        return f"{float(text):.2f}" if abs(float(text)) >= 10 else f"{float(text):.4f}"
    return text if len(text) <= _CELL else f"{text[:_CELL]}…"


def _translations(tested: Tested) -> Content:
    first, worst, count = first_and_worst(tested.table("translations.tsv"), "chrf")
    columns = ("id", "source", "reference", "hypothesis", "bleu", "chrf")
    return _both(first, worst, count, columns, "translations", "lowest sentence chrF")


def _documents(tested: Tested) -> Content:
    rows = tested.table("documents.tsv")
    first, worst, count = first_and_worst(rows, "bits_per_character", lowest=False)
    columns = ("document", "name", "symbols", "bits_per_character", "perplexity")
    return _both(first, worst, count, columns, "documents", "most bits per character")


def _videos(tested: Tested) -> Content:
    first, worst, count = first_and_worst(tested.table("videos.tsv"), "acc")
    columns = [name for name in (first[0] if first else ()) if name != "file"][:9]
    return _both(first, worst, count, columns, "videos", "lowest accuracy")


def _both(
    first: list[Row], worst: list[Row], count: int, columns: Sequence[str], noun: str, key: str
) -> Content:
    if not first:
        return None
    told = f"The first {len(first):,} of {count:,} in the order of the data" if count > 1 else None
    parts: list[Content] = [
        element("h3", f"{noun.capitalize()} of the test"),
        _listed(first, columns, told or "The only one"),
    ]
    if count > len(first) and worst:
        parts.append(_listed(worst, columns, f"The {len(worst)} with the {key}"))
    return parts


def _captions(tested: Tested) -> Content:
    rows = tested.table("captions.tsv")
    first = [
        {**row, "references": _lines(row.get("references", ""))}
        for row in itertools.islice(rows, 2 * _SHOWN)
    ]
    count = len(first) + sum(1 for _ in rows)
    columns = [name for name in ("image_id", "image") if any(row.get(name) for row in first)]
    columns += ["caption", "references"]
    return _both(first, [], count, columns, "captions", "")


def _lines(text: str) -> str:
    """Return a list in JSON as lines; what was cut off, or is none, as it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return "\n".join(map(str, found)) if isinstance(found, list) else text


def _classes(tested: Tested) -> Content:
    rows = list(itertools.islice(tested.table("classes.tsv"), 200))
    columns = ("class", "frames", "precision", "recall", "f1", "average_precision", "f1@50")
    return _listed(rows, columns, "Each class, of frames in percent") if rows else None


def _confusion(tested: Tested) -> Content:
    """Return the confusion matrix, each row's shares as shades; a table, so that it can be read."""
    rows = list(itertools.islice(tested.table("confusion.tsv"), _MOST + 1))
    if not rows:
        return None
    names = [name for name in rows[0] if name != "truth"]
    if len(rows) > _MOST:
        return element("p", f"The confusion matrix has more than {_MOST} classes: confusion.tsv.")
    head = ["truth", *(name.removeprefix("predicted ") for name in names)]
    body = [element("tr", [element("th", name, scope="col") for name in head])]
    for row in rows:
        counts = [_count(row.get(name, "")) for name in names]
        whole = sum(counts) or 1
        cells = [
            element(
                "td",
                f"{n:,}" if n else "",
                style=f"background:rgba(var(--mark),{0.6 * n / whole:.2f})",
            )
            for n in counts
        ]
        body.append(element("tr", element("th", row.get("truth", ""), scope="row"), cells))
    said = "Frames by their class (rows) and what they were taken for (columns)"
    inner = element("table", element("caption", said), element("tbody", body), class_="confusion")
    return element("div", inner, class_="wide", tabindex="0")


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


def sources(run: RunSummary, count: int) -> Iterator[str]:
    """Yield the first sentences of a translation's test.

    Args:
        run: The run.
        count: How many at most.
    """
    if run.tested:
        rows = run.tested.table("translations.tsv")
        found = (row["source"] for row in rows if row.get("source", "").strip())
        yield from itertools.islice(found, count)
