"""Drawn clips: a coloured shape that acts now and then, in front of a still picture.

No single frame shows what the shape does: the actions are changes, and only frames before and after
tell them apart.

Shapes: T frames, S side of the square pictures.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

CLASSES = ("none", "left", "right", "up", "down", "grow", "shrink", "blink")
BACKGROUND = "none"

_LEAST, _MOST = 10, 18  # frames of an action
_REST = 20  # the most frames of a rest
_PAUSE = 0.5  # how often a rest follows an action
_WEIGHTS = {"grow": 1.3, "shrink": 1.3, "blink": 0.2}  # growing is seldom possible, blinking always
_SPEED = (0.045, 0.065)  # of a move, sides a frame
_GROWTH = (0.012, 0.016)  # of the radius, sides a frame
_RADIUS = (0.07, 0.28)  # the shape's, in sides
_MARGIN = 0.02  # between the shape and the picture's edge, in sides
_DARK = 0.35  # brightness of a shape that blinks
_COLOURS = np.array(
    [
        [230, 60, 50],
        [60, 190, 80],
        [70, 110, 240],
        [240, 210, 60],
        [220, 90, 220],
        [70, 210, 220],
        [240, 240, 240],
    ]
)
_SHAPES = ("disc", "square", "triangle", "cross")
_MOVES = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


class Motion(NamedTuple):
    """What the shape looks like in every frame.

    Attributes:
        x: Its middle, from the left, in sides (T,).
        y: Its middle, from above, in sides (T,).
        radius: In sides (T,).
        brightness: 1 for its own colour (T,).
        labels: The class of what it does between the frame before and this one (T,).
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]
    brightness: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]


def draw_clip(
    random: np.random.Generator, *, frames: int, size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Draw a clip.

    Args:
        random: Where everything comes from.
        frames: T.
        size: S.

    Returns:
        RGB pictures (T, S, S, 3), and the class of every frame (T,), a number in `CLASSES`.
    """
    shape = _SHAPES[random.integers(len(_SHAPES))]
    motion = plan(random, frames=frames)
    colour, other = _COLOURS[random.permutation(len(_COLOURS))[:2]]
    places = ((np.arange(size) + 0.5) / size).astype(np.float32)
    pictures = np.empty((frames, size, size, 3), np.float32)
    pictures[:] = _backdrop(random, places, other)
    # (T, S, S, 1)
    cover = _cover(shape, motion, random.uniform(0, 2 * np.pi), places, size)[..., None]
    light = motion.brightness.astype(np.float32)[:, None, None, None]
    pictures += cover * (colour.astype(np.float32) * light - pictures)
    # the camera's noise
    pictures += 3 * random.standard_normal((frames, size, size, 1), dtype=np.float32)
    return np.clip(pictures + 0.5, 0, 255, out=pictures).astype(np.uint8), motion.labels


def plan(random: np.random.Generator, *, frames: int) -> Motion:
    """Decide what the shape does, so that it stays in the picture.

    Args:
        random: Where everything comes from.
        frames: T.
    """
    radius = random.uniform(*_RADIUS)
    x, y = random.uniform(radius + _MARGIN, 1 - radius - _MARGIN, 2)
    rows: list[tuple[float, float, float, float, int]] = []
    before = ""
    while len(rows) < frames:
        length = int(random.integers(_LEAST, _MOST + 1))
        speed, growth = random.uniform(*_SPEED), random.uniform(*_GROWTH)
        room = 0.5 - _MARGIN
        most = {  # frames that each action may last
            **{
                name: (room - radius - right * (x - 0.5) - down * (y - 0.5)) / speed
                for name, (right, down) in _MOVES.items()
            },
            "grow": (min(_RADIUS[1], room - max(abs(x - 0.5), abs(y - 0.5))) - radius) / growth,
            "shrink": (radius - _RADIUS[0]) / growth,
            "blink": length,
        }
        choices = [name for name in most if most[name] >= _LEAST and name != before]
        # The first action is seen to begin, too: no frame before it would leave its first frame to
        # guess.
        rests = not before or (before != BACKGROUND and (random.random() < _PAUSE or not choices))
        weights = np.array([_WEIGHTS.get(name, 1.0) for name in choices])
        action = BACKGROUND if rests else str(random.choice(choices, p=weights / weights.sum()))
        length = (
            int(random.integers(_LEAST, _REST + 1)) if rests else min(length, int(most[action]))
        )
        if action == "blink":
            # two frames dark, two bright; so the end is seen when the third stays bright
            length += -length % 4
        right, down = _MOVES.get(action, (0, 0))
        for step in range(length):
            x, y = x + right * speed, y + down * speed
            radius += growth if action == "grow" else -growth if action == "shrink" else 0
            dark = action == "blink" and step % 4 < 2
            rows.append((x, y, radius, _DARK if dark else 1.0, CLASSES.index(action)))
        before = action
    x_s, y_s, radii, brightness, labels = np.array(rows[:frames]).T
    return Motion(x_s, y_s, radii, brightness, labels.astype(np.int64))


def _backdrop(
    random: np.random.Generator, places: npt.NDArray[np.float32], colour: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Draw a still picture (S, S, 3): dim light from one side, a grain, a shape that never acts."""
    slope = random.uniform(-30, 30, (2, 3))
    light = (
        random.uniform(40, 90, 3)
        + places[:, None, None] * slope[0]
        + places[None, :, None] * slope[1]
    )
    light = light + random.normal(0, 6, light.shape)
    x, y = random.uniform(0.1, 0.9, 2)
    inside = np.hypot(places[None] - x, places[:, None] - y) < random.uniform(0.05, 0.1)
    return np.where(inside[..., None], 0.5 * colour, light)


def _cover(
    shape: str, motion: Motion, angle: float, places: npt.NDArray[np.float32], size: int
) -> npt.NDArray[np.float32]:
    """Return how much of each pixel the shape covers, (T, S, S), from its distance to the edge."""
    x, y, radius = (
        value.astype(np.float32)[:, None, None] for value in (motion.x, motion.y, motion.radius)
    )
    across, down = places[None, None, :] - x, places[None, :, None] - y
    cos, sin = math.cos(angle), math.sin(angle)
    # (T, S, S), in the shape's own axes
    u, v = across * cos + down * sin, down * cos - across * sin
    distance: npt.NDArray[Any]
    if shape == "disc":
        distance = np.hypot(u, v) - radius
    elif shape == "square":
        distance = np.maximum(np.abs(u), np.abs(v)) - radius * math.sqrt(0.5)
    elif shape == "triangle":
        distance = np.maximum(np.abs(u) * math.sqrt(0.75) + v / 2, -v) - radius / 2
    else:
        long, short = np.maximum(np.abs(u), np.abs(v)), np.minimum(np.abs(u), np.abs(v))
        distance = np.maximum(long - radius * 0.95, short - radius * 0.3)
    cover: npt.NDArray[np.float32] = np.clip(0.5 - distance * size, 0, 1)
    return cover
