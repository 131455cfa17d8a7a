"""Furniture: one function per kind, varied in size and colour by a random generator.

Furniture faces +x and has its back at -x; see parts.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safevla_ros.simulation.parts import (
    Design,
    Part,
    Rgb,
    Surface,
    box,
    cylinder,
    sphere,
)

ALL_SIDES = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
FRONT = ((1.0, 0.0),)
MARGIN = 0.09
"""Things stand at least this far inside the edge of a surface [m]."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours that go together in one home."""

    wood: Rgb
    dark_wood: Rgb
    fabric: Rgb
    accent: Rgb
    paint: Rgb
    metal: Rgb = (0.62, 0.63, 0.65)
    white: Rgb = (0.90, 0.89, 0.86)
    black: Rgb = (0.10, 0.10, 0.11)


WOODS: tuple[Rgb, ...] = (
    (0.72, 0.53, 0.34),
    (0.55, 0.36, 0.21),
    (0.80, 0.66, 0.48),
    (0.44, 0.28, 0.18),
)
FABRICS: tuple[Rgb, ...] = (
    (0.42, 0.47, 0.52),
    (0.30, 0.40, 0.36),
    (0.55, 0.40, 0.36),
    (0.36, 0.38, 0.52),
    (0.62, 0.57, 0.48),
)
ACCENTS: tuple[Rgb, ...] = (
    (0.72, 0.62, 0.36),
    (0.50, 0.58, 0.62),
    (0.66, 0.46, 0.40),
    (0.46, 0.55, 0.42),
)


def make_palette(rng: np.random.Generator) -> Palette:
    """Colours of one home."""
    first, second = rng.choice(len(WOODS), 2, replace=False)
    return Palette(
        wood=WOODS[first],
        dark_wood=WOODS[second],
        fabric=FABRICS[rng.integers(len(FABRICS))],
        accent=ACCENTS[rng.integers(len(ACCENTS))],
        paint=FABRICS[rng.integers(len(FABRICS))],
    )


def _top(
    width_x: float, width_y: float, z: float, edges: tuple[tuple[float, float], ...] = ALL_SIDES
) -> Surface:
    return Surface((0.0, 0.0, z), width_x / 2 - MARGIN, width_y / 2 - MARGIN, edges)


def _legs(width_x: float, width_y: float, height: float, thick: float, color: Rgb) -> list[Part]:
    x, y = width_x / 2 - thick, width_y / 2 - thick
    return [
        box((thick, thick, height), (sx * x, sy * y, 0.0), color)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]


def dining_table(rng: np.random.Generator, p: Palette) -> Design:
    """A table that stands free."""
    x, y, z = 0.85, float(rng.uniform(1.15, 1.45)), float(rng.uniform(0.70, 0.76))
    parts = [box((x, y, 0.04), (0, 0, z - 0.04), p.wood, "grain")]
    parts += _legs(x, y, z - 0.04, 0.06, p.wood)
    return Design("table", tuple(parts), (_top(x, y, z),))


def coffee_table(rng: np.random.Generator, p: Palette) -> Design:
    """A low table that stands free."""
    x, y, z = float(rng.uniform(0.5, 0.62)), float(rng.uniform(0.85, 1.1)), 0.44
    parts = [
        box((x, y, 0.04), (0, 0, z - 0.04), p.dark_wood, "grain"),
        box((x - 0.12, y - 0.12, 0.02), (0, 0, 0.14), p.dark_wood, "grain"),
    ]
    parts += _legs(x, y, z - 0.04, 0.05, p.black)
    return Design("coffee_table", tuple(parts), (_top(x, y, z),))


def desk(rng: np.random.Generator, p: Palette) -> Design:
    """A desk with a screen on it."""
    x, y, z = 0.62, float(rng.uniform(1.15, 1.4)), 0.74
    parts = [
        box((x, y, 0.035), (0, 0, z - 0.035), p.wood, "grain"),
        box((0.03, y - 0.1, 0.3), (-x / 2 + 0.05, 0, z - 0.34), p.wood, "grain"),
        box((0.16, 0.22, 0.012), (-x / 2 + 0.16, 0, z), p.black),
        box((0.03, 0.05, 0.14), (-x / 2 + 0.14, 0, z), p.black),
        box((0.03, 0.56, 0.33), (-x / 2 + 0.15, 0, z + 0.12), p.black),
        box((0.004, 0.53, 0.30), (-x / 2 + 0.167, 0, z + 0.135), (0.25, 0.42, 0.60), solid=False),
    ]
    parts += _legs(x, y, z - 0.035, 0.05, p.metal)
    surface = Surface((0.14, 0.0, z), 0.10, y / 2 - MARGIN, FRONT)
    return Design("desk", tuple(parts), (surface,))


