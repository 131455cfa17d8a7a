"""Puts furniture into rooms: backs to the walls, doors free, and space to walk."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safevla_ros.simulation import furniture as kinds
from safevla_ros.simulation.furniture import Maker, Palette
from safevla_ros.simulation.parts import Design, Item
from safevla_ros.simulation.rooms import Room, Shell

Rectangle = tuple[float, float, float, float]

WALKWAY = 0.72
"""Free space that is left in front of furniture and around tables [m]."""
TRIES = 40


@dataclass(frozen=True, slots=True)
class _Wish:
    """A piece that a kind of room gets: with this chance, at the wall or free in the room."""

    make: Maker
    chance: float = 1.0
    at_wall: bool = True
    in_corner: bool = False


WISHES: dict[str, tuple[_Wish, ...]] = {
    "living": (
        _Wish(kinds.sofa),
        _Wish(kinds.sideboard),
        _Wish(kinds.shelf, 0.8),
        _Wish(kinds.coffee_table, at_wall=False),
        _Wish(kinds.armchair, 0.5, in_corner=True),
        _Wish(kinds.plant, 0.9, in_corner=True),
        _Wish(kinds.floor_lamp, 0.8, in_corner=True),
    ),
    "kitchen": (
        _Wish(kinds.counter),
        _Wish(kinds.fridge, in_corner=True),
        _Wish(kinds.dining_table, at_wall=False),
        _Wish(kinds.shelf, 0.5),
        _Wish(kinds.bin_, 0.8, in_corner=True),
        _Wish(kinds.plant, 0.4, in_corner=True),
    ),
    "bedroom": (
        _Wish(kinds.bed),
        _Wish(kinds.wardrobe, 0.9, in_corner=True),
        _Wish(kinds.nightstand),
        _Wish(kinds.desk, 0.5),
        _Wish(kinds.plant, 0.5, in_corner=True),
        _Wish(kinds.floor_lamp, 0.5, in_corner=True),
    ),
    "study": (
        _Wish(kinds.desk),
        _Wish(kinds.shelf),
        _Wish(kinds.sofa, 0.6),
        _Wish(kinds.nightstand, 0.6),
        _Wish(kinds.armchair, 0.6, in_corner=True),
        _Wish(kinds.plant, 0.8, in_corner=True),
        _Wish(kinds.floor_lamp, 0.6, in_corner=True),
    ),
}
ESSENTIAL = 1.0
"""Pieces with this chance must find a place, or the home is drawn anew."""


def furnish(shell: Shell, rng: np.random.Generator, palette: Palette) -> tuple[Item, ...] | None:
    """Furniture for all rooms; None when an essential piece does not fit."""
    items: list[Item] = []
    counts: dict[str, int] = {}
    for room in shell.rooms:
        # What must stay free, and what is taken already.
        free = [door.keep_free() for door in shell.doors]
        taken: list[Rectangle] = []
        for wish in WISHES[room.kind]:
            if rng.random() > wish.chance:
                continue
            design = wish.make(rng, palette)
            pose = _find_place(design, wish, room, taken, free, rng)
            if pose is None:
                if wish.chance >= ESSENTIAL:
                    return None
                continue
            items.append(_item(design, pose, counts))
            taken.append(_footprint(design, *pose))
            if wish.at_wall and design.surfaces:
                free.append(_in_front(design, *pose))
            if design.class_name == "table":
                items += _chairs(design, pose, taken, counts, rng, palette)
    return tuple(items)


def decorate(
    shell: Shell, furniture: tuple[Item, ...], rng: np.random.Generator, palette: Palette
) -> tuple[Item, ...]:
    """Rugs, pictures and windows: seen, not felt."""
    items: list[Item] = []
    counts: dict[str, int] = {}
    width, depth = max(r.x1 for r in shell.rooms), max(r.y1 for r in shell.rooms)
    for room in shell.rooms:
        middle = ((room.x0 + room.x1) / 2, (room.y0 + room.y1) / 2)
        if room.kind != "kitchen" and rng.random() < 0.8:
            low = next(
                (
                    f
                    for f in furniture
                    if f.class_name == "coffee_table" and room.contains(*f.position[:2])
                ),
                None,
            )
            at = low.position[:2] if low is not None else middle
            yaw = float(rng.integers(2)) * math.pi / 2
            items.append(_item(kinds.rug(rng, palette), (*at, yaw), counts))
        sides = [
            (0.0, room.x0, middle[1], room.x0 == 0.0),
            (math.pi, room.x1, middle[1], room.x1 == width),
            (math.pi / 2, middle[0], room.y0, room.y0 == 0.0),
            (-math.pi / 2, middle[0], room.y1, room.y1 == depth),
        ]
        for yaw, x, y, outer in sides:
            if not outer:
                continue
            make = kinds.window if rng.random() < 0.45 else kinds.picture
            shift = float(rng.uniform(-0.9, 0.9))
            at = (x, y + shift) if abs(math.sin(yaw)) < 0.5 else (x + shift, y)
            items.append(_item(make(rng, palette), (*at, yaw), counts))
    return tuple(items)


def _item(design: Design, pose: tuple[float, float, float], counts: dict[str, int]) -> Item:
    name = design.class_name
    counts[name] = counts.get(name, 0) + 1
    return Item(f"{name}-{counts[name]}", design, (pose[0], pose[1], 0.0), pose[2])


def _find_place(
    design: Design,
    wish: _Wish,
    room: Room,
    taken: list[Rectangle],
    free: list[Rectangle],
    rng: np.random.Generator,
) -> tuple[float, float, float] | None:
    for _ in range(TRIES):
        pose = _draw_pose(design, wish, room, rng)
        if pose is None:
            return None
        own = _footprint(design, *pose)
        grown = _grow(own, WALKWAY) if not wish.at_wall else _grow(own, 0.04)
        inside = (
            own[0] >= room.x0 - 1e-6
            and own[1] >= room.y0 - 1e-6
            and own[2] <= room.x1 + 1e-6
            and own[3] <= room.y1 + 1e-6
        )
        if not inside or any(_overlap(grown, other) for other in taken):
            continue
        if any(_overlap(own, other) for other in free):
            continue
        front = _in_front(design, *pose)
        if wish.at_wall and design.surfaces and any(_overlap(front, other) for other in taken):
            continue
        return pose
    return None


def _draw_pose(
    design: Design, wish: _Wish, room: Room, rng: np.random.Generator
) -> tuple[float, float, float] | None:
    low, high = design.bounds()
    if not wish.at_wall:
        yaw = float(rng.integers(2)) * math.pi / 2
        margin = WALKWAY + 0.1
        half = max(high[0], high[1])
        if room.x1 - room.x0 < 2 * (margin + half) or room.y1 - room.y0 < 2 * (margin + half):
            margin = 0.3
        return (
            float(rng.uniform(room.x0 + margin, room.x1 - margin)),
            float(rng.uniform(room.y0 + margin, room.y1 - margin)),
            yaw,
        )
    side = int(rng.integers(4))
    yaw = side * math.pi / 2
    back, wide = float(-low[0]) + 0.02, float(max(high[1], -low[1])) + 0.02
    vertical = side % 2 == 0  # the wall runs along y
    start, end = (room.y0, room.y1) if vertical else (room.x0, room.x1)
    if end - start < 2 * wide:
        return None
    along = float(rng.uniform(start + wide, end - wide))
    if wish.in_corner:
        along = start + wide if rng.random() < 0.5 else end - wide
    if side == 0:
        return room.x0 + back, along, yaw
    if side == 1:
        return along, room.y0 + back, yaw
    if side == 2:
        return room.x1 - back, along, yaw
    return along, room.y1 - back, yaw


def _chairs(
    table: Design,
    pose: tuple[float, float, float],
    taken: list[Rectangle],
    counts: dict[str, int],
    rng: np.random.Generator,
    palette: Palette,
) -> list[Item]:
    """One or two chairs at the table's long sides; the rest stays open for the arm."""
    _, high = table.bounds()
    holder = Item("table", table, (pose[0], pose[1], 0.0), pose[2])
    items = []
    side = 1.0 if rng.random() < 0.5 else -1.0
    for along in (-0.28, 0.28)[: 1 + int(rng.integers(2))]:
        x, y, _ = holder.to_map((side * (float(high[0]) + 0.02), along, 0.0))
        yaw = pose[2] + (math.pi if side > 0 else 0.0)
        design = kinds.chair(rng, palette)
        items.append(_item(design, (x, y, yaw), counts))
        taken.append(_footprint(design, x, y, yaw))
    return items


