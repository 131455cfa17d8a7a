"""A scene as upright boxes, for quick questions of space: is it free here, can one see from a to b."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from safevla_ros.robot.geometry import yaw_of
from safevla_ros.robot.state import SceneObject, Vector3
from safevla_ros.simulation.parts import Item
from safevla_ros.simulation.rays import kernel


class Solids:
    """Boxes that stand upright, each with the id of the thing that it belongs to."""

    def __init__(
        self, ids: list[str], centers: np.ndarray, halves: np.ndarray, yaws: np.ndarray
    ) -> None:
        """`centers`, `halves` (N, 3) [m], `yaws` (N,) [rad], all in the map."""
        self.ids = np.array(ids, dtype=object)
        self.centers = centers.reshape(-1, 3)
        self.halves = halves.reshape(-1, 3)
        self._cos, self._sin = np.cos(yaws), np.sin(yaws)

    @classmethod
    def of_items(cls, items: Iterable[Item]) -> Solids:
        """One box per solid part."""
        ids, centers, halves, yaws = [], [], [], []
        for item in items:
            for part in item.design.parts:
                if part.solid:
                    ids.append(item.id)
                    centers.append(item.to_map(part.position))
                    halves.append(part.half_extents())
                    yaws.append(item.yaw)
        return cls(ids, np.array(centers, float), np.array(halves, float), np.array(yaws, float))

    @classmethod
    def of_objects(cls, objects: Iterable[SceneObject]) -> Solids:
        """One box per object, as if it stood upright."""
        chosen = list(objects)
        return cls(
            [o.id for o in chosen],
            np.array([o.pose.position for o in chosen], float),
            np.array([o.size for o in chosen], float) / 2.0,
            np.array([yaw_of(o.pose.orientation) for o in chosen], float),
        )

    def __add__(self, other: Solids) -> Solids:
        both = Solids([], np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
        both.ids = np.concatenate([self.ids, other.ids])
        both.centers = np.concatenate([self.centers, other.centers])
        both.halves = np.concatenate([self.halves, other.halves])
        both._cos = np.concatenate([self._cos, other._cos])
        both._sin = np.concatenate([self._sin, other._sin])
        return both

    def without(self, *ids: str) -> Solids:
        """All but the boxes of those things."""
        keep = ~np.isin(self.ids, list(ids))
        rest = Solids([], self.centers[keep], self.halves[keep], np.zeros(int(keep.sum())))
        rest.ids, rest._cos, rest._sin = self.ids[keep], self._cos[keep], self._sin[keep]
        return rest

    def contain(self, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """(P,) whether each of points (P, 3) lies in a box grown by `margin` [m]."""
        inside: np.ndarray = _contain(
            points, self.centers, self.halves, self._cos, self._sin, margin
        )
        return inside

    def top_below(self, point: Vector3) -> float:
        """Height of the highest box top that a point is above; 0: the floor's."""
        x, y, z = point
        dx, dy = x - self.centers[:, 0], y - self.centers[:, 1]
        tops = self.centers[:, 2] + self.halves[:, 2]
        under = (
            (np.abs(self._cos * dx + self._sin * dy) <= self.halves[:, 0])
            & (np.abs(self._cos * dy - self._sin * dx) <= self.halves[:, 1])
            & (tops <= z)
        )
        return float(np.where(under, tops, 0.0).max(initial=0.0))

    def block(self, start: Vector3, ends: np.ndarray) -> np.ndarray:
        """(P,) whether the straight line from `start` to each of ends (P, 3) meets a box."""
        hidden: np.ndarray = _block(
            np.array(start, float), ends, self.centers, self.halves, self._cos, self._sin
        )
        return hidden


@kernel
def _contain(
    points: np.ndarray,
    centers: np.ndarray,
    halves: np.ndarray,
    cosines: np.ndarray,
    sines: np.ndarray,
    margin: float,
) -> np.ndarray:
    inside = np.zeros(len(points), np.bool_)
    for p in range(len(points)):
        for b in range(len(centers)):
            if abs(points[p, 2] - centers[b, 2]) > halves[b, 2] + margin:
                continue
            x, y = points[p, 0] - centers[b, 0], points[p, 1] - centers[b, 1]
            if (
                abs(cosines[b] * x + sines[b] * y) <= halves[b, 0] + margin
                and abs(cosines[b] * y - sines[b] * x) <= halves[b, 1] + margin
            ):
                inside[p] = True
                break
    return inside


@kernel
def _block(
    start: np.ndarray,
    ends: np.ndarray,
    centers: np.ndarray,
    halves: np.ndarray,
    cosines: np.ndarray,
    sines: np.ndarray,
) -> np.ndarray:
    blocked = np.zeros(len(ends), np.bool_)
    origin, way = np.empty(3), np.empty(3)
    for p in range(len(ends)):
        dx, dy = ends[p, 0] - start[0], ends[p, 1] - start[1]
        for b in range(len(centers)):
            x, y = start[0] - centers[b, 0], start[1] - centers[b, 1]
            origin[0], origin[1] = cosines[b] * x + sines[b] * y, cosines[b] * y - sines[b] * x
            way[0], way[1] = cosines[b] * dx + sines[b] * dy, cosines[b] * dy - sines[b] * dx
            origin[2], way[2] = start[2] - centers[b, 2], ends[p, 2] - start[2]
            # The part of the line that is within the box on all axes so far, from 0 to 1.
            enter, leave = 0.0, 1.0
            for axis in range(3):
                step = way[axis] if abs(way[axis]) > 1e-9 else 1e-9
                one = (-halves[b, axis] - origin[axis]) / step
                two = (halves[b, axis] - origin[axis]) / step
                enter, leave = max(enter, min(one, two)), min(leave, max(one, two))
            if enter <= leave:
                blocked[p] = True
                break
    return blocked


def wrap_angle(angle: float) -> float:
    """The same direction in [-pi, pi)."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi
