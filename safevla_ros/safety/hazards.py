"""What the look-ahead tests a predicted motion against.

- `ScanHazard`, for collision: the footprint, a disc of the profile's `footprint_radius_m` around
  the base, against the points of the scan, less those of the instructed object, which may be
  touched.
- `ZoneHazard`, for zone_intrusion: the hulls of all links, moved with base and joints, against the
  zones.

Not looked at, so not prevented: arm and head against obstacles (a planar scan does not tell how
high they are), objects that only a camera sees, whatever moves by itself, and dropping things. Nor
is a hazard foreseen whose signal is missing: what the robot must not move without is `required` in
its profile.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.geometry import inverse, transform_points, yaw_of
from safevla_ros.robot.profile import Profile
from safevla_ros.safety.motion import Motion, driven_joints
from safevla_ros.safety.terms.collision import instructed
from safevla_ros.safety.world import KinematicModel, WorldState
from safevla_ros.safety.zones import Zone, ZoneShape, split_by_frame

Array = NDArray[np.float64]

_TARGET_GAP_M = 0.05
"""Scan points this near to the instructed object's box are taken to be of it."""
_JOINT_SAMPLES = 3
"""Kinematics is evaluated this often along a motion; link ends in between lie on straight lines."""


class Hazard(Protocol):
    """One thing to test predicted motion against, on behalf of a cost term."""

    term: str

    def margins(self, world: WorldState, motion: Motion) -> Array | None:
        """Margins (K, N) in the term's unit at the motion's samples, to each of N >= 1 things to
        avoid; where they are far from 0, a bound from below will do. None: a signal is missing. The
        world's base is known."""

    def cause(self, column: int) -> str:
        """What the robot would do to the thing of that column of the last margins."""


class ScanHazard:
    """The footprint against the scan. `clearance_m` must remain between them."""

    term = "collision"

    def __init__(self, profile: Profile, clearance_m: float) -> None:
        self._radius_m = profile.footprint_radius_m + clearance_m

    def margins(self, world: WorldState, motion: Motion) -> Array | None:
        if world.obstacles is None:
            return None
        within = motion.reach_m + self._radius_m
        offsets = world.obstacles[:, :2] - motion.positions[0]
        near = world.obstacles[(offsets**2).sum(axis=1) <= within**2]
        points = _without_instructed(world, near)[:, :2]
        if not len(points):
            return np.full((motion.headings.size, 1), within - motion.reach_m)
        apart = motion.positions[:, None, :] - points
        return np.sqrt((apart**2).sum(axis=-1)) - self._radius_m

    def cause(self, column: int) -> str:
        return "the base would come too near to what the scan sees"


class ZoneHazard:
    """The link hulls against the zones, less the term's threshold. `kinematics` None: links keep
    their places on the robot, so that joint motion is not foreseen."""

    term = "zone_intrusion"

    def __init__(
        self,
        profile: Profile,
        zones: tuple[Zone, ...],
        threshold_m: float,
        kinematics: KinematicModel | None,
    ) -> None:
        self._profile = profile
        self._shapes = tuple(ZoneShape(zone) for zone in zones)
        self._threshold_m = threshold_m
        self._kinematics = kinematics
        self._judged: list[str] = []

    def margins(self, world: WorldState, motion: Motion) -> Array | None:
        if world.links is None or world.base is None:
            return None
        count = motion.headings.size
        here, _ = split_by_frame(self._shapes, world.frame)
        self._judged = [shape.zone.name for shape in here]
        if not here or not world.links:
            return np.full((count, 1), math.inf)
        origin = np.asarray(world.base.position)
        starts = np.array([link.start for link in world.links]) - origin
        ends = np.array([link.end for link in world.links]) - origin
        radii = np.array([link.radius for link in world.links])
        sweep_m = self._sweep_m(world, motion, starts, ends)
        placed: tuple[Array, Array] | None = None
        least = np.full((count, len(here)), math.inf)
        for column, shape in enumerate(here):
            now = shape.margins(starts + origin, ends + origin, radii) - self._threshold_m
            near = np.flatnonzero(now <= sweep_m)
            if near.size < now.size:  # of links out of reach a bound will do
                least[:, column] = now[now > sweep_m].min() - sweep_m
            if not near.size:
                continue
            if placed is None:
                placed = self._placed(world, motion, starts, ends)
            flat = [points[:, near].reshape(-1, 3) for points in placed]
            margins = shape.margins(flat[0], flat[1], np.tile(radii[near], count))
            margins = margins.reshape(count, -1).min(axis=1) - self._threshold_m
            least[:, column] = np.minimum(least[:, column], margins)
        return least

    def cause(self, column: int) -> str:
        return f"a link would enter zone {self._judged[column]}"

    @staticmethod
    def _sweep_m(world: WorldState, motion: Motion, starts: Array, ends: Array) -> float:
        """No point of a link, given from the base (N, 3), moves farther than this."""
        points = np.concatenate([starts, ends])[:, :2]
        lever = float(np.sqrt((points**2).sum(axis=1).max()))
        joints = world.joints or {}
        driven = sum(
            abs(target - joints[name].position)
            for name, target in motion.command.joints.items()
            if name in joints
        )
        return motion.reach_m + motion.turn_rad * lever + driven * max(1.0, 2.0 * lever)

    def _placed(
        self, world: WorldState, motion: Motion, starts: Array, ends: Array
    ) -> tuple[Array, Array]:
        """Ends of all link axes (K, N, 3) along the motion, in the world frame. `starts` and `ends`
        (N, 3) are from the base, in the world's directions."""
        assert world.base is not None
        if self._kinematics is not None and world.joints is not None and motion.command.joints:
            starts, ends = self._reached(world, motion, self._kinematics)
        turns = motion.headings - yaw_of(world.base.orientation)
        cos, sin = np.cos(turns)[:, None], np.sin(turns)[:, None]
        height = world.base.position[2]

        def carried(points: Array) -> Array:
            x, y, z = points[..., 0], points[..., 1], points[..., 2]
            along = cos * x - sin * y + motion.positions[:, :1]
            across = sin * x + cos * y + motion.positions[:, 1:]
            return np.stack([along, across, np.broadcast_to(z + height, along.shape)], axis=-1)

        return carried(starts), carried(ends)

    def _reached(
        self, world: WorldState, motion: Motion, kinematics: KinematicModel
    ) -> tuple[Array, Array]:
        """Ends of the link axes (K, N, 3) from the base while the joints go to their targets."""
        assert world.base is not None
        assert world.joints is not None
        times = motion.times_s
        sampled = np.linspace(0.0, times[-1], _JOINT_SAMPLES)
        keys = []
        for time_s in sampled.tolist():
            joints = driven_joints(world.joints, motion.command, time_s, self._profile)
            links = kinematics.capsules(world.base, joints)
            keys.append([(link.start, link.end) for link in links])
        axes = np.asarray(keys) - np.asarray(world.base.position)
        after = np.searchsorted(sampled, times).clip(1, _JOINT_SAMPLES - 1)
        share = (times - sampled[after - 1]) / (sampled[after] - sampled[after - 1])
        between = axes[after - 1] + share[:, None, None, None] * (axes[after] - axes[after - 1])
        return between[:, :, 0], between[:, :, 1]


def _without_instructed(world: WorldState, points: Array) -> Array:
    """Points (N, 3) of the scan that are not of the instructed object."""
    for entry in instructed(world):
        local = np.abs(transform_points(inverse(entry.pose), points))
        outside = (local > 0.5 * np.asarray(entry.size) + _TARGET_GAP_M).any(axis=1)
        points = points[outside]
    return points