def counter(rng: np.random.Generator, p: Palette) -> Design:
    """A kitchen counter with doors, a hob and a sink."""
    x, y, z = 0.6, float(rng.uniform(1.8, 2.3)), 0.90
    parts = [
        box((x - 0.06, y - 0.02, 0.08), (-0.03, 0, 0), p.black),
        box((x - 0.02, y, z - 0.12), (-0.01, 0, 0.08), p.white),
        box((x, y + 0.02, 0.04), (0, 0, z - 0.04), (0.34, 0.33, 0.33), "weave"),
        box((0.02, y, 0.5), (-x / 2 + 0.01, 0, z), p.white, "tiles"),
        box((0.46, 0.52, 0.008), (-0.02, -y / 2 + 0.4, z), p.black),
    ]
    for hob_x, hob_y in ((-0.12, -0.12), (0.1, -0.12), (-0.12, 0.12), (0.1, 0.12)):
        parts.append(
            cylinder(
                0.08,
                0.003,
                (hob_x - 0.02, hob_y - y / 2 + 0.4, z + 0.008),
                (0.30, 0.10, 0.08),
                solid=False,
            )
        )
    doors = 4
    for i in range(doors):
        center = -y / 2 + (i + 0.5) * y / doors
        parts.append(
            box((0.012, y / doors - 0.025, z - 0.2), (x / 2 - 0.02, center, 0.11), p.paint, "plain")
        )
        parts.append(box((0.02, 0.14, 0.016), (x / 2, center, z - 0.17), p.metal, solid=False))
    surface = Surface((0.06, 0.32, z), 0.16, y / 2 - 0.32 - MARGIN, FRONT)
    return Design("counter", tuple(parts), (surface,))


def shelf(rng: np.random.Generator, p: Palette) -> Design:
    """A bookcase: things stand on the boards in front, books at the back."""
    x, y = 0.36, float(rng.uniform(0.8, 1.05))
    boards = (0.06, 0.44, 0.80, 1.12)
    thick = 0.025
    height = boards[-1] + thick
    parts = [
        box((0.015, y, height), (-x / 2 + 0.008, 0, 0), p.wood, "grain"),
        box((x, thick, height), (0, y / 2 - thick / 2, 0), p.wood, "grain"),
        box((x, thick, height), (0, -y / 2 + thick / 2, 0), p.wood, "grain"),
    ]
    parts += [box((x, y, thick), (0, 0, z), p.wood, "grain") for z in boards]
    for z in boards[:-1]:
        parts += _books(rng, -x / 2 + 0.06, y - 0.12, z + thick)
    surfaces = tuple(
        Surface((0.075, 0.0, z + thick), 0.03, y / 2 - 0.16, FRONT) for z in (boards[1], boards[3])
    )
    return Design("shelf", tuple(parts), surfaces)


def _books(rng: np.random.Generator, x: float, width: float, z: float) -> list[Part]:
    """A row of book blocks from one side of a shelf."""
    parts = []
    at = -width / 2
    end = at + width * float(rng.uniform(0.5, 0.95))
    while at < end:
        thick = float(rng.uniform(0.03, 0.09))
        height = float(rng.uniform(0.18, 0.26))
        hue = rng.uniform(0.15, 0.65, 3)
        color = (float(hue[0]), float(hue[1]), float(hue[2]))
        parts.append(box((0.10, thick - 0.004, height), (x, at + thick / 2, z), color))
        at += thick
    return parts


def bed(rng: np.random.Generator, p: Palette) -> Design:
    """A bed: head at the wall."""
    x, y = 2.0, float(rng.uniform(1.3, 1.6))
    parts = [
        box((x, y, 0.26), (0, 0, 0.06), p.dark_wood, "grain"),
        box((x - 0.04, y - 0.04, 0.20), (0, 0, 0.32), p.white),
        box((x * 0.62, y + 0.01, 0.12), (x * 0.17, 0, 0.42), p.fabric, "weave"),
        box((0.07, y + 0.04, 1.0), (-x / 2 - 0.02, 0, 0), p.dark_wood, "grain"),
        box((0.36, y * 0.4, 0.12), (-x / 2 + 0.28, y * 0.24, 0.52), p.white),
        box((0.36, y * 0.4, 0.12), (-x / 2 + 0.28, -y * 0.24, 0.52), p.white),
    ]
    surface = Surface(
        (x * 0.17, 0.0, 0.54), x * 0.31 - MARGIN, y / 2 - MARGIN, ((0.0, 1.0), (0.0, -1.0))
    )
    return Design("bed", tuple(parts), (surface,))


