"""Where commands will take the robot: one after the other, then braking to a stand.

The base is a unicycle (with sideways motion, for bases that can): after REACTION_S at its measured
velocity it accelerates to the commanded one at the profile's rates, holds it while the command
lasts, and brakes at the same rates. Pose and velocity may be measured a while ago: it moved on at
that velocity since, and the motion begins there and then. Joints go straight to their targets at
their full speed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

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
"""Of one command; a plan of several has at most twice as many."""

Leg = tuple[Command, float]
"""A command and for how long it runs from the end of the one before [s]."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Predicted motion under `commands`, each from its time in `starts_s` on, at K times since the
    base was measured: times (K,) [s], positions (K, 2) [m] and headings (K,) [rad] of the base in
    the world frame. Up to the sample `acts_from` the first command has no effect yet."""

    commands: tuple[Command, ...]
    starts_s: tuple[float, ...]
    times_s: Array
    positions: Array
    headings: Array
    acts_from: int

    @property
    def ways_m(self) -> Array:
        """How far the base has gone at each sample (K,), whichever way."""
        return _summed(np.hypot(*np.diff(self.positions, axis=0).T))

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
    legs: Sequence[Leg],
    profile: Profile,
    age_s: float = 0.0,
) -> Motion:
    """The motion under one command after the other, of a base measured `age_s` ago. The last one
    runs for LONGEST_HOLD_S at most."""
    rates = profile.limits.base
    rate = np.array([rates.linear_m_s2, rates.linear_m_s2, rates.yaw_rad_s2])
    lasts = [max(rest_s, 0.0) for _, rest_s in legs]
    lasts[-1] = min(lasts[-1], LONGEST_HOLD_S)
    bounds = [age_s + since_s for since_s in accumulate(lasts, initial=0.0)]
    hold_s = bounds[-1]

    def driven(time_s: Array) -> Array:
        """Velocity (K, 3) while the commands last."""
        speeds = np.empty((time_s.size, 3))
        now = np.array([velocity.x, velocity.y, velocity.yaw])
        for index, (command, _) in enumerate(legs):
            begins_s = bounds[index] + REACTION_S
            wanted = np.array([command.velocity.x, command.velocity.y, command.velocity.yaw])
            mine = time_s >= begins_s if index else slice(None)
            change = rate * np.maximum(time_s[mine] - begins_s, 0.0)[:, None]
            speeds[mine] = now + _clipped(wanted - now, change)
            now = now + _clipped(wanted - now, rate * lasts[index])
        return speeds

    last = driven(np.array([hold_s]))
    end_s = hold_s + float((np.abs(last) / rate).max())
    most = _MOST_SAMPLES * min(len(legs), 2)
    count = min(max(math.ceil(end_s / _SAMPLE_S), 2), most) + 1
    acts_s = min(age_s + REACTION_S, end_s)
    # Velocities change their slope where they reach what is commanded. Without a sample there, a base
    # that is measured to creep would seem to do so until the next one.
    first = legs[0][0].velocity
    changes = np.array([first.x - velocity.x, first.y - velocity.y, first.yaw - velocity.yaw])
    bends_s = np.minimum(acts_s + np.abs(changes) / rate, end_s)
    times = np.sort(np.concatenate([np.linspace(0.0, end_s, count), [acts_s], bends_s]))
    spans = times[1:] - times[:-1]
    times, spans = times[np.append(True, spans > 0.0)], spans[spans > 0.0]
    held = driven(np.minimum(times, hold_s))
    lost = rate * np.maximum(times - hold_s, 0.0)[:, None]
    speeds = np.sign(held) * np.maximum(np.abs(held) - lost, 0.0)

    between = 0.5 * (speeds[1:] + speeds[:-1]) * spans[:, None]
    headings = yaw_of(base.orientation) + _summed(between[:, 2])
    middle = 0.5 * (headings[1:] + headings[:-1])
    cos, sin = np.cos(middle), np.sin(middle)
    along = _summed(between[:, 0] * cos - between[:, 1] * sin)
    across = _summed(between[:, 0] * sin + between[:, 1] * cos)
    positions = np.stack([base.position[0] + along, base.position[1] + across], axis=1)
    commands = tuple(command for command, _ in legs)
    starts_s = (0.0, *bounds[1:-1])
    acts_from = int(np.searchsorted(times, acts_s))
    return Motion(commands, starts_s, times, positions, headings, acts_from)


def _summed(steps: Array) -> Array:
    """Running sums (K,) of steps (K-1,), from 0 on."""
    sums = np.zeros(len(steps) + 1)
    np.cumsum(steps, out=sums[1:])
    return sums


def _clipped(changes: Array, most: Array) -> Array:
    """np.clip, which takes longer."""
    return np.minimum(np.maximum(changes, -most), most)


def driven_joints(
    joints: Mapping[str, Joint], motion: Motion, time_s: float, profile: Profile
) -> dict[str, Joint]:
    """Joint readings after `time_s` of a motion, on the way to its commands' targets."""
    reached = dict(joints)
    ends_s = (*motion.starts_s[1:], time_s)
    for command, start_s, end_s in zip(motion.commands, motion.starts_s, ends_s, strict=True):
        lasted_s = min(end_s, time_s) - start_s
        if lasted_s <= 0.0:
            break
        for name, target in command.joints.items():
            if name in joints:
                at, most = reached[name].position, profile.limits.joints[name].velocity * lasted_s
                reached[name] = Joint(at + min(max(target - at, -most), most))
    return reached
