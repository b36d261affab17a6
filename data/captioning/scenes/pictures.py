"""Pictures of scenes: flat shapes with smooth edges on a dark ground, 64 x 64 pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .language import GRID, Scene

SIDE = 64
"""Side of a picture, in pixels."""

Array = npt.NDArray[np.floating[Any]]

_CELL = SIDE / GRID
_JITTER = 1.0  # an object's middle lies so far from its cell's at most, in pixels
_RADII = {"small": 5.0, "large": 9.0}
_COLOURS = {
    "red": (215, 45, 40),
    "green": (50, 175, 70),
    "blue": (55, 95, 225),
    "yellow": (240, 210, 55),
    "purple": (165, 70, 190),
    "white": (240, 240, 240),
}
_SHADE = 12.0  # standard deviation of a colour's channels
_NOISE = 4.0  # standard deviation of the pixels
_GROUND = (20, 70)


def _circle(x: Array, y: Array) -> Array:
    distance: Array = np.hypot(x, y)
    return 1 - distance


def _square(x: Array, y: Array) -> Array:
    distance: Array = np.maximum(np.abs(x), np.abs(y))
    return np.float32(0.85) - distance


def _triangle(x: Array, y: Array) -> Array:
    sides: Array = np.float32(0.866) * np.abs(x) - np.float32(0.5) * y
    distance: Array = np.maximum(sides, y - np.float32(0.25))
    return np.float32(0.55) - distance


def _star(x: Array, y: Array) -> Array:
    """Five points: the distance to the nearer edge of the wedge a pixel lies in."""
    wedge = 2 * np.pi / 5
    angle = (np.arctan2(x, -y) + wedge / 2) % wedge - wedge / 2
    radius = np.hypot(x, y)
    along, across = radius * np.cos(angle), radius * np.abs(np.sin(angle))
    inner = 0.45 * np.array([np.cos(wedge / 2), np.sin(wedge / 2)])
    edge = inner - np.array([1.1, 0.0])
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    distance: Array = (1.1 - along) * normal[0] - across * normal[1]
    return distance


# How far inside the shape a point lies, in radii: negative outside.
_SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
}


def picture(scene: Scene, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw a scene.

    Objects lie in the cells of a grid, a little off their middles, so two of them are level or
    clearly are not: middles in one row differ by 2 pixels at most, those in different rows by 19 at
    least.

    Args:
        scene: The scene.
        random: Draws shades, places and noise.

    Returns:
        (3, 64, 64) uint8.
    """
    ground = random.integers(*_GROUND)
    image: Array = ground + _NOISE * random.standard_normal((3, SIDE, SIDE), dtype=np.float32)
    steps = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    for thing in scene:
        down, right = random.uniform(-_JITTER, _JITTER, 2)
        radius = np.float32(_RADII[thing.kind.size] + random.uniform(-0.5, 0.5))
        y = (steps - np.float32((thing.row + 0.5) * _CELL + down))[:, None] / radius
        x = (steps - np.float32((thing.column + 0.5) * _CELL + right))[None, :] / radius
        cover = np.clip(_SHAPES[thing.kind.shape](x, y) * radius + np.float32(0.5), 0, 1)
        shade = np.array(_COLOURS[thing.kind.colour]) + random.normal(0, _SHADE, 3)
        image += cover * (shade.astype(np.float32)[:, None, None] - image)
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)
