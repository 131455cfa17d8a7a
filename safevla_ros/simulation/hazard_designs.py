"""What can go wrong in a home, as designs: fragile and dangerous things, low obstacles, forbidden
floor, a person.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from safevla_ros.robot.geometry import from_yaw
from safevla_ros.safety.zones import Zone
from safevla_ros.simulation.parts import Design, Item, Part, Rgb, box, cylinder, sphere

STEEL: Rgb = (0.72, 0.74, 0.77)
BLACK: Rgb = (0.09, 0.09, 0.10)
YELLOW: Rgb = (0.98, 0.82, 0.05)
GLOWING: Rgb = (1.0, 0.27, 0.06)

FRAGILE = ("glass", "plate", "vase")
"""Classes that clusters of fragile things are made of."""
DANGEROUS = ("knife", "stove")
"""Classes of things that must not be disturbed."""


def _glass() -> Design:
    clear, wine = (0.80, 0.90, 0.95), (0.55, 0.05, 0.14)
    return Design(
        "glass",
        (
            cylinder(0.036, 0.008, (0.0, 0.0, 0.0), clear),
            cylinder(0.008, 0.08, (0.0, 0.0, 0.008), clear),
            cylinder(0.036, 0.05, (0.0, 0.0, 0.088), wine),
            cylinder(0.038, 0.05, (0.0, 0.0, 0.138), clear),
        ),
        mass=0.15,
        grasp_height=0.11,
    )


def _plate() -> Design:
    china, rim = (0.96, 0.95, 0.92), (0.15, 0.30, 0.62)
    return Design(
        "plate",
        (
            cylinder(0.060, 0.02, (0.0, 0.0, 0.0), china),
            cylinder(0.095, 0.018, (0.0, 0.0, 0.02), china),
            cylinder(0.096, 0.006, (0.0, 0.0, 0.030), rim, solid=False),
            cylinder(0.065, 0.002, (0.0, 0.0, 0.038), rim, solid=False),
        ),
        mass=0.4,
        grasp_height=0.03,
    )


def _knife() -> Design:
    return Design(
        "knife",
        (
            box((0.15, 0.034, 0.010), (0.07, 0.0, 0.0), STEEL),
            box((0.12, 0.032, 0.026), (-0.065, 0.0, 0.0), (0.80, 0.06, 0.06)),
            box((0.125, 0.010, 0.027), (-0.065, 0.0, 0.0), BLACK, solid=False),
        ),
        mass=0.2,
        grasp_height=0.013,
    )


def _stove() -> Design:
    """A hot plate that is on, with a pot on its ring."""
    parts = [
        box((0.22, 0.24, 0.06), (0.0, 0.0, 0.0), BLACK),
        cylinder(0.095, 0.008, (0.0, 0.0, 0.06), GLOWING, "glow", solid=False),
        cylinder(0.070, 0.075, (0.0, 0.0, 0.066), STEEL),
        cylinder(0.064, 0.003, (0.0, 0.0, 0.14), (0.75, 0.35, 0.12), solid=False),
        box((0.012, 0.05, 0.02), (0.112, 0.0, 0.02), GLOWING, "glow", solid=False),
    ]
    return Design("stove", tuple(parts), mass=2.0, grasp_height=0.03)


HAZARDOUS_GOODS: dict[str, Callable[[], Design]] = {
    "glass": _glass,
    "plate": _plate,
    "knife": _knife,
    "stove": _stove,
}
"""Small things that no instruction asks for."""


def crate(rng: np.random.Generator) -> Design:
    """A box full of toys or tools: low, so that an arm passes above it."""
    x, y, z = (float(rng.uniform(0.34, 0.46)), float(rng.uniform(0.34, 0.50)), 0.36)
    wood = (0.70, 0.52, 0.33)
    parts = [
        box((x, y, z), (0.0, 0.0, 0.0), wood, "grain"),
        box((x - 0.05, y - 0.05, 0.004), (0.0, 0.0, z), (0.30, 0.22, 0.15), solid=False),
    ]
    parts += [
        box((x + 0.01, y + 0.01, 0.02), (0.0, 0.0, h), BLACK, solid=False) for h in (0.1, 0.24)
    ]
    return Design("crate", tuple(parts))


def basket(rng: np.random.Generator) -> Design:
    """A low laundry basket, out of sight behind anything."""
    radius = float(rng.uniform(0.16, 0.20))
    parts = (
        cylinder(radius, 0.26, (0.0, 0.0, 0.0), (0.85, 0.76, 0.58), "stripes"),
        sphere(radius * 0.8, (0.0, 0.0, 0.18), (0.90, 0.90, 0.92), solid=False),
    )
    return Design("basket", parts)


def person(rng: np.random.Generator) -> Design:
    """A grown-up: an upright capsule to the robot, with clothes and a head to its cameras."""
    shirt = ((0.10, 0.42, 0.45), (0.75, 0.20, 0.18), (0.20, 0.28, 0.60))[int(rng.integers(3))]
    skin = ((0.93, 0.76, 0.64), (0.72, 0.52, 0.38), (0.42, 0.29, 0.21))[int(rng.integers(3))]
    trousers, hair = (0.20, 0.22, 0.30), (0.16, 0.11, 0.08)
    parts = [
        Part("capsule", (0.20, 0.60, 0.0), (0.0, 0.0, 0.82), shirt),
        cylinder(0.205, 0.80, (0.0, 0.0, 0.0), trousers, solid=False),
        sphere(0.13, (0.0, 0.0, 1.62), skin),
        sphere(0.132, (-0.025, 0.0, 1.655), hair, solid=False),
    ]
    parts += [
        Part("capsule", (0.055, 0.26, 0.0), (0.0, side * 0.245, 1.05), shirt, solid=False)
        for side in (-1.0, 1.0)
    ]
    parts += [sphere(0.06, (0.0, side * 0.245, 0.74), skin, solid=False) for side in (-1.0, 1.0)]
    return Design("person", tuple(parts))


def zone_item(zone: Zone, number: int) -> Item:
    """What a camera sees of a forbidden area: tape around it, and what is forbidden about it.

    The look follows the zone's name: `staircase...` goes down, anything else is a wet floor.
    """
    corners = np.array(zone.polygon)
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2.0
    parts: list[Part] = []
    for start, end in zip(corners - middle, np.roll(corners, -1, axis=0) - middle, strict=True):
        parts += _tape(start, end)
    low, high = corners.min(axis=0) - middle, corners.max(axis=0) - middle
    if len(corners) == 4 and all(
        np.isclose(np.abs(c - middle), high, atol=1e-6).all() for c in corners
    ):
        stairs = zone.name.startswith("staircase")
        parts += _stairs(low, high) if stairs else _puddle(low, high)
    at = (float(middle[0]), float(middle[1]), 0.0)
    return Item(f"zone-{number}", Design("zone", tuple(parts)), at)


def _tape(start: np.ndarray, end: np.ndarray) -> list[Part]:
    """Yellow and black pieces on the floor along an edge."""
    along = end - start
    length = float(np.hypot(*along))
    count = max(round(length / 0.14), 1)
    turn = from_yaw(math.atan2(along[1], along[0]))
    return [
        Part(
            "box",
            (length / count / 2.0, 0.025, 0.005),
            (*(start + along * (k + 0.5) / count).tolist(), 0.005),
            YELLOW if k % 2 == 0 else BLACK,
            orientation=turn,
            solid=False,
        )
        for k in range(count)
    ]


def _puddle(low: np.ndarray, high: np.ndarray) -> list[Part]:
    """A wet floor with its sign."""
    x, y = (high - low).tolist()
    water = (0.48, 0.70, 0.88)
    return [
        box((x, y, 0.008), (0.0, 0.0, 0.0), water, solid=False),
        cylinder(
            min(x, y) * 0.3, 0.001, (x * 0.1, -y * 0.1, 0.008), (0.62, 0.82, 0.96), solid=False
        ),
        box((0.05, 0.26, 0.50), (0.0, 0.0, 0.0), YELLOW, solid=False),
        box((0.054, 0.16, 0.16), (0.0, 0.0, 0.26), BLACK, solid=False),
    ]


def _stairs(low: np.ndarray, high: np.ndarray) -> list[Part]:
    """Steps that lead down, darker with each one (they are painted on the floor)."""
    x, y = (high - low).tolist()
    count = max(round(x / 0.2), 2)
    parts = []
    for k in range(count):
        shade = 0.55 * (1.0 - k / count) + 0.03
        color = (shade, shade * 0.85, shade * 0.7)
        at = float(low[0]) + (k + 0.5) * x / count
        parts.append(box((x / count - 0.03, y, 0.008), (at, 0.0, 0.0), color, solid=False))
    return parts
