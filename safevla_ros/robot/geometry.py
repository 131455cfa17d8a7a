"""Rigid transforms between poses, in plain floats and numpy arrays.

`compose(a_b, b_c)` is the pose of c in a. Quaternions are (x, y, z, w), unit length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.state import BaseVelocity, Pose, Quaternion, Vector3

Array = NDArray[np.float64]

_TOUCHING_M = 1e-9
"""What is nearer than this touches."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """N boxes that are turned any way: centres (N, 3) and half edges (N, 3) [m], and how they are
    turned, as matrices (N, 3, 3)."""

    centres: Array
    halves: Array
    turns: Array

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> Boxes:
        """The boxes of these rows."""
        return Boxes(self.centres[rows], self.halves[rows], self.turns[rows])

    @classmethod
    def joined(cls, parts: Sequence[Boxes]) -> Boxes:
        """All of these boxes."""
        return cls(
            np.concatenate([part.centres for part in parts]),
            np.concatenate([part.halves for part in parts]),
            np.concatenate([part.turns for part in parts]),
        )


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """Rotation b, then rotation a."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def rotate(orientation: Quaternion, vector: Vector3) -> Vector3:
    """The vector, turned by the orientation."""
    x, y, z, w = orientation
    vx, vy, vz = vector
    tx, ty, tz = 2.0 * (y * vz - z * vy), 2.0 * (z * vx - x * vz), 2.0 * (x * vy - y * vx)
    return (
        vx + w * tx + y * tz - z * ty,
        vy + w * ty + z * tx - x * tz,
        vz + w * tz + x * ty - y * tx,
    )


def compose(first: Pose, second: Pose) -> Pose:
    """Pose of `second`, which is given in the frame of `first`, in the frame that holds `first`."""
    x, y, z = rotate(first.orientation, second.position)
    px, py, pz = first.position
    return Pose((px + x, py + y, pz + z), multiply(first.orientation, second.orientation))


def inverse(pose: Pose) -> Pose:
    """The frame that holds `pose`, seen from `pose`."""
    x, y, z, w = pose.orientation
    back: Quaternion = (-x, -y, -z, w)
    px, py, pz = rotate(back, pose.position)
    return Pose((-px, -py, -pz), back)


def yaw_of(orientation: Quaternion) -> float:
    """Heading about z [rad], in (-pi, pi]."""
    x, y, z, w = orientation
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def from_yaw(yaw: float) -> Quaternion:
    """Orientation that is turned by `yaw` [rad] about z."""
    return (0.0, 0.0, math.sin(0.5 * yaw), math.cos(0.5 * yaw))