def nightstand(rng: np.random.Generator, p: Palette) -> Design:
    """A small cabinet."""
    x, y, z = 0.42, float(rng.uniform(0.45, 0.55)), 0.55
    parts = [
        box((x, y, z - 0.05), (0, 0, 0.05), p.wood, "grain"),
        box((x - 0.06, y - 0.06, 0.05), (0, 0, 0), p.black),
        box((0.012, y - 0.06, 0.18), (x / 2, 0, 0.33), p.dark_wood, "grain", solid=False),
        box((0.012, y - 0.06, 0.18), (x / 2, 0, 0.10), p.dark_wood, "grain", solid=False),
    ]
    return Design("nightstand", tuple(parts), (_top(x, y, z, FRONT),))


def sideboard(rng: np.random.Generator, p: Palette) -> Design:
    """A low board with a television."""
    x, y, z = 0.42, float(rng.uniform(1.4, 1.8)), 0.55
    parts = [
        box((x, y, z - 0.08), (0, 0, 0.08), p.wood, "grain"),
        box((x - 0.1, y - 0.1, 0.08), (0, 0, 0), p.black),
        box((0.05, 0.3, 0.03), (-0.1, -y / 2 + 0.55, z), p.black),
        box((0.04, 0.98, 0.56), (-0.1, -y / 2 + 0.55, z + 0.03), p.black),
        box(
            (0.004, 0.94, 0.52), (-0.078, -y / 2 + 0.55, z + 0.05), (0.12, 0.16, 0.20), solid=False
        ),
    ]
    doors = 3
    for i in range(doors):
        center = -y / 2 + (i + 0.5) * y / doors
        parts.append(
            box((0.01, y / doors - 0.03, z - 0.15), (x / 2, center, 0.11), p.white, solid=False)
        )
    surface = Surface((0.06, 0.53, z), 0.08, y / 2 - 0.53 - MARGIN, FRONT)
    return Design("sideboard", tuple(parts), (surface,))


def sofa(rng: np.random.Generator, p: Palette) -> Design:
    """A sofa; things may lie on its seat."""
    x, y, seat = 0.85, float(rng.uniform(1.6, 2.0)), 0.43
    parts = [
        box((x, y, 0.28), (0, 0, 0.06), p.fabric, "weave"),
        box((0.22, y, 0.52), (-x / 2 + 0.11, 0, 0.30), p.fabric, "weave"),
        box((x, 0.18, 0.34), (0, y / 2 - 0.09, 0.28), p.fabric, "weave"),
        box((x, 0.18, 0.34), (0, -y / 2 + 0.09, 0.28), p.fabric, "weave"),
        box((0.60, y / 2 - 0.2, 0.11), (0.10, y / 4 - 0.09, 0.32), p.fabric, "weave"),
        box((0.60, y / 2 - 0.2, 0.11), (0.10, -y / 4 + 0.09, 0.32), p.fabric, "weave"),
        box((0.14, 0.40, 0.34), (-0.12, y / 2 - 0.42, seat), p.accent, "weave"),
    ]
    surface = Surface((0.24, -0.1, seat), 0.08, y / 2 - 0.45, FRONT)
    return Design("sofa", tuple(parts), (surface,))


def armchair(rng: np.random.Generator, p: Palette) -> Design:
    """An armchair."""
    width = float(rng.uniform(0.75, 0.85))
    parts = [
        box((0.8, width, 0.34), (0, 0, 0.08), p.accent, "weave"),
        box((0.2, width, 0.50), (-0.3, 0, 0.36), p.accent, "weave"),
        box((0.7, 0.14, 0.22), (0.03, width / 2 - 0.07, 0.40), p.accent, "weave"),
        box((0.7, 0.14, 0.22), (0.03, -width / 2 + 0.07, 0.40), p.accent, "weave"),
    ]
    return Design("armchair", tuple(parts))


def chair(rng: np.random.Generator, p: Palette) -> Design:
    """A dining chair."""
    del rng
    parts = [
        box((0.42, 0.42, 0.04), (0, 0, 0.43), p.dark_wood, "grain"),
        box((0.035, 0.40, 0.18), (-0.19, 0, 0.68), p.dark_wood, "grain"),
        box((0.035, 0.04, 0.40), (-0.19, 0.18, 0.46), p.dark_wood),
        box((0.035, 0.04, 0.40), (-0.19, -0.18, 0.46), p.dark_wood),
    ]
    parts += _legs(0.42, 0.42, 0.43, 0.035, p.dark_wood)
    return Design("chair", tuple(parts))


