"""The shell of a home: rectangular rooms in one or two rows, walls and door gaps between them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from safevla_ros.simulation.parts import Design, Item, Part, Rgb, box

WALL_THICKNESS = 0.10
WALL_HEIGHT = 2.3
DOOR_WIDTH = (0.98, 1.12)
_SKIRTING: Rgb = (0.74, 0.73, 0.70)

KINDS = (("living", "kitchen", "bedroom", "study"), ("living", "bedroom", "kitchen", "study"))


@dataclass(frozen=True, slots=True)
class Room:
    """A room: what it is used for and its inner rectangle in the map [m]."""

    name: str
    kind: str
    x0: float
    y0: float
    x1: float
    y1: float

    def contains(self, x: float, y: float) -> bool:
        """Whether a point of the map lies in it."""
        return self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1


@dataclass(frozen=True, slots=True)
class Door:
    """A gap in a wall: its middle, its width, and whether one walks through it along x."""

    x: float
    y: float
    width: float
    along_x: bool

    def keep_free(self, depth: float = 0.9) -> tuple[float, float, float, float]:
        """Rectangle (x0, y0, x1, y1) that must stay empty for the door to be used."""
        deep, wide = depth + WALL_THICKNESS / 2, self.width / 2 + 0.1
        half_x, half_y = (deep, wide) if self.along_x else (wide, deep)
        return self.x - half_x, self.y - half_y, self.x + half_x, self.y + half_y


@dataclass(frozen=True, slots=True)
class Shell:
    """Rooms, doors and walls."""

    rooms: tuple[Room, ...]
    doors: tuple[Door, ...]
    walls: tuple[Item, ...]


def make_shell(count: int, rng: np.random.Generator, paints: list[Rgb]) -> Shell:
    """Rooms for a home of `count` rooms; `paints`: wall colours, cycled through."""
    rows = _row_widths(count, rng)
    depths = [float(rng.uniform(4.0, 4.8)) for _ in rows]
    kinds = list(KINDS[rng.integers(len(KINDS))][:count])
    rng.shuffle(kinds)

    rooms: list[Room] = []
    doors: list[Door] = []
    segments: list[tuple[float, float, float, float]] = []
    total = sum(rows[0]) + WALL_THICKNESS * (len(rows[0]) - 1)
    y0 = 0.0
    by_row: list[list[Room]] = []
    for widths, depth in zip(rows, depths, strict=True):
        x0 = 0.0
        row: list[Room] = []
        for i, width in enumerate(widths):
            kind = kinds[len(rooms)]
            room = Room(f"{kind}_room", kind, x0, y0, x0 + width, y0 + depth)
            rooms.append(room)
            row.append(room)
            x0 += width
            if i + 1 < len(widths):
                middle = x0 + WALL_THICKNESS / 2
                door = _door(rng, middle, y0, y0 + depth, along_x=True)
                doors.append(door)
                segments += _split(door, y0, y0 + depth)
                x0 += WALL_THICKNESS
        by_row.append(row)
        y0 += depth + WALL_THICKNESS
    for below, above in itertools.pairwise(by_row):
        middle = below[0].y1 + WALL_THICKNESS / 2
        # The door opens into one room below and one above.
        upper = above[0]
        low, high = max(below[0].x0, upper.x0), min(below[0].x1, upper.x1)
        door = _door(rng, middle, low, high, along_x=False)
        doors.append(door)
        segments += _split(door, 0.0, total)
    top = y0 - WALL_THICKNESS
    t = WALL_THICKNESS
    segments += [
        (-t, -t, total + t, 0.0),
        (-t, top, total + t, top + t),
        (-t, 0.0, 0.0, top),
        (total, 0.0, total + t, top),
    ]
    walls = tuple(
        _wall(f"wall-{i}", segment, paints[i % len(paints)])
        for i, segment in enumerate(segments, start=1)
    )
    return Shell(tuple(rooms), tuple(doors), walls)


def _row_widths(count: int, rng: np.random.Generator) -> list[list[float]]:
    def width() -> float:
        return float(rng.uniform(3.9, 4.6))

    if count == 1:
        return [[float(rng.uniform(4.8, 5.4))]]
    first = [width(), width()]
    if count == 2:
        return [first]
    total = sum(first) + WALL_THICKNESS
    if count == 3:
        return [first, [total]]
    split = float(rng.uniform(3.9, total - WALL_THICKNESS - 3.9)) if total > 7.95 else first[0]
    return [first, [split, total - WALL_THICKNESS - split]]


def _door(
    rng: np.random.Generator, middle: float, low: float, high: float, *, along_x: bool
) -> Door:
    """A door in the wall at `middle`, somewhere between `low` and `high` along it."""
    width = float(rng.uniform(*DOOR_WIDTH))
    at = float(rng.uniform(low + 0.9, high - 0.9))
    return Door(middle, at, width, True) if along_x else Door(at, middle, width, False)


def _split(door: Door, low: float, high: float) -> list[tuple[float, float, float, float]]:
    """The wall from `low` to `high` as two rectangles with the door's gap between them."""
    half = WALL_THICKNESS / 2
    if door.along_x:
        gap = (door.y - door.width / 2, door.y + door.width / 2)
        return [
            (door.x - half, low, door.x + half, gap[0]),
            (door.x - half, gap[1], door.x + half, high),
        ]
    gap = (door.x - door.width / 2, door.x + door.width / 2)
    return [
        (low, door.y - half, gap[0], door.y + half),
        (gap[1], door.y - half, high, door.y + half),
    ]


def _wall(id_: str, rectangle: tuple[float, float, float, float], paint: Rgb) -> Item:
    x0, y0, x1, y1 = rectangle
    size = (x1 - x0, y1 - y0, WALL_HEIGHT)
    parts: tuple[Part, ...] = (
        box(size, (0.0, 0.0, 0.0), paint),
        box((size[0] + 0.016, size[1] + 0.016, 0.08), (0.0, 0.0, 0.0), _SKIRTING, solid=False),
    )
    return Item(id_, Design("wall", parts), ((x0 + x1) / 2, (y0 + y1) / 2, 0.0))
