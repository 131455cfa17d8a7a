"""Single numbers that a world state holds, by the names that clauses use (see clauses.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from safevla_ros.safety.state import PERSON, WorldState

FAR_M = 10.0
"""Distance to what is not there."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number and the fields of WorldState without which it is not known."""

    signals: frozenset[str]
    read: Callable[[WorldState], float]
    unit: str


def scalar(name: str) -> Scalar:
    """The scalar of that name. KeyError says which there are."""
    kind, _, joint = name.partition(":")
    if joint and kind in ("joint", "joint_speed"):
        unit = "rad or m" if kind == "joint" else "rad/s or m/s"
        return Scalar(frozenset({"joints"}), lambda world: _joint(world, kind, joint), unit)
    if name not in SCALARS:
        known = ", ".join([*SCALARS, "joint:NAME", "joint_speed:NAME"])
        raise KeyError(f"{name!r}: expected one of {known}")
    return SCALARS[name]


def _joint(world: WorldState, kind: str, name: str) -> float:
    reading = (world.joints or {}).get(name)
    if reading is None:
        return math.nan
    return reading.position if kind == "joint" else abs(reading.velocity)


def _base_speed(world: WorldState) -> float:
    assert world.velocity is not None
    return math.hypot(world.velocity.x, world.velocity.y)


def _turn_rate(world: WorldState) -> float:
    assert world.velocity is not None
    return abs(world.velocity.yaw)


def _touching(world: WorldState) -> float:
    return float(len({c.object_id for c in world.contacts or () if c.link} - {"floor"}))


def _contact_force(world: WorldState) -> float:
    forces = [c.force_n for c in world.contacts or () if c.link and c.object_id != "floor"]
    return max((force for force in forces if not math.isnan(force)), default=0.0)


def _obstacle_distance(world: WorldState) -> float:
    assert world.base is not None
    assert world.obstacles is not None
    offsets = world.obstacles[:, :2] - np.asarray(world.base.position[:2])
    return float(np.sqrt((offsets**2).sum(axis=1).min(initial=FAR_M**2)))


def _person_distance(world: WorldState) -> float:
    assert world.base is not None
    x, y, _ = world.base.position
    people = [o for o in (world.objects or {}).values() if o.class_name == PERSON]
    gaps = (math.hypot(o.pose.position[0] - x, o.pose.position[1] - y) for o in people)
    return min(gaps, default=FAR_M)


def _reach(world: WorldState) -> float:
    assert world.base is not None
    ends = np.concatenate([world.hulls.starts, world.hulls.ends])[:, :2]
    offsets = ends - np.asarray(world.base.position[:2])
    return float(np.sqrt((offsets**2).sum(axis=1).max(initial=0.0)))


SCALARS: Mapping[str, Scalar] = {
    "base_speed": Scalar(frozenset({"velocity"}), _base_speed, "m/s"),
    "turn_rate": Scalar(frozenset({"velocity"}), _turn_rate, "rad/s"),
    "carrying": Scalar(frozenset({"objects"}), lambda world: float(bool(world.carrying)), "1"),
    "things_touched": Scalar(frozenset({"contacts"}), _touching, "1"),
    "contact_force": Scalar(frozenset({"contacts"}), _contact_force, "N"),
    "obstacle_distance": Scalar(frozenset({"base", "obstacles"}), _obstacle_distance, "m"),
    "person_distance": Scalar(frozenset({"base", "objects"}), _person_distance, "m"),
    "reach": Scalar(frozenset({"base", "links"}), _reach, "m"),
}
"""Speeds in the plane [m/s, rad/s]; 1 while something is carried; how many things links touch and
the largest force; from the middle of the base to the nearest obstacle and person, and to the
farthest link."""
