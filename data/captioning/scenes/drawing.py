"""Which scenes there are, and which part each belongs to."""

from __future__ import annotations

import hashlib

import numpy as np

from ...splits import Part
from .language import COLOURS, GRID, SHAPES, SIZES, Kind, Scene, Thing, statements

_FOLDS = 10  # of the descriptions; one is for validation, one for the test


def description(scene: Scene) -> str:
    """Return what sets the scenes of one part apart from those of another.

    It is the objects; with how they lie too, where all are equal. No sentence is true of scenes
    with different ones.

    Args:
        scene: The scene.
    """
    kinds = " ".join(sorted("-".join(thing.kind) for thing in scene))
    if len({thing.kind for thing in scene}) > 1:
        return kinds
    (statement,) = statements(scene)
    return f"{kinds} {statement.place} {statement.arrangement}"


def part_of(scene: Scene) -> Part:
    """Return the part that a scene belongs to.

    Args:
        scene: The scene.
    """
    fold = int(hashlib.sha256(description(scene).encode()).hexdigest(), 16) % _FOLDS
    parts: dict[int, Part] = {_FOLDS - 1: "test", _FOLDS - 2: "val"}
    return parts.get(fold, "train")


def draw_scene(part: Part, random: np.random.Generator) -> Scene:
    """Draw a scene of a part.

    One to three objects; with two or three, all are equal, two are, or none is. Sentences say
    without doubt how they lie.

    Args:
        part: The part.
        random: Draws.
    """
    while True:
        count = int(random.choice([1, 2, 2, 3, 3]))
        kinds = [_draw_kind(random) for _ in range(count)]
        equal = random.integers(4)
        if count > 1 and equal == 0:
            kinds = kinds[:1] * count
        elif count == 3 and equal <= 2:
            kinds[1] = kinds[0]
        cells = random.permutation(GRID * GRID)[:count].tolist()
        scene = tuple(
            Thing(kind, *divmod(cell, GRID)) for kind, cell in zip(kinds, cells, strict=True)
        )
        if len(statements(scene)) and part_of(scene) == part:
            return scene


def _draw_kind(random: np.random.Generator) -> Kind:
    return Kind(*(words[random.integers(len(words))] for words in (SIZES, COLOURS, SHAPES)))