def _footprint(design: Design, x: float, y: float, yaw: float) -> Rectangle:
    """Axis-aligned rectangle of a design that stands at a multiple of 90 degrees."""
    low, high = design.bounds()
    return _placed((low[0], low[1], high[0], high[1]), x, y, yaw)


def _in_front(design: Design, x: float, y: float, yaw: float) -> Rectangle:
    """Where one stands to use a piece of furniture at a wall (a bed: at its sides too)."""
    low, high = design.bounds()
    side = WALKWAY if any(edge[1] for s in design.surfaces for edge in s.edges) else 0.0
    return _placed(
        (low[0], low[1] - side * 0.5, high[0] + WALKWAY, high[1] + side * 0.5), x, y, yaw
    )


def _placed(local: tuple[float, ...], x: float, y: float, yaw: float) -> Rectangle:
    c, s = round(math.cos(yaw)), round(math.sin(yaw))
    xs = [c * local[i] - s * local[j] for i in (0, 2) for j in (1, 3)]
    ys = [s * local[i] + c * local[j] for i in (0, 2) for j in (1, 3)]
    return x + min(xs), y + min(ys), x + max(xs), y + max(ys)


def _grow(r: Rectangle, by: float) -> Rectangle:
    return r[0] - by, r[1] - by, r[2] + by, r[3] + by


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
