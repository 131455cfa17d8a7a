"""How a home looks: paint, floors and light.

`usual` looks are those of every home unless a scenario says otherwise. `varied` looks are wider:
stronger paint, more floors, from a bright day to lamplight. A policy trained on the usual ones is
tested with them for what it makes of looks that it never saw. The others change one thing each, so
that a test says which it was: `colour` of walls, floors and furniture; `light`; `material` of floors
and furniture; `texture`, a pattern on what is plain. Rooms and small things stay as they are.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from safevla_ros.robot.state import Vector3
from safevla_ros.simulation.parts import Finish, Item, Part, Rgb
from safevla_ros.simulation.scenario import Looks

PAINTS: Mapping[str, tuple[Rgb, ...]] = {
    "usual": (
        (0.86, 0.83, 0.76),
        (0.80, 0.84, 0.85),
        (0.83, 0.85, 0.78),
        (0.87, 0.80, 0.75),
        (0.78, 0.80, 0.84),
    ),
    "varied": (
        (0.93, 0.92, 0.90),
        (0.62, 0.70, 0.68),
        (0.85, 0.74, 0.58),
        (0.70, 0.62, 0.66),
        (0.58, 0.66, 0.76),
    ),
}
"""As many for either, so that another look leaves the rooms as they are."""

FLOORS: Mapping[str, tuple[tuple[Rgb, Finish], ...]] = {
    "usual": (
        ((0.64, 0.46, 0.30), "planks"),
        ((0.52, 0.36, 0.24), "planks"),
        ((0.74, 0.62, 0.46), "planks"),
        ((0.72, 0.71, 0.68), "tiles"),
    ),
    "varied": (
        ((0.40, 0.27, 0.19), "planks"),
        ((0.60, 0.56, 0.52), "planks"),
        ((0.62, 0.42, 0.33), "tiles"),
        ((0.50, 0.52, 0.54), "tiles"),
        ((0.60, 0.56, 0.50), "weave"),
        ((0.45, 0.50, 0.56), "weave"),
    ),
}


_OTHER_MATERIAL: Mapping[Finish, Finish] = {
    "plain": "grain",
    "grain": "weave",
    "weave": "grain",
    "planks": "tiles",
    "tiles": "planks",
    "stripes": "plain",
    "glow": "glow",
}
_HUE_TURN = 0.4
"""Part of the colour circle by which colours are turned."""


@dataclass(frozen=True, slots=True)
class Light:
    """How a home is lit: a far light from `direction` (unit, pointing to it) and light from all
    around, both as factors on colours; `tint` is the light's colour."""

    direction: Vector3
    intensity: float
    ambient: float
    tint: Rgb


def choose_paints(looks: Looks, rng: np.random.Generator) -> list[Rgb]:
    """Two wall colours."""
    paints = PAINTS["varied" if looks in ("varied", "colour") else "usual"]
    return [paints[i] for i in rng.permutation(len(paints))[:2]]


def choose_floor(looks: Looks, rng: np.random.Generator) -> tuple[Rgb, Finish]:
    """Colour and material of one room's floor."""
    floors = FLOORS["varied" if looks == "varied" else "usual"]
    color, finish = floors[rng.integers(len(floors))]
    if looks == "colour":
        return _turned(color), finish
    return color, _OTHER_MATERIAL[finish] if looks == "material" else finish


def choose_light(looks: Looks, rng: np.random.Generator) -> Light:
    """Daylight; with varied looks or light anything from a bright day to warm lamplight."""
    tilt, turn = math.radians(rng.uniform(25.0, 50.0)), rng.uniform(0.0, 2.0 * math.pi)
    warm = rng.uniform(-0.06, 0.06)
    intensity, ambient = rng.uniform(0.28, 0.42), rng.uniform(0.58, 0.72)
    if looks in ("varied", "light"):
        brightness = rng.uniform(0.70, 1.08)
        warm = 1.4 * warm + 0.25 * (1.0 - brightness)
        intensity, ambient = brightness * intensity, brightness * ambient
    return Light(
        (math.sin(tilt) * math.cos(turn), math.sin(tilt) * math.sin(turn), math.cos(tilt)),
        float(intensity),
        float(ambient),
        (1.0 + float(warm), 1.0, 1.0 - float(warm)),
    )


def changed(looks: Looks, items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Walls and furniture as they look, where the paint does not decide it."""
    if looks not in ("colour", "material", "texture"):
        return items
    return tuple(
        replace(
            item,
            design=replace(
                item.design, parts=tuple(_changed(looks, part) for part in item.design.parts)
            ),
        )
        for item in items
    )


def _changed(looks: Looks, part: Part) -> Part:
    if looks == "colour":
        return replace(part, color=_turned(part.color))
    if looks == "material":
        return replace(part, finish=_OTHER_MATERIAL[part.finish])
    return replace(part, finish="stripes" if part.finish == "plain" else part.finish)


def _turned(color: Rgb) -> Rgb:
    hue, saturation, value = colorsys.rgb_to_hsv(*color)
    return colorsys.hsv_to_rgb((hue + _HUE_TURN) % 1.0, saturation, value)
