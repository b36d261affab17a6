"""Sentences composed from the Unicode CLDR in two languages: names, dates, amounts, lists of them.

A sentence is a few items, put together as the locales do it. An item is made of atoms: a territory,
a month, a unit in a grammatical number, a digit. Source and target say the same; all text has
single spaces.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from babel import Locale, core, dates, lists, numbers, units
from babel.dates import format_skeleton, get_datetime_format

Render = Callable[[Locale], str]
Atom = tuple[Hashable, ...]
Style = Literal["standard", "or"]

_DAY = datetime.date(2024, 1, 1)  # whose currencies are taken
# how often an item is of a kind; names are the most, so that each of them comes often enough
_LIKELY = {
    "territory": 10,
    "language": 7,
    "unit": 6,
    "currency": 5,
    "date": 4,
    "relative": 3,
    "variety": 2,
    "time": 2,
    "moment": 2,
    "interval": 2,
    "number": 2,
}
_NAMES = ("territory", "language")
_LENGTHS: tuple[Literal["full", "long", "medium"], ...] = ("full", "long", "medium")
_DATES = (*_LENGTHS, "MMMMd", "yMMMM")  # CLDR's lengths and skeletons
_STEPS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "week": 604800,
    "month": 2592000,
    "year": 31536000,
}
_UNITS = (
    "angle",
    "area",
    "digital",
    "duration",
    "electric",
    "energy",
    "frequency",
    "graphics",
    "length",
    "mass",
)
_MORE_UNITS = ("power", "pressure", "speed", "temperature", "volume")
_LARGEST = 9999


class Sentence(NamedTuple):
    """A sentence and its translation.

    Attributes:
        source: The source.
        target: The target.
        atoms: What it is made of.
    """

    source: str
    target: str
    atoms: frozenset[Atom]


class _Item(NamedTuple):
    texts: tuple[str, str]
    atoms: list[Atom]


class _Deck:
    """Draws all of a sequence in random order, and then again: everything comes equally often."""

    def __init__(self, cards: Sequence[Any], rng: random.Random) -> None:
        self._cards = list(cards)
        self._rng = rng
        self._left: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._cards)

    def draw(self) -> Any:
        if not self._left:
            self._left = self._cards.copy()
            self._rng.shuffle(self._left)
        return self._left.pop()


class Composer:
    """Makes sentences; the same for the same languages, seed and version of Babel.

    What a language has no words for is left out. A text that would have two translations has the
    one it got first.

    Args:
        source: The source language.
        target: The target language.
        seed: Start of the pseudo-random numbers.
    """

    def __init__(self, source: Locale, target: Locale, seed: int) -> None:
        self._locales = source, target
        self._rng = random.Random(seed)
        self._translations: dict[str, str] = {}
        self._makers: dict[str, Callable[[], tuple[list[Atom], Render] | None]] = {
            "territory": partial(self._name, "territory", self._deck(_territories)),
            "language": partial(self._name, "language", self._deck(_languages)),
            "unit": partial(
                self._counted, self._counted_deck("unit", _unit_names(source, target)), _unit
            ),
            "currency": partial(
                self._counted, self._counted_deck("currency", self._currencies()), _currency
            ),
            "date": self._date,
            "relative": partial(
                self._relative, _Deck([(u, sign) for u in _STEPS for sign in (-1, 1)], self._rng)
            ),
            "variety": partial(self._variety, self._deck(_languages), self._deck(_territories)),
            "time": self._time,
            "moment": self._moment,
            "interval": self._interval,
            "number": self._number,
        }

    def sentences(self) -> Iterator[Sentence]:
        """Yield sentences without an end; one may come again."""
        kinds, weights = list(_LIKELY), list(_LIKELY.values())
        while True:
            count = self._rng.choices((1, 2, 3), (3, 5, 3))[0]
            if self._rng.random() < 0.5:
                drawn = self._rng.choices(kinds, weights, k=1) * count
            else:
                drawn = self._rng.choices(kinds, weights, k=count)
            if "moment" in drawn:  # within a list, its comma could be one between a date and a time
                drawn = ["moment"]
            found = [item for kind in drawn if (item := self._item(kind)) is not None]
            if not found:
                continue
            items, atoms = (
                [item.texts for item in found],
                frozenset(atom for item in found for atom in item.atoms),
            )
            style: Style = self._rng.choice(("standard", "or"))
            texts = [
                self._joined(list(side), number, style)
                for number, side in enumerate(zip(*items, strict=True))
            ]
            if self._translations.setdefault(texts[0], texts[1]) == texts[1]:
                yield Sentence(texts[0], texts[1], atoms)

    def _joined(self, texts: list[str], side: int, style: Style) -> str:
        if len(texts) == 1:
            return texts[0]
        try:
            return _spaced(lists.format_list(texts, style, self._locales[side]))
        except ValueError:  # the language has no such list
            return _spaced(lists.format_list(texts, "standard", self._locales[side]))

    def _item(self, kind: str) -> _Item | None:
        """Return an item in both languages, or None where one of them has no words for it."""
        made = self._makers[kind]()
        if made is None:
            return None
        atoms, render = made
        try:
            source, target = (_spaced(render(locale)) for locale in self._locales)
        # what Babel raises where data are missing
        except (LookupError, ValueError, AttributeError, TypeError):
            return None
        if not source or not target or self._translations.setdefault(source, target) != target:
            return None
        return _Item((source, target), atoms)

    def _deck(self, names: Callable[[Locale], dict[str, str]]) -> _Deck:
        both = [names(locale) for locale in self._locales]
        return _Deck(
            [(key, both[0][key], both[1][key]) for key in sorted(both[0].keys() & both[1].keys())],
            self._rng,
        )

    def _name(self, kind: str, deck: _Deck) -> tuple[list[Atom], Render] | None:
        if not deck:
            return None
        key, *texts = deck.draw()
        return [(kind, key)], self._said(texts)

    def _said(self, texts: list[str]) -> Render:
        return lambda locale: texts[locale is self._locales[1]]

    def _variety(self, languages: _Deck, territories: _Deck) -> tuple[list[Atom], Render] | None:
        if not languages or not territories:
            return None
        language, territory = languages.draw(), territories.draw()
        # as `Locale.get_display_name` says it
        texts = [f"{language[side]} ({territory[side]})" for side in (1, 2)]
        return [("language", language[0]), ("territory", territory[0])], self._said(texts)

    def _currencies(self) -> list[str]:
        every = (
            numbers.get_territory_currencies(t, _DAY, _DAY)
            for t in core.get_global("territory_currencies")
        )
        return sorted(
            {
                code
                for codes in every
                for code in codes
                if all(code in x.currencies for x in self._locales)
            }
        )

    def _counted_deck(self, kind: str, names: list[str]) -> _Deck:
        """Return a deck of names in each grammatical number, with the numbers that ask for it."""
        by_plural: dict[tuple[str, str], list[int]] = {}
        for number in range(1, _LARGEST + 1):
            by_plural.setdefault((self._plural(0, number), self._plural(1, number)), []).append(
                number
            )
        return _Deck(
            [((kind, name, *plural), by_plural[plural]) for name in names for plural in by_plural],
            self._rng,
        )

    def _plural(self, side: int, number: int) -> str:
        return str(self._locales[side].plural_form(number))

    def _counted(
        self, deck: _Deck, render: Callable[[str, int, Locale], str]
    ) -> tuple[list[Atom], Render] | None:
        if not deck:
            return None
        atom, fitting = deck.draw()
        small = [number for number in fitting[:200] if number < 100]
        number = self._rng.choice(small if small and self._rng.random() < 0.6 else fitting)
        return [atom, *_digits(number)], partial(render, atom[1], number)

    def _day(self) -> datetime.datetime:
        begin = datetime.datetime(1950, 1, 1)
        return begin + datetime.timedelta(minutes=self._rng.randrange(100 * 365 * 24 * 60))

    def _date(self) -> tuple[list[Atom], Render]:
        form, day = self._rng.choice(_DATES), self._day()
        return [("date", form), *_date_atoms(form, day)], partial(_date, form, day)

    def _time(self) -> tuple[list[Atom], Render]:
        day = self._day()
        return _time_atoms(day), partial(_time, day)

    def _moment(self) -> tuple[list[Atom], Render]:
        form, day = self._rng.choice(_LENGTHS), self._day()

        def render(locale: Locale) -> str:
            pattern = str(get_datetime_format(form, locale=locale)).replace("'", "")
            return pattern.replace("{0}", _time(day, locale)).replace(
                "{1}", _date(form, day, locale)
            )

        return [("moment", form), *_date_atoms(form, day), *_time_atoms(day)], render

    def _interval(self) -> tuple[list[Atom], Render]:
        first = self._day().date()
        last = first + datetime.timedelta(
            days=self._rng.choice((self._rng.randint(1, 25), self._rng.randint(30, 300)))
        )
        atoms = [("interval",), *_date_atoms("long", first), *_date_atoms("long", last)]
        return atoms, lambda locale: str(
            dates.format_interval(first, last, "yMMMMd", locale=locale)
        )

    def _relative(self, deck: _Deck) -> tuple[list[Atom], Render]:
        unit, sign = deck.draw()
        number = self._rng.choice((1, self._rng.randint(2, 99)))
        plurals = [self._plural(side, number) for side in (0, 1)]
        span = datetime.timedelta(seconds=sign * number * _STEPS[unit])

        def render(locale: Locale) -> str:
            # The threshold keeps Babel from going on to a larger unit.
            return dates.format_timedelta(
                span, unit, threshold=1e9, add_direction=True, locale=locale
            )

        return [("relative", unit, sign, *plurals), *_digits(number)], render

    def _number(self) -> tuple[list[Atom], Render]:
        form = self._rng.choice(("decimal", "percent", "thousand", "million"))
        number = self._rng.randint(1, 999)
        return [("number", form), *_digits(number)], partial(_written, form, number)


def _territories(locale: Locale) -> dict[str, str]:
    return {
        code: name
        for code, name in locale.territories.items()
        if len(code) == 2 and code not in ("ZZ", "XA", "XB")
    }


def _languages(locale: Locale) -> dict[str, str]:
    return {code: name for code, name in locale.languages.items() if len(code) == 2}


def _unit_names(source: Locale, target: Locale) -> list[str]:
    families = (*_UNITS, *_MORE_UNITS)
    # Babel has no list of its units
    patterns = [locale._data["unit_patterns"] for locale in (source, target)]
    root = Locale("root")._data["unit_patterns"]

    def own(pattern: Any, name: str) -> bool:
        """Say whether a language has words for a unit: what it lacks is the root's, in English."""
        inherited = root.get(name, {}).get("long", {}).get("other")
        return "long" in pattern[name] and (
            inherited is None or pattern[name]["long"].get("other") != inherited
        )

    both = patterns[0].keys() & patterns[1].keys()
    return sorted(
        n for n in both if n.startswith(families) and all(own(pattern, n) for pattern in patterns)
    )