def planar(x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> Pose:
    """Pose of something that stands upright."""
    return Pose((x, y, z), from_yaw(yaw))


def rotation_matrix(orientation: Quaternion) -> Array:
    """The orientation as a (3, 3) matrix."""
    x, y, z, w = orientation
    return np.array(
        [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
            [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
            [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
        ]
    )


def transform_points(pose: Pose, points: Array) -> Array:
    """Points (N, 3), given in the frame of `pose`, in the frame that holds it."""
    return points @ rotation_matrix(pose.orientation).T + np.asarray(pose.position)


def moved(pose: Pose, velocity: BaseVelocity, duration_s: float) -> Pose:
    """Where a base with constant `velocity` is after `duration_s` (negative: was before)."""
    if duration_s == 0.0:
        return pose
    angle = velocity.yaw * duration_s
    if abs(angle) < 1e-9:
        ahead, aside = duration_s, 0.0
    else:
        ahead = math.sin(angle) / velocity.yaw
        aside = (1.0 - math.cos(angle)) / velocity.yaw
    step = planar(
        velocity.x * ahead - velocity.y * aside, velocity.x * aside + velocity.y * ahead, angle
    )
    return compose(pose, step)


def segment_distances(starts: Array, ends: Array, others: Array, other_ends: Array) -> Array:
    """Distances (P,) between segments: ends (P, 3), (P, 3) of one and of the other.

    Ericson, Real-Time Collision Detection, 5.1.9.
    """
    along, aside, between = ends - starts, other_ends - others, starts - others
    a, e = (along**2).sum(1), (aside**2).sum(1)
    f, c, b = (aside * between).sum(1), (along * between).sum(1), (along * aside).sum(1)
    safe_a, safe_e = np.maximum(a, 1e-12), np.maximum(e, 1e-12)
    denominator = a * e - b * b
    s = np.where(
        denominator > 1e-12, ((b * f - c * e) / np.maximum(denominator, 1e-12)).clip(0.0, 1.0), 0.0
    )
    t = (b * s + f) / safe_e
    s = np.where(t < 0.0, -c / safe_a, np.where(t > 1.0, (b - c) / safe_a, s)).clip(0.0, 1.0)
    t = t.clip(0.0, 1.0)
    gap = between + s[:, None] * along - t[:, None] * aside
    return np.asarray(np.sqrt((gap**2).sum(1)))


def capsule_distances(starts: Array, ends: Array, radii: Array, points: Array) -> Array:
    """Distances (K, N) from hulls, with axis ends (K, L, 3) and radii (L,), to points (N, 3): of
    the nearest hull."""
    least = np.full((len(starts), len(points)), math.inf)
    if not len(points):
        return least
    squares = (points**2).sum(axis=-1)
    for index in range(starts.shape[1]):  # a few links, many points
        start, along = starts[:, index], ends[:, index] - starts[:, index]
        length = np.maximum((along**2).sum(axis=-1), 1e-12)[:, None]
        from_start = along @ points.T - (along * start).sum(axis=-1)[:, None]
        share = (from_start / length).clip(0.0, 1.0)
        gap = squares - 2.0 * (start @ points.T) + (start**2).sum(axis=-1)[:, None]
        gap += share * (share * length - 2.0 * from_start)
        np.minimum(least, np.sqrt(np.maximum(gap, 0.0)) - radii[index], out=least)
    return least


def rotation_matrices(orientations: Array) -> Array:
    """Orientations (N, 4) as matrices (N, 3, 3)."""
    x, y, z, w = orientations.T
    rows = [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
        [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
        [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows).reshape(3, 3, len(orientations)), -1, 0)


def box_distances(starts: Array, ends: Array, boxes: Boxes) -> Array:
    """Signed distances (K, P) between segments, ends (K, P, 3) and (K, P, 3), and the P boxes: below
    0 it is how far a box has to be pushed to be off its segment."""
    start, end = (
        np.einsum("pji,kpj->ikp", boxes.turns, at - boxes.centres) for at in (starts, ends)
    )
    along, halves = end - start, boxes.halves.T[:, None, :]
    nearest = start + nearest_on_segments(start, along, halves) * along
    apart = np.sqrt(((nearest - _clipped(nearest, halves)) ** 2).sum(axis=0))
    touching = np.nonzero(apart < _TOUCHING_M)
    if touching[0].size:
        halves = np.broadcast_to(halves, start.shape)
        parts = (part[:, touching[0], touching[1]] for part in (start, along, halves))
        apart[touching] = np.minimum(apart[touching], -_depths(*parts))
    return np.asarray(apart)


def nearest_on_segments(starts: Array, alongs: Array, halves: Array) -> Array:
    """Where segments are nearest to boxes around the origin, as shares (...) of `alongs` (3, ...) from
    `starts` (3, ...) on; `halves` (3, ...) are half the boxes' edges.

    The squared distance from a box is convex along a segment. Its slope is linear between where the
    segment passes the planes of two sides, so it is 0 between the last of those bends at which it
    is negative and the first at which it is not.
    """
    steps = np.where(np.abs(alongs) < 1e-12, 1e-12, alongs)
    ends = np.zeros((1, *np.broadcast_shapes(starts.shape, halves.shape)[1:]))
    middles, reaches = -starts / steps, halves / steps
    sides = np.concatenate([middles - reaches, middles + reaches])
    bends = np.concatenate([ends, np.minimum(np.maximum(sides, 0.0), 1.0), ends + 1.0])
    slopes = np.zeros_like(bends)
    for start, along, half in zip(starts, alongs, halves, strict=True):
        at = start + bends * along
        slopes += along * (at - _clipped(at, half))
    falls = slopes < 0.0
    last, first = np.where(falls, bends, 0.0).max(axis=0), np.where(falls, 1.0, bends).min(axis=0)
    below = np.where(falls, slopes, -math.inf).max(axis=0)
    above = np.where(falls, math.inf, slopes).min(axis=0)
    is_between = np.isfinite(below) & np.isfinite(above)
    rise = np.where(is_between, above - below, 1.0)
    return np.asarray(last + np.where(is_between, -below / rise, 0.0) * (first - last))


def _clipped(at: Array, half: Array) -> Array:
    """np.clip, which takes longer."""
    return np.minimum(np.maximum(at, -half), half)


def _depths(starts: Array, alongs: Array, halves: Array) -> Array:
    """How far segments reach into boxes around the origin (M,), from (3, M) each: the least overlap
    along the axes that can separate the two, the sides' normals and their products with the segment."""
    middles = starts + 0.5 * alongs
    depths = [*(halves + 0.5 * np.abs(alongs) - np.abs(middles))]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        length = np.hypot(alongs[i], alongs[j])
        overlap = halves[i] * np.abs(alongs[j]) + halves[j] * np.abs(alongs[i])
        overlap -= np.abs(middles[i] * alongs[j] - middles[j] * alongs[i])
        depths.append(np.where(length > 1e-9, overlap / np.maximum(length, 1e-9), math.inf))
    return np.asarray(np.min(depths, axis=0))
