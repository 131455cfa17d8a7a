"""Where to put something down on a piece of furniture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from safevla_ros.robot.state import SceneObject, Vector3
from safevla_ros.simulation.parts import Item

SPOT_GAP_M = 0.24
"""Free space around the point at which something is put down."""
ENOUGH_WAYS = 12
"""A point with so many base poses to reach it from is good enough."""


def choose_spot(
    place: Item, others: Iterable[SceneObject], rise: float, ways: Callable[[Vector3], int]
) -> Vector3:
    """The free point of a place that is reached most easily.

    `rise`: how far the grasp centre is above the lowest point of what is put down [m]. `ways`: how
    many base poses reach a point.
    """
    options = []
    for surface in place.design.surfaces:
        x, y, z = surface.center
        for fx, fy in np.ndindex(4, 6):
            local = (
                x + (fx / 1.5 - 1.0) * 0.9 * surface.half_x,
                y + (fy / 2.5 - 1.0) * 0.9 * surface.half_y,
                z,
            )
            px, py, pz = place.to_map(local)
            gap = min(
                (
                    math.hypot(px - entry.pose.position[0], py - entry.pose.position[1])
                    for entry in others
                    if abs(entry.pose.position[2] - pz) < 0.3
                ),
                default=1.0,
            )
            if gap > SPOT_GAP_M:
                options.append((min(gap, 0.4), (px, py, pz + rise)))
    options.sort(key=lambda option: -option[0])
    most, best = 0, (place.position[0], place.position[1], 0.0)
    for _, point in options:
        count = ways(point)
        if count > most:
            most, best = count, point
        if count >= ENOUGH_WAYS:
            break
    return best