def _unit(name: str, number: int, locale: Locale) -> str:
    text = units.format_unit(number, name, "long", locale=locale)
    if name in text:  # Babel's answer where there is no pattern
        raise LookupError(name)
    return text


def _currency(code: str, number: int, locale: Locale) -> str:
    pattern = numbers.get_currency_unit_pattern(code, number, locale)
    name = numbers.get_currency_name(code, number, locale)
    return str(
        pattern.replace("{0}", numbers.format_decimal(number, locale=locale)).replace("{1}", name)
    )


def _written(form: str, number: int, locale: Locale) -> str:
    if form == "decimal":
        return numbers.format_decimal(number / 10, locale=locale)
    if form == "percent":
        return numbers.format_percent(number / 100, locale=locale)
    large = number * (1000 if form == "thousand" else 1_000_000)
    return str(numbers.format_compact_decimal(large, format_type="long", locale=locale))


def _date(form: str, day: datetime.date, locale: Locale) -> str:
    if form in _LENGTHS:
        return str(dates.format_date(day, form, locale=locale))
    return str(format_skeleton(form, day, fuzzy=True, locale=locale))


def _time(day: datetime.datetime, locale: Locale) -> str:
    return str(dates.format_time(day, "short", locale=locale))


def _date_atoms(form: str, day: datetime.date) -> list[Atom]:
    atoms: list[Atom] = [("month", form, day.month)]
    if form != "yMMMM":
        atoms.append(("day", day.day))
    if form != "MMMMd":
        atoms.append(("year", day.year))
    if form == "full":
        atoms.append(("weekday", day.weekday()))
    return atoms


def _time_atoms(day: datetime.datetime) -> list[Atom]:
    return [("hour", day.hour), ("minute", day.minute)]


def _digits(number: int) -> list[Atom]:
    return [("digit", place, digit) for place, digit in enumerate(reversed(str(number)))]


def _spaced(text: str) -> str:
    return " ".join(text.split())
