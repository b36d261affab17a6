"""Pairs of sentences in one file: tables, JSON, Parquet, TMX, archives of two files."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import DataError, quoted, some
from ..cache import stamps
from ..formats.objects import OBJECTS, objects
from ..formats.packed import kind_of, member_blocks, members
from ..formats.table import Field, Table, chosen_columns, same_name
from ..tables import lines
from .languages import language_of, names_language, order_of
from .markup import marked_up_pairs
from .pairs import Pairs, both, rereadable, zipped

TEXT_TABLES = (".tsv", ".csv", ".txt", ".tab", ".psv")
TABLES = (*TEXT_TABLES, *OBJECTS, ".tmx", ".xml", ".zip")
_SOURCES = ("source", "src", "source_text", "source_sentence", "input")
_TARGETS = ("target", "tgt", "trg", "target_text", "target_sentence", "translation", "output")
_NO_SENTENCES = ("id", "index", "lang", "language", "score", "attribution", "license", "split")
# sentence1, text_b, Column 2: names of columns that no sentence begins with
_COUNTED = re.compile(
    r"(sentences?|texts?|phrases?|sources?|targets?|inputs?|outputs?|lang|languages?|segments?"
    r"|strings?|col|columns?|premise|hypothesis)[\s_-]*[0-9ab]",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"CC[- ]?BY|tatoeba\.org|https?://", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?[0-9]+([.,][0-9]+)?")
_CODE = 3  # letters
_LOOKED_AT = 200  # rows, to tell languages apart
_CONSTANT = 3  # rows at least of which all are the same


def table_pairs(path: str, source: str, target: str, columns: str | None = None) -> Pairs:
    """Return the pairs of one file.

    Args:
        path: A table (tabs, commas, semicolons, bars or `|||` between columns, with or without
            header), JSON, JSON lines, Parquet, Arrow, TMX, a test set of WMT in XML, or a zip
            archive of two files. An object has both names, or such an object as `translation`.
        source: Name of the column with the source sentences, or their language.
        target: Name of the column with their translations, or their language.
        columns: `source=COLUMN,target=COLUMN`, by names or numbers from 1, where these don't do.

    Raises:
        DataError: There is no such file, or it is no such table, or it can't be told which column
            is which.
    """
    fields = [
        Field("source", _called(source, _SOURCES)),
        Field("target", _called(target, _TARGETS)),
    ]
    chosen = chosen_columns(columns, fields)
    full = rereadable(path)
    kind = kind_of(full)
    identity = ["table", source, target, columns, *stamps(full)]
    if kind == ".zip":
        return _zip_pairs(full, path, source, target, identity)
    if kind in (".tmx", ".xml"):
        read = partial(marked_up_pairs, full, source, target, path)
        return Pairs((path, path), identity, read, "unit", 1, f"{path}: {source} to {target}")
    if kind in OBJECTS:
        return _object_pairs(full, path, fields, chosen, identity)
    if kind in _OTHERS:
        raise DataError(f"'{path}' is {_OTHERS[kind]}.")
    if kind not in TEXT_TABLES:
        raise DataError(
            f"'{path}' ends in none of {', '.join(TABLES)}. Two files with a sentence a line are "
            "named by --data.train_source and --data.train_target (val_, test_)."
        )
    table = Table(
        full,
        fields,
        label=path,
        columns=chosen,
        guess=partial(_guess, path, source, target),
        matches=names_language,
        strict=True,
    )
    told = f"{table.told} ({source} to {target})" if (source, target) != _DEFAULTS else table.told
    header = table.header is not None
    return Pairs((path, path), identity, partial(_rows, table), "row", 1 + header, told)


_DEFAULTS = ("source", "target")
_ROW = "which is not read. Write a table, a source and its target a row with a tab in between"
_OTHERS = {
    ".dict": f"a dictionary, {_ROW}:\nsed -e '/^;;;/d' -e 's/([0-9]*)//' -e 's/  */\\t/' FILE > "
    "pairs.tsv makes one of CMUdict",
    ".conllu": f"a treebank, {_ROW}: columns 2 and 3 of its lines are words and lemmas",
    ".srt": f"a file of subtitles, {_ROW}; OPUS has them aligned",
    ".vtt": f"a file of subtitles, {_ROW}; OPUS has them aligned",
    ".po": f"a catalogue of gettext, {_ROW}; po2csv of translate-toolkit makes one",
    ".xlf": f"XLIFF, {_ROW}, or a TMX; xliff2po and po2csv of translate-toolkit make one",
    ".xliff": f"XLIFF, {_ROW}, or a TMX; xliff2po and po2csv of translate-toolkit make one",
    ".apkg": "a deck of Anki: export it as 'Notes in Plain Text (.txt)'",
}


def _called(name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    return known if name in _DEFAULTS else (name,)


def _rows(table: Table) -> Iterator[tuple[str, str]]:
    for _, row in table.rows():
        source, target = row or ("", "")
        yield source or "", target or ""


def _guess(label: str, source: str, target: str, rows: list[list[str]]) -> dict[str, int] | None:
    """Say which columns hold source and target where no header does; None of what has a header."""
    if _is_header(rows):
        return None
    width = Counter(map(len, rows)).most_common(1)[0][0]
    rows = [row for row in rows if len(row) >= width]
    texts = [number for number in range(width) if _is_text([row[number] for row in rows])]
    if len(texts) < 2:
        has = f"{width} column{'s' if width > 1 else ''}, {len(texts)} of text"
        raise DataError(
            f"{label}, row 1 has {has}: a row has to hold a sentence and its translation."
        )
    wanted = "--data.columns source=NUMBER,target=NUMBER (from 1)"
    if (source, target) == _DEFAULTS:
        if len(texts) == 2:
            return {"source": texts[0], "target": texts[1]}
        numbers = some(number + 1 for number in texts)
        raise DataError(
            f"{label} has no header and text in the columns {numbers}. Say which is which: {wanted}"
        )
    sample = rows[:: max(1, len(rows) // _LOOKED_AT)]
    found = []
    for left, right in itertools.combinations(texts, 2):
        columns = ([row[number] for row in sample] for number in (left, right))
        order = order_of(source, target, *columns)
        found.append((abs(order), (left, right) if order > 0 else (right, left)))
    clear, (left, right) = max(found)
    if not clear:
        unknown = [name for name in (source, target) if language_of(name) is None]
        why = (
            f"'{unknown[0]}' is no language that is known"
            if unknown
            else "there is too little of it"
        )
        raise DataError(
            f"{label} has no header, and which of its columns is '{source}' and which '{target}' "
            f"can't be told from the text: {why}.\nSay it by {wanted}."
        )
    return {"source": left, "target": right}


def _is_header(rows: list[list[str]]) -> bool:
    """Say whether the first row names columns, whatever it calls them."""
    first = [cell for cell in rows[0] if cell]
    if not first or any(_NUMBER.fullmatch(cell) for cell in first):
        return False
    known = (*_SOURCES, *_TARGETS, *_NO_SENTENCES)
    short = all(len(cell.split()) <= 3 and not cell.endswith((".", "!", "?")) for cell in first)
    languages = [cell for cell in first if language_of(cell) is not None]
    # "run" and "aa" are codes of languages, and words of dictionaries
    named = len(languages) > 1 or any(len(cell) > _CODE for cell in languages)
    named = named or all(_COUNTED.fullmatch(cell) for cell in first)
    if short and (named or any(same_name(cell, name) for cell in first for name in known)):
        return True
    columns = [
        sorted(len(cell.split()) for cell in column if cell)
        for column in itertools.zip_longest(*rows[1:], fillvalue="")
    ]
    long = sum(words[len(words) // 2] > 3 for words in columns if words)
    # single words over sentences; in a list of pronunciations, one side is words
    return long > 1 and all(len(cell.split()) == 1 for cell in first)


def _is_text(cells: list[str]) -> bool:
    """Say whether a column holds sentences: no numbers, licences, or the same tag in every row."""
    there = [cell for cell in cells if cell]
    if not there:
        return False
    half = len(there) / 2
    if sum(bool(_NUMBER.fullmatch(cell)) for cell in there) > half:
        return False
    if sum(bool(_ABOUT.search(cell)) for cell in there) > half:
        return False
    different = len(set(there))
    tags = max(map(len, there)) <= 8 and different <= len(there) / 20
    return not (len(there) >= _CONSTANT and different == 1) and not tags


def _object_pairs(
    full: Path, path: str, fields: list[Field], chosen: Mapping[str, str], identity: list[Any]
) -> Pairs:
    first: Any = next((row for _, row in objects(full, path)), {})
    row = first.get("translation", first) if isinstance(first, dict) else {}
    keys = [key for key in row if isinstance(key, str)] if isinstance(row, dict) else []
    names = []
    for field in fields:
        exact = [key for name in field.names for key in keys if same_name(key, name)]
        near = [key for name in field.names for key in keys if names_language(key, name)]
        names.append(chosen.get(field.name) or (exact or near or list(field.names))[0])

    def read() -> Iterator[tuple[str, str]]:
        for place, one in objects(full, path):
            yield both(one, names[0], names[1], place)

    told = f"{path}: source is '{quoted(names[0])}', target is '{quoted(names[1])}'"
    return Pairs((path, path), identity, read, "row", 1, told)


def _zip_pairs(full: Path, path: str, source: str, target: str, identity: list[Any]) -> Pairs:
    """Return the pairs of an archive that has a file a language, as OPUS makes them."""
    names = members(full, path)
    sides = []
    for language in (source, target):
        found = [
            name
            for name in names
            if (end := PurePosixPath(name).suffix[1:]) == language or names_language(end, language)
        ]
        if len(found) != 1:
            which = f"several files of '{language}'" if found else f"no file of '{language}'"
            raise DataError(
                f"{path} has {which} (a name that ends in .{language}), only {some(names)}. Name "
                "the languages by --data.source and --data.target, or unpack it and name two files."
            )
        sides.append(found[0])
    labels = f"{path}/{quoted(sides[0])}", f"{path}/{quoted(sides[1])}"

    def read() -> Iterator[tuple[str, str]]:
        texts = [
            lines(member_blocks(full, name, label), label)
            for name, label in zip(sides, labels, strict=True)
        ]
        yield from zipped(texts, labels)

    told = f"{path}: source is '{quoted(sides[0])}', target is '{quoted(sides[1])}'"
    return Pairs(labels, identity, read, "line", 1, told)
