"""Puts small things on furniture, so that they stand free and the arm can come to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safevla_ros.robot.state import Vector3
from safevla_ros.simulation.goods import GOODS
from safevla_ros.simulation.parts import Item, Surface

GAP = 0.05
"""Free space between any two things [m]."""
GAP_AT_TARGET = 0.13
"""Free space around the target [m]: open fingers pass on both sides."""
EDGE_DEPTH = 0.42
"""The target stands no deeper than this behind an edge that the arm comes over [m]."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One of an item's surfaces."""

    item: Item
    index: int

    @property
    def surface(self) -> Surface:
        """The surface, in the item's frame."""
        return self.item.design.surfaces[self.index]

    def draw(self, rng: np.random.Generator) -> Vector3:
        """A point of the surface, in the map."""
        return self.item.to_map(_point(self.surface, rng))


def place_goods(
    classes: list[str],
    spots_of_target: list[Spot],
    spots: list[Spot],
    placed: dict[str, str],
    rng: np.random.Generator,
) -> tuple[Item, ...] | None:
    """Things of these classes on the spots, the target first. None: something found no place.

    `placed`: class to furniture, where a scenario says so.
    """
    goods: list[Item] = []
    for number, name in enumerate(classes):
        target = number == 0
        candidates = spots_of_target if target else spots
        if name in placed:
            wanted = placed[name]
            candidates = [s for s in spots if wanted in (s.item.id, s.item.class_name)]
        item = _place(name, candidates, goods, rng, target=target)
        if item is not None:
            goods.append(item)
        elif target or name in placed:
            return None
    return tuple(goods)


def _place(
    name: str, spots: list[Spot], goods: list[Item], rng: np.random.Generator, *, target: bool
) -> Item | None:
    if not spots:
        return None
    design = GOODS[name]()
    low, high = design.bounds()
    radius = float(np.hypot(*np.maximum(-low[:2], high[:2])))
    areas = np.array([max(s.surface.half_x * s.surface.half_y, 0.01) for s in spots]) ** 0.5
    for _ in range(40):
        spot = spots[int(rng.choice(len(spots), p=areas / areas.sum()))]
        surface = spot.surface
        local = _point(surface, rng)
        if target and not _near_edge(surface, local):
            continue
        position = spot.item.to_map(local)
        if is_free(position, radius, goods):
            yaw = float(rng.uniform(-math.pi, math.pi))
            return Item(f"{name}-1", design, position, yaw, fixed=False, support=spot.item.id)
    return None


def _point(surface: Surface, rng: np.random.Generator) -> Vector3:
    x, y, z = surface.center
    return (
        x + float(rng.uniform(-1.0, 1.0)) * surface.half_x,
        y + float(rng.uniform(-1.0, 1.0)) * surface.half_y,
        z,
    )


def _near_edge(surface: Surface, local: Vector3) -> bool:
    depth = min(
        (surface.half_x if edge_x else surface.half_y)
        - edge_x * (local[0] - surface.center[0])
        - edge_y * (local[1] - surface.center[1])
        for edge_x, edge_y in surface.edges
    )
    return depth < EDGE_DEPTH


def is_free(
    position: Vector3,
    radius: float,
    goods: list[Item],
    first_gap: float = GAP_AT_TARGET,
    gap: float = GAP,
) -> bool:
    """Whether a thing of this radius fits here: `first_gap` from the first of the goods, `gap` from
    the others [m]."""
    for number, other in enumerate(goods):
        if abs(other.position[2] - position[2]) > 0.05:
            continue
        _, high = other.design.bounds()
        away = math.hypot(other.position[0] - position[0], other.position[1] - position[1])
        if away < radius + float(np.hypot(*high[:2])) + (first_gap if number == 0 else gap):
            return False
    return True
