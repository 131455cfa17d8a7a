"""A scene as upright boxes, for quick questions of space: is it free here, can one see from a to b."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from safevla_ros.robot.geometry import yaw_of
from safevla_ros.robot.state import SceneObject, Vector3
from safevla_ros.simulation.parts import Item


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
        local = self._to_local(points[:, None, :] - self.centers[None])
        return bool_any(np.all(np.abs(local) <= self.halves[None] + margin, axis=2))

    def block(self, start: Vector3, ends: np.ndarray) -> np.ndarray:
        """(P,) whether the straight line from `start` to each of ends (P, 3) meets a box."""
        origin = self._to_local(np.asarray(start)[None, None] - self.centers[None])
        target = self._to_local(ends[:, None, :] - self.centers[None])
        direction = target - origin
        direction = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
        near = (-np.sign(direction) * self.halves[None] - origin) / direction
        far = (np.sign(direction) * self.halves[None] - origin) / direction
        enter, leave = near.max(axis=2), far.min(axis=2)
        return bool_any((enter <= leave) & (leave >= 0.0) & (enter <= 1.0))

    def _to_local(self, offsets: np.ndarray) -> np.ndarray:
        """Offsets (P, N, 3) from the boxes' centres, turned into the boxes' axes."""
        x, y = offsets[..., 0], offsets[..., 1]
        local_x, local_y = self._cos * x + self._sin * y, -self._sin * x + self._cos * y
        return np.stack([local_x, local_y, offsets[..., 2]], axis=-1)


def bool_any(hits: np.ndarray) -> np.ndarray:
    """(P,) whether any of hits (P, N) is true."""
    return np.asarray(hits.any(axis=1))


def wrap_angle(angle: float) -> float:
    """The same direction in [-pi, pi)."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi
