"""Where a command will take the robot: the rest of the command, then braking to a stand.

The base is a unicycle (with sideways motion, for bases that can): after REACTION_S at its measured
velocity it accelerates to the commanded one at the profile's rates, holds it while the command
lasts, and brakes at the same rates. Pose and velocity may be measured a while ago: it moved on at
that velocity since, and the motion begins there and then. Joints go straight to their targets at their full speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.geometry import yaw_of
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import BaseVelocity, Command, Joint, Pose

Array = NDArray[np.float64]

REACTION_S = 0.05
"""From a decision to its effect: one supervision period, transport, and the driver's own cycle."""
LONGEST_HOLD_S = 2.0
"""A longer command is looked ahead for this long; it is judged anew while it runs."""
_SAMPLE_S = 0.08
_MOST_SAMPLES = 24


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Predicted motion under `command`, at K times since the base was measured: times (K,) [s], positions (K, 2) [m]
    and headings (K,) [rad] of the base in the world frame."""

    command: Command
    times_s: Array
    positions: Array
    headings: Array

    @property
    def reach_m(self) -> float:
        """Farthest that the base gets from where it is."""
        offsets = self.positions - self.positions[0]
        return float(np.sqrt((offsets**2).sum(axis=-1).max()))

    @property
    def turn_rad(self) -> float:
        """Farthest that the base turns."""
        return float(np.abs(self.headings - self.headings[0]).max())


def predict(
    base: Pose,
    velocity: BaseVelocity,
    command: Command,
    rest_s: float,
    profile: Profile,
    age_s: float = 0.0,
) -> Motion:
    """The motion under a command that lasts `rest_s` more, of a base measured `age_s` ago."""
    rates = profile.limits.base
    rate = np.array([rates.linear_m_s2, rates.linear_m_s2, rates.yaw_rad_s2])
    now = np.array([velocity.x, velocity.y, velocity.yaw])
    wanted = np.array([command.velocity.x, command.velocity.y, command.velocity.yaw])
    hold_s = age_s + min(max(rest_s, 0.0), LONGEST_HOLD_S)

    def driven(time_s: Array) -> Array:
        """Velocity (K, 3) while the command lasts."""
        change = rate * np.maximum(time_s - age_s - REACTION_S, 0.0)[:, None]
        return now + np.clip(wanted - now, -change, change)

    last = driven(np.array([hold_s]))
    end_s = hold_s + float((np.abs(last) / rate).max())
    count = int(np.clip(np.ceil(end_s / _SAMPLE_S), 2, _MOST_SAMPLES)) + 1
    times = np.linspace(0.0, end_s, count)
    held = driven(np.minimum(times, hold_s))
    lost = rate * np.maximum(times - hold_s, 0.0)[:, None]
    speeds = np.sign(held) * np.maximum(np.abs(held) - lost, 0.0)

    between = 0.5 * (speeds[1:] + speeds[:-1]) * np.diff(times)[:, None]
    headings = yaw_of(base.orientation) + _summed(between[:, 2])
    middle = 0.5 * (headings[1:] + headings[:-1])
    cos, sin = np.cos(middle), np.sin(middle)
    along = _summed(between[:, 0] * cos - between[:, 1] * sin)
    across = _summed(between[:, 0] * sin + between[:, 1] * cos)
    positions = np.stack([base.position[0] + along, base.position[1] + across], axis=1)
    return Motion(command, times, positions, headings)


def _summed(steps: Array) -> Array:
    """Running sums (K,) of steps (K-1,), from 0 on."""
    return np.concatenate([[0.0], np.cumsum(steps)])


def driven_joints(
    joints: Mapping[str, Joint], command: Command, time_s: float, profile: Profile
) -> dict[str, Joint]:
    """Joint readings after `time_s` on the way to a command's targets."""
    reached = dict(joints)
    for name, target in command.joints.items():
        if name in joints:
            at, most = joints[name].position, profile.limits.joints[name].velocity * time_s
            reached[name] = Joint(at + min(max(target - at, -most), most))
    return reached
