"""Sentences about scenes: how they are made, and how they are read back and held against the scene.

    sentence = [opening] noun place                          one object:      a large red star at
    the top
             | [opening] noun arrangement                    equal objects:   two small blue circles
             side by side | [opening] noun relation noun                  two kinds:       two ...
             above a ... | [opening] noun relation noun and relation noun   three kinds:  a ... left
             of a ... and below a ...
    noun     = number size colour shape
    opening  = there is | there are | we see

A sentence names every object of the scene with all its attributes and says how they lie. In the
last form the first object is compared with each of the others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

SIZES = ("small", "large")
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
SHAPES = ("circle", "square", "triangle", "star")
GRID = 3

_SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
_NUMBERS = {1: "a", 2: "two", 3: "three"}
_OPENINGS = ("", "there is ", "we see ")
_PLACES = (
    ("in the top left corner", "at the top", "in the top right corner"),
    ("on the left", "in the middle", "on the right"),
    ("in the bottom left corner", "at the bottom", "in the bottom right corner"),
)
_ARRANGEMENTS = {
    "row": ("side by side", "in a row"),
    "column": ("in a column", "one above the other"),
}
_RELATIONS = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above",),
    "below": ("below", "under"),
}


class Kind(NamedTuple):
    """What an object looks like.

    Attributes:
        size: One of `SIZES`.
        colour: One of `COLOURS`.
        shape: One of `SHAPES`.
    """

    size: str
    colour: str
    shape: str


class Thing(NamedTuple):
    """An object of a scene.

    Attributes:
        kind: What it looks like.
        row: Its place from the top, below `GRID`.
        column: Its place from the left, below `GRID`.
    """

    kind: Kind
    row: int
    column: int


Scene = tuple[Thing, ...]


class Group(NamedTuple):
    """Equal objects, as a sentence names them.

    Attributes:
        number: How many.
        kind: What they look like.
    """

    number: int
    kind: Kind


class Statement(NamedTuple):
    """What a sentence states.

    Attributes:
        groups: The objects, in the order they are named.
        place: Row and column of a single object.
        arrangement: `row` or `column`, of equal objects.
        relations: How the first group lies to each of the others: left, right, above or below.
    """

    groups: tuple[Group, ...]
    place: tuple[int, int] | None = None
    arrangement: str | None = None
    relations: tuple[str, ...] = ()


def _alternatives(words: Sequence[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_KIND_OF_SIZE = {word: size for size, words in _SIZE_WORDS.items() for word in words}
_KIND_OF_RELATION = {phrase: name for name, phrases in _RELATIONS.items() for phrase in phrases}
_KIND_OF_ARRANGEMENT = {
    phrase: name for name, phrases in _ARRANGEMENTS.items() for phrase in phrases
}
_PLACE_OF = {
    phrase: (row, column)
    for row, phrases in enumerate(_PLACES)
    for column, phrase in enumerate(phrases)
}
_COUNT_OF = {word: count for count, word in _NUMBERS.items()}

_NOUN = (
    rf"(?:a|two|three) (?:{_alternatives([*_KIND_OF_SIZE])}) (?:{_alternatives(COLOURS)}) "
    rf"(?:{_alternatives(SHAPES)})s?"
)
_RELATION = _alternatives([*_KIND_OF_RELATION])
_SENTENCE = re.compile(
    rf"(there is |there are |we see )?({_NOUN}) "
    rf"(?:({_alternatives([*_PLACE_OF])})|({_alternatives([*_KIND_OF_ARRANGEMENT])})"
    rf"|({_RELATION}) ({_NOUN})(?: and ({_RELATION}) ({_NOUN}))?)"
)


def parse(caption: str) -> Statement | None:
    """Read a sentence back.

    Args:
        caption: A sentence; capitals and the full stop don't matter.

    Returns:
        What it states, None if it is no sentence of the grammar (the numbers have to agree as
        well).
    """
    match = _SENTENCE.fullmatch(" ".join(caption.lower().split()).removesuffix(".").rstrip())
    if match is None:
        return None
    opening, *nouns = match.group(1, 2, 6, 8)
    groups = tuple(_group(noun) for noun in nouns if noun)
    first = groups[0]
    if (
        first is None
        or None in groups
        or opening == ("there are " if first.number == 1 else "there is ")
    ):
        return None
    statement = Statement(
        groups=tuple(group for group in groups if group),
        place=_PLACE_OF.get(match[3]),
        arrangement=_KIND_OF_ARRANGEMENT.get(match[4]),
        relations=tuple(_KIND_OF_RELATION[phrase] for phrase in match.group(5, 7) if phrase),
    )
    if (statement.place and first.number > 1) or (statement.arrangement and first.number == 1):
        return None
    return statement


def _group(noun: str) -> Group | None:
    number, size, colour, shape = noun.split()
    count = _COUNT_OF[number]
    if shape.endswith("s") != (count > 1):
        return None
    return Group(count, Kind(_KIND_OF_SIZE[size], colour, shape.removesuffix("s")))


def holds(caption: str, scene: Scene) -> bool:
    """Say whether a caption names all of a scene's objects in full, and all that it states is so.

    Args:
        caption: A sentence.
        scene: The scene.
    """
    statement = parse(caption)
    return statement is not None and _is_so(statement, scene)


def _is_so(statement: Statement, scene: Scene) -> bool:
    named: Counter[Kind] = Counter()
    for group in statement.groups:
        named[group.kind] += group.number
    # A kind that is named twice ("a red star above a red star") leaves open which is meant.
    if named != Counter(thing.kind for thing in scene) or len(named) != len(statement.groups):
        return False
    if statement.place:
        return statement.place == (scene[0].row, scene[0].column)
    if statement.arrangement:
        return (
            len({thing.row if statement.arrangement == "row" else thing.column for thing in scene})
            == 1
        )
    first, *others = (group.kind for group in statement.groups)
    pairs = zip(statement.relations, others, strict=True)
    return all(relation in _between(scene, first, other) for relation, other in pairs)


def _between(scene: Scene, first: Kind, second: Kind) -> list[str]:
    """Return how every object of one kind lies to every one of another; nothing where it varies."""
    ones, twos = ([thing for thing in scene if thing.kind == kind] for kind in (first, second))
    found = []
    for axis, before, after in (("column", "left", "right"), ("row", "above", "below")):
        mine, theirs = ([getattr(thing, axis) for thing in things] for things in (ones, twos))
        if max(mine) < min(theirs):
            found.append(before)
        elif min(mine) > max(theirs):
            found.append(after)
    return found


def statements(scene: Scene) -> list[Statement]:
    """Return everything that a sentence can state of a scene; nothing if no relation is clear.

    Objects are named in reading order, row by row. In any order it would be open, until the last
    word about it, which object a sentence begins with, and minutes of training would go into that.

    Args:
        scene: The scene.
    """
    counts = Counter(thing.kind for thing in scene)
    places = {
        kind: min((thing.row, thing.column) for thing in scene if thing.kind == kind)
        for kind in counts
    }
    groups = tuple(Group(counts[kind], kind) for kind in sorted(counts, key=places.__getitem__))
    if len(scene) == 1:
        return [Statement(groups, place=(scene[0].row, scene[0].column))]
    if len(groups) == 1:
        possible = [Statement(groups, arrangement=arrangement) for arrangement in _ARRANGEMENTS]
        return [statement for statement in possible if _is_so(statement, scene)]
    how = (_between(scene, groups[0].kind, other.kind) for other in groups[1:])
    return [Statement(groups, relations=relations) for relations in product(*how)]


def sentences(scene: Scene, count: int, random: np.random.Generator) -> tuple[str, ...]:
    """Return different sentences that hold in a scene; fewer where there are not so many.

    Args:
        scene: The scene.
        count: How many.
        random: Chooses them.
    """
    possible = statements(scene)
    found: dict[str, None] = {}
    for _ in range(10 * count):
        found[_word(possible[random.integers(len(possible))], random)] = None
        if len(found) == count:
            break
    return tuple(found)


def _word(statement: Statement, random: np.random.Generator) -> str:
    def choose(words: Sequence[str]) -> str:
        return words[int(random.integers(len(words)))]

    def noun(group: Group) -> str:
        size, colour, shape = (
            choose(_SIZE_WORDS[group.kind.size]),
            group.kind.colour,
            group.kind.shape,
        )
        return f"{_NUMBERS[group.number]} {size} {colour} {shape}{'s' if group.number > 1 else ''}"

    first, *others = statement.groups
    opening = choose(_OPENINGS)
    if first.number > 1:
        opening = opening.replace("is", "are")
    text = f"{opening}{noun(first)} "
    if statement.place:
        row, column = statement.place
        return text + _PLACES[row][column]
    if statement.arrangement:
        return text + choose(_ARRANGEMENTS[statement.arrangement])
    pairs = zip(statement.relations, others, strict=True)
    return text + " and ".join(
        f"{choose(_RELATIONS[relation])} {noun(group)}" for relation, group in pairs
    )
