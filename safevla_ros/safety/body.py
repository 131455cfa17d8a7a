"""Where the robot's link hulls are along a predicted motion."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.geometry import yaw_of
from safevla_ros.robot.profile import Profile
from safevla_ros.safety.motion import Motion, driven_joints
from safevla_ros.safety.state import KinematicModel, WorldState

Array = NDArray[np.float64]

_JOINT_SAMPLES = 2
"""Kinematics is evaluated this often per command of a motion, and at its start; link ends in between
lie on straight lines."""


class BodyMotion:
    """The hulls of a world's links, moved along a motion. Base and links are known. `kinematics`
    None: links keep their places on the robot, so that joint motion is not foreseen."""

    def __init__(
        self,
        profile: Profile,
        kinematics: KinematicModel | None,
        world: WorldState,
        motion: Motion,
    ) -> None:
        assert world.base is not None
        self._profile, self._kinematics = profile, kinematics
        self._world, self._motion = world, motion
        self._base = world.base
        hulls = world.hulls
        origin = np.asarray(world.base.position)
        self._starts, self._ends = hulls.starts - origin, hulls.ends - origin

    @property
    def samples(self) -> int:
        """K, the number of the motion's samples."""
        return self._motion.headings.size

    @cached_property
    def sweep_m(self) -> float:
        """No point of a link moves farther than this."""
        motion, joints = self._motion, self._world.joints or {}
        points = np.concatenate([self._starts, self._ends])[:, :2]
        lever = float(np.sqrt((points**2).sum(axis=1).max(initial=0.0)))
        driven, at = 0.0, {name: joint.position for name, joint in joints.items()}
        for command in motion.commands:
            for name in command.joints.keys() & at.keys():
                driven += abs(command.joints[name] - at[name])
                at[name] = command.joints[name]
        return motion.reach_m + motion.turn_rad * lever + driven * max(1.0, 2.0 * lever)

    @cached_property
    def placed(self) -> tuple[Array, Array]:
        """Ends of all link axes (K, N, 3), (K, N, 3) along the motion, in the world frame."""
        world, motion = self._world, self._motion
        starts, ends = self._starts, self._ends
        is_driven = any(command.joints for command in motion.commands)
        if self._kinematics is not None and world.joints is not None and is_driven:
            starts, ends = self._reached(self._kinematics)
        turns = motion.headings - yaw_of(self._base.orientation)
        cos, sin = np.cos(turns)[:, None], np.sin(turns)[:, None]
        height = self._base.position[2]

        def carried(points: Array) -> Array:
            x, y, z = points[..., 0], points[..., 1], points[..., 2]
            along = cos * x - sin * y + motion.positions[:, :1]
            across = sin * x + cos * y + motion.positions[:, 1:]
            return np.stack([along, across, np.broadcast_to(z + height, along.shape)], axis=-1)

        return carried(starts), carried(ends)

    def _reached(self, kinematics: KinematicModel) -> tuple[Array, Array]:
        """Ends of the link axes (K, N, 3) from the base while the joints go to their targets."""
        world, motion = self._world, self._motion
        assert world.joints is not None
        times = motion.times_s
        count = _JOINT_SAMPLES * len(motion.commands) + 1
        sampled = np.linspace(0.0, times[-1], count)
        keys = []
        for time_s in sampled.tolist():
            joints = driven_joints(world.joints, motion, time_s, self._profile)
            links = kinematics.capsules(self._base, joints)
            keys.append([(link.start, link.end) for link in links])
        axes = np.asarray(keys) - np.asarray(self._base.position)
        after = np.searchsorted(sampled, times).clip(1, count - 1)
        share = (times - sampled[after - 1]) / (sampled[after] - sampled[after - 1])
        between = axes[after - 1] + share[:, None, None, None] * (axes[after] - axes[after - 1])
        return between[:, :, 0], between[:, :, 1]
