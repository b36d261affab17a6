"""Which language a text is in, of two that are named: by its script, else by its letters.

Babel brings names of countries, languages, months, units and currencies in some hundred languages:
enough text to tell two of them apart, sentence by sentence, by three letters at a time.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import regex

_ORDER = 3  # letters
_CLEAR = 0.05  # nats a piece by which one way round has to be the likelier
_PIECES = 40  # at least, to tell anything
_NAMED = (  # what Babel knows of a language, by its own names
    "territories",
    "languages",
    "scripts",
    "currency_names",
    "unit_display_names",
    "unit_patterns",
    "months",
    "days",
    "quarters",
    "eras",
    "date_fields",
    "list_patterns",
)
# scripts that are several of Unicode's
_SCRIPTS = {
    "Jpan": r"\p{Hiragana}\p{Katakana}",  # not what it shares with Chinese
    "Kore": r"\p{Hangul}",
    "Hans": r"\p{Han}",
    "Hant": r"\p{Han}",
}


@functools.cache
def language_of(name: str) -> str | None:
    """Return the code of a language that is named by a code or in English or its own words.

    Args:
        name: `fr`, `fra`, `fr-FR`, `French`, `français`.

    Returns:
        The code, without country; None for what names no language.
    """
    from babel.core import get_global

    word = name.strip().casefold()
    if word == "src":  # Sardinian, and everybody's short word for the source
        return None
    code = re.split(r"[-_]", word)[0]
    if re.fullmatch(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*", word):
        code = get_global("language_aliases").get(code, code)
        code = re.split(r"[-_]", code)[0]
        if code in _codes():
            return code
    return _names().get(word)


@functools.cache
def _codes() -> frozenset[str]:
    from babel import Locale

    return frozenset(Locale("en").languages)


@functools.cache
def _names() -> dict[str, str]:
    """Return the codes of languages by their English names, and by their own where Babel has it."""
    from babel import Locale
    from babel.localedata import locale_identifiers

    found = {str(name).casefold(): code for code, name in Locale("en").languages.items()}
    found = {name: re.split(r"[-_]", code)[0] for name, code in found.items() if "_" not in code}
    for code in locale_identifiers():
        if "_" not in code and (own := Locale(code).languages.get(code)):
            found.setdefault(own.casefold(), code)
    return found


def names_language(cell: str, name: str) -> bool:
    """Say whether the name of a column is that of a language.

    Args:
        cell: The column's name: `English`, `en-US`, `English words/sentences`.
        name: The language, by its code or name.
    """
    code = language_of(name)
    if code is None:
        return False
    if language_of(cell) == code:
        return True
    words = regex.findall(r"\p{L}[\p{L}\p{M}]{3,}", cell.casefold())  # no codes: "is", "no", "it"
    named = {found for word in words if (found := _names().get(word))}
    return named == {code}


def order_of(source: str, target: str, left: Sequence[str], right: Sequence[str]) -> float:
    """Say whether two columns are source and target (above 0) or the other way round (below 0).

    Args:
        source: The source's language, by its code or name.
        target: The target's.
        left: Sentences of one column.
        right: Their translations.

    Returns:
        By how much, as a mean over what was looked at; 0 where it can't be told.
    """
    codes = [code for name in (source, target) if (code := language_of(name)) is not None]
    if len(set(codes)) < 2:
        return 0.0
    scripts = [_script(code) for code in codes]
    if scripts[0] != scripts[1] and all(scripts):
        shares = [[_share(script, texts) for script in scripts] for texts in (left, right)]
        clear = (shares[0][0] - shares[0][1]) - (shares[1][0] - shares[1][1])
        if abs(clear) > 0.5:
            return clear
    models = [_model(code) for code in codes]
    if not all(models):
        return 0.0
    size = len(models[0] | models[1])
    totals = [sum(model.values()) + size / 2 for model in models]
    pieces, odds = 0, 0.0
    for sign, texts in ((1, left), (-1, right)):
        for piece in _pieces(texts):
            likely = [
                math.log((model[piece] + 0.5) / total)
                for model, total in zip(models, totals, strict=True)
            ]
            pieces, odds = pieces + 1, odds + sign * (likely[0] - likely[1])
    if pieces < _PIECES or abs(odds) < _CLEAR * pieces:
        return 0.0
    return odds / pieces


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        text = f" {text.lower()} "
        yield from (text[first : first + _ORDER] for first in range(len(text) - _ORDER + 1))


def _script(code: str) -> str | None:
    from babel.core import get_global

    likely = get_global("likely_subtags").get(code)
    return likely.split("_")[1] if likely and likely.count("_") >= 1 else None


def _share(script: str | None, texts: Sequence[str]) -> float:
    """Return the share of the letters that are of a script."""
    text = "".join(texts)
    inside = _SCRIPTS.get(script or "", rf"\p{{Script={script}}}")
    try:
        letters = regex.findall(f"[{inside}]", text)
    except regex.error:  # Babel knows scripts that the library does not
        return 0.0
    return len(letters) / max(1, len(regex.findall(r"\p{L}", text)))


@functools.cache
def _model(code: str) -> Counter[str]:
    """Return how often three letters come together in what Babel knows of a language."""
    from babel import Locale, UnknownLocaleError

    try:
        data: Any = Locale(code)._data
    except (UnknownLocaleError, ValueError):
        return Counter()
    return Counter(_pieces(text for name in _NAMED if name in data for text in _texts(data[name])))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif hasattr(value, "values"):
        for one in value.values():
            yield from _texts(one)
