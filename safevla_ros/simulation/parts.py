"""What a home is made of: items built from coloured primitive parts. Pure data, SI units.

An item's own frame stands on the floor (or on its support) at the middle of its footprint, z up.
Furniture faces +x: its back, at -x, goes to the wall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from safevla_ros.robot.geometry import from_yaw, rotation_matrix
from safevla_ros.robot.state import IDENTITY, Pose, Quaternion, Vector3

Shape = Literal["box", "cylinder", "sphere", "capsule"]
Rgb = tuple[float, float, float]
Finish = Literal["plain", "planks", "tiles", "grain", "weave", "stripes", "glow"]


@dataclass(frozen=True, slots=True)
class Part:
    """One primitive. `size`: half extents of a box; (radius, half length along z, 0) of a cylinder
    or capsule; (radius, 0, 0) of a sphere. `solid`: takes part in contacts."""

    shape: Shape
    size: Vector3
    position: Vector3
    color: Rgb
    finish: Finish = "plain"
    orientation: Quaternion = IDENTITY
    solid: bool = True

    def half_extents(self) -> np.ndarray:
        """(3,) half extents of its axis-aligned box in the item's frame [m]."""
        if self.shape == "sphere":
            return np.full(3, self.size[0])
        if self.shape == "box":
            own = np.array(self.size)
        else:
            cap = self.size[0] if self.shape == "capsule" else 0.0
            own = np.array([self.size[0], self.size[0], self.size[1] + cap])
        if self.orientation == IDENTITY:
            return own
        return np.abs(rotation_matrix(self.orientation)) @ own


@dataclass(frozen=True, slots=True)
class Surface:
    """A level rectangle on which small things may stand, in its item's frame.

    `edges`: sides from which an arm may come over it, as unit vectors pointing outwards.
    """

    center: Vector3
    half_x: float
    half_y: float
    edges: tuple[tuple[float, float], ...] = ((1.0, 0.0),)


@dataclass(frozen=True)
class Design:
    """What an item is, wherever it stands."""

    class_name: str
    parts: tuple[Part, ...]
    surfaces: tuple[Surface, ...] = ()
    mass: float = 0.0
    grasp_height: float = 0.0

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner (3,) of the box around all parts, in the item's frame."""
        return self._bounds

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        low = np.min([np.array(p.position) - p.half_extents() for p in self.parts], axis=0)
        high = np.max([np.array(p.position) + p.half_extents() for p in self.parts], axis=0)
        return low, high


@dataclass(frozen=True, slots=True)
class Item:
    """A design standing somewhere: frame at `position` in the map, turned by `yaw` [rad].

    `fixed`: cannot be moved. `support`: id of what it stands on; empty: the floor.
    """

    id: str
    design: Design
    position: Vector3
    yaw: float = 0.0
    fixed: bool = True
    support: str = ""

    @property
    def class_name(self) -> str:
        """Class of its design."""
        return self.design.class_name

    @property
    def size(self) -> Vector3:
        """Full extents of its box [m], in its own frame."""
        low, high = self.design.bounds()
        return tuple((high - low).tolist())

    @property
    def box_offset(self) -> Vector3:
        """Centre of its box in its own frame [m]."""
        low, high = self.design.bounds()
        return tuple(((high + low) / 2.0).tolist())

    @property
    def box_pose(self) -> Pose:
        """Pose of its box centre in the map."""
        return Pose(self.to_map(self.box_offset), from_yaw(self.yaw))

    def to_map(self, point: Vector3) -> Vector3:
        """A point of its frame in the map."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        x, y, z = point
        return (
            self.position[0] + c * x - s * y,
            self.position[1] + s * x + c * y,
            self.position[2] + z,
        )


def box(
    size: Vector3,
    position: Vector3,
    color: Rgb,
    finish: Finish = "plain",
    *,
    solid: bool = True,
) -> Part:
    """A box of full extents `size` whose bottom centre is at `position`."""
    half = (size[0] / 2.0, size[1] / 2.0, size[2] / 2.0)
    return Part(
        "box", half, (position[0], position[1], position[2] + half[2]), color, finish, solid=solid
    )


def cylinder(
    radius: float,
    height: float,
    position: Vector3,
    color: Rgb,
    finish: Finish = "plain",
    *,
    solid: bool = True,
) -> Part:
    """An upright cylinder whose bottom centre is at `position`."""
    x, y, z = position
    return Part(
        "cylinder",
        (radius, height / 2.0, 0.0),
        (x, y, z + height / 2.0),
        color,
        finish,
        solid=solid,
    )


def sphere(
    radius: float, center: Vector3, color: Rgb, finish: Finish = "plain", *, solid: bool = True
) -> Part:
    """A sphere."""
    return Part("sphere", (radius, 0.0, 0.0), center, color, finish, solid=solid)