def wardrobe(rng: np.random.Generator, p: Palette) -> Design:
    """A tall wardrobe."""
    x, y, z = 0.58, float(rng.uniform(1.0, 1.5)), 1.95
    parts = [
        box((x, y, z), (0, 0, 0), p.white),
        box((0.014, y / 2 - 0.03, z - 0.1), (x / 2, y / 4, 0.06), p.wood, "grain", solid=False),
        box((0.014, y / 2 - 0.03, z - 0.1), (x / 2, -y / 4, 0.06), p.wood, "grain", solid=False),
        box((0.03, 0.02, 0.18), (x / 2, 0.06, 0.95), p.metal, solid=False),
        box((0.03, 0.02, 0.18), (x / 2, -0.06, 0.95), p.metal, solid=False),
    ]
    return Design("wardrobe", tuple(parts))


def fridge(rng: np.random.Generator, p: Palette) -> Design:
    """A fridge."""
    del rng
    parts = [
        box((0.62, 0.62, 1.75), (0, 0, 0), (0.80, 0.81, 0.82)),
        box((0.012, 0.60, 0.58), (0.31, 0, 1.14), (0.86, 0.87, 0.88), solid=False),
        box((0.012, 0.60, 1.04), (0.31, 0, 0.07), (0.86, 0.87, 0.88), solid=False),
        box((0.03, 0.025, 0.3), (0.33, 0.25, 1.2), p.metal, solid=False),
        box((0.03, 0.025, 0.4), (0.33, 0.25, 0.65), p.metal, solid=False),
    ]
    return Design("fridge", tuple(parts))


def plant(rng: np.random.Generator, p: Palette) -> Design:
    """A plant in a pot on the floor."""
    height = float(rng.uniform(0.45, 0.8))
    leaf, light = (0.16, 0.42, 0.17), (0.26, 0.55, 0.22)
    parts = [
        cylinder(0.16, 0.30, (0, 0, 0), p.accent),
        cylinder(0.02, height, (0, 0, 0.28), (0.36, 0.25, 0.14)),
        sphere(0.19, (0, 0, 0.25 + height), leaf),
        sphere(0.13, (0.09, 0.06, 0.15 + height), light),
        sphere(0.14, (-0.07, -0.08, 0.36 + height), light),
        sphere(0.11, (-0.06, 0.10, 0.18 + height), leaf),
    ]
    return Design("plant", tuple(parts))


def floor_lamp(rng: np.random.Generator, p: Palette) -> Design:
    """A standing lamp."""
    del rng
    parts = [
        cylinder(0.15, 0.03, (0, 0, 0), p.black),
        cylinder(0.015, 1.4, (0, 0, 0.03), p.black),
        cylinder(0.16, 0.26, (0, 0, 1.35), (1.0, 0.93, 0.74), "glow"),
    ]
    return Design("lamp", tuple(parts))


def bin_(rng: np.random.Generator, p: Palette) -> Design:
    """A waste bin."""
    del rng
    parts = (
        cylinder(0.14, 0.42, (0, 0, 0), p.metal),
        cylinder(0.142, 0.03, (0, 0, 0.42), p.black),
    )
    return Design("bin", parts)


def rug(rng: np.random.Generator, p: Palette) -> Design:
    """A rug: seen, not felt."""
    x, y = float(rng.uniform(1.3, 1.7)), float(rng.uniform(1.8, 2.3))
    parts = (
        box((x, y, 0.006), (0, 0, 0), p.accent, "weave", solid=False),
        box((x - 0.2, y - 0.2, 0.007), (0, 0, 0), p.fabric, "weave", solid=False),
    )
    return Design("rug", parts)


def picture(rng: np.random.Generator, p: Palette) -> Design:
    """A picture: hangs with its back on the wall."""
    width, height = float(rng.uniform(0.4, 0.8)), float(rng.uniform(0.35, 0.55))
    first, second = rng.uniform(0.25, 0.85, (2, 3)).tolist()
    parts = (
        box((0.02, width, height), (0, 0, 1.25), p.dark_wood, solid=False),
        box((0.024, width - 0.06, height - 0.06), (0, 0, 1.28), tuple(first), solid=False),
        box(
            (0.026, width * 0.5, height * 0.3),
            (0, width * 0.08, 1.28 + height * 0.12),
            tuple(second),
            solid=False,
        ),
    )
    return Design("picture", parts)


def window(rng: np.random.Generator, p: Palette) -> Design:
    """A window: bright panes in a frame."""
    width = float(rng.uniform(1.0, 1.4))
    sky = (0.74, 0.86, 0.98)
    parts = [
        box((0.03, width + 0.14, 1.14), (0, 0, 0.88), p.white, solid=False),
        box((0.034, width / 2 - 0.03, 1.0), (0, width / 4, 0.95), sky, "glow", solid=False),
        box((0.034, width / 2 - 0.03, 1.0), (0, -width / 4, 0.95), sky, "glow", solid=False),
    ]
    return Design("window", tuple(parts))


Maker = Callable[[np.random.Generator, Palette], Design]
