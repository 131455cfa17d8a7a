"""Rigid transforms between poses, in plain floats and numpy arrays.

`compose(a_b, b_c)` is the pose of c in a. Quaternions are (x, y, z, w), unit length.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.state import BaseVelocity, Pose, Quaternion, Vector3

Array = NDArray[np.float64]


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
