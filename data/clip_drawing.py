"""Drawn clips: a coloured shape that acts now and then, in front of a still picture.

No single frame shows what the shape does: the actions are changes, and only frames before and after tell them apart.

Shapes: T frames, S side of the square pictures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

CLASSES = ("none", "left", "right", "up", "down", "grow", "shrink", "turn", "blink")
BACKGROUND = "none"

_LEAST, _MOST = 8, 20  # frames of an action
_REST = 0.35  # how often a rest follows an action
_WEIGHTS = {"turn": 0.5, "blink": 0.4, "grow": 3.0}  # turning and blinking are always possible, growing needs room
_SPEED = (0.04, 0.06)  # of a move, sides a frame
_GROWTH = (1.08, 1.12)  # factor a frame
_TURN = (0.3, 0.5)  # radians a frame
_RADIUS = (0.09, 0.3)  # the shape's, in sides
_MARGIN = 0.02  # between the shape and the picture's edge, in sides
_DARK = 0.35  # brightness of a shape that blinks
_SHADE = 0.5  # brightness of one half of every shape, so that all of them are seen to turn
_COLOURS = np.array(
    [[230, 60, 50], [60, 190, 80], [70, 110, 240], [240, 210, 60], [220, 90, 220], [70, 210, 220], [240, 240, 240]]
)
_SHAPES = ("disc", "square", "triangle", "cross")
_MOVES = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


class Motion(NamedTuple):
    """What the shape looks like in every frame.

    Attributes:
        x: Its middle, from the left, in sides (T,).
        y: Its middle, from above, in sides (T,).
        radius: In sides (T,).
        angle: In radians (T,).
        brightness: 1 for its own colour (T,).
        labels: The class of what it does between the frame before and this one (T,).
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]
    angle: npt.NDArray[np.float64]
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
    places = (np.arange(size) + 0.5) / size
    pictures = np.empty((frames, size, size, 3))
    pictures[:] = _backdrop(random, places, other)
    cover, shaded = _cover(shape, motion, places, size)  # (T, S, S)
    light = motion.brightness[:, None, None] * (1 - (1 - _SHADE) * shaded)
    pictures += cover[..., None] * (colour * light[..., None] - pictures)
    pictures += random.normal(0, 3, pictures.shape)  # the camera's noise
    return np.clip(np.rint(pictures), 0, 255).astype(np.uint8), motion.labels


def plan(random: np.random.Generator, *, frames: int) -> Motion:
    """Decide what the shape does, so that it stays in the picture.

    Args:
        random: Where everything comes from.
        frames: T.
    """
    radius = random.uniform(*_RADIUS)
    x, y = random.uniform(radius + _MARGIN, 1 - radius - _MARGIN, 2)
    angle = random.uniform(0, 2 * np.pi)
    rows: list[tuple[float, float, float, float, float, int]] = []
    before = ""
    while len(rows) < frames:
        length = int(random.integers(_LEAST, _MOST + 1))
        speed, growth, turn = random.uniform(*_SPEED), random.uniform(*_GROWTH), random.uniform(*_TURN)
        room = 0.5 - _MARGIN
        most = {  # frames that each action may last
            **{
                name: (room - radius - right * (x - 0.5) - down * (y - 0.5)) / speed
                for name, (right, down) in _MOVES.items()
            },
            "grow": np.log((room - max(abs(x - 0.5), abs(y - 0.5))) / radius) / np.log(growth),
            "shrink": np.log(radius / _RADIUS[0]) / np.log(growth),
            "turn": length,
            "blink": length,
        }
        choices = [name for name in most if most[name] >= _LEAST and name != before]
        rests = before != BACKGROUND and (random.random() < _REST or not choices)
        weights = np.array([_WEIGHTS.get(name, 1.0) for name in choices])
        action = BACKGROUND if rests else str(random.choice(choices, p=weights / weights.sum()))
        length = min(length, int(most.get(action, length)))
        if action == "blink":
            length += -length % 4 + 2  # dark, bright, dark ..., two frames each; the last two are dark
        right, down = _MOVES.get(action, (0, 0))
        way = turn if random.random() < 0.5 else -turn
        for step in range(length):
            x, y = x + right * speed, y + down * speed
            radius *= growth if action == "grow" else 1 / growth if action == "shrink" else 1
            angle += way if action == "turn" else 0
            dark = action == "blink" and step % 4 < 2
            rows.append((x, y, radius, angle, _DARK if dark else 1.0, CLASSES.index(action)))
        before = action
    x_s, y_s, radii, angles, brightness, labels = np.array(rows[:frames]).T
    return Motion(x_s, y_s, radii, angles, brightness, labels.astype(np.int64))


def _backdrop(
    random: np.random.Generator, places: npt.NDArray[np.float64], colour: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """A still picture (S, S, 3): dim light from one side, a grain, and a shape that never does anything."""
    slope = random.uniform(-30, 30, (2, 3))
    light = random.uniform(40, 90, 3) + places[:, None, None] * slope[0] + places[None, :, None] * slope[1]
    light = light + random.normal(0, 6, light.shape)
    x, y = random.uniform(0.1, 0.9, 2)
    inside = np.hypot(places[None] - x, places[:, None] - y) < random.uniform(0.05, 0.1)
    return np.where(inside[..., None], 0.5 * colour, light)


def _cover(
    shape: str, motion: Motion, places: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How much of each pixel the shape covers, and how much its shaded half, both (T, S, S): from their outlines."""
    across = places[None, None, :] - motion.x[:, None, None]
    down = places[None, :, None] - motion.y[:, None, None]
    cos, sin = np.cos(motion.angle)[:, None, None], np.sin(motion.angle)[:, None, None]
    u, v = across * cos + down * sin, down * cos - across * sin  # (T, S, S), in the shape's own axes
    radius = motion.radius[:, None, None]
    if shape == "disc":
        distance = np.hypot(u, v) - radius
    elif shape == "square":
        distance = np.maximum(np.abs(u), np.abs(v)) - radius * np.sqrt(0.5)
    elif shape == "triangle":
        distance = np.maximum(np.abs(u) * np.sqrt(0.75) + v / 2, -v) - radius / 2
    else:
        long, short = np.maximum(np.abs(u), np.abs(v)), np.minimum(np.abs(u), np.abs(v))
        distance = np.maximum(long - radius * 0.95, short - radius * 0.3)
    return np.clip(0.5 - distance * size, 0, 1), np.clip(0.5 - u * size, 0, 1)
