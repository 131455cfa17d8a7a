"""What a robot can be told at all: validity of commands, and its limits of speed and range.

Speeds are limited by one ratio on all components, base and joints alike, so that the curve stays
and only its speed changes: velocities are multiplied by it, and joint targets are moved towards
the measured position by it. A joint target beyond the joint's range is first set to its end, where
the joint would stop anyway. The gripper's speed is its driver's: a grip that closes in part holds
nothing. Accelerations are not limited here; drivers do that, and the look-ahead reckons with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import BaseVelocity, Command, Joint

_TOLD = 40
"""Characters of a foreign name that a sentence repeats."""
_ROUNDING = 1e-6
"""Excess over a limit that is rounding, not a wish."""


def commandable(profile: Profile) -> frozenset[str]:
    """Joints that commands may name: those with an output."""
    return frozenset(joint for output in profile.outputs.joints for joint in output.joints)


def defect(command: Command, joints: frozenset[str]) -> str:
    """Why a command cannot be carried out whatever the world is like; empty: it can."""
    velocity = command.velocity
    unknown = sorted(str(name) for name in command.joints if name not in joints)
    if unknown:
        told = ", ".join(name[:_TOLD] for name in unknown[:3])
        return f"joint {told}: expected one of {', '.join(sorted(joints)) or 'none'}"
    numbers = {"base.x": velocity.x, "base.y": velocity.y, "base.yaw": velocity.yaw}
    for name, value in {**numbers, **command.joints}.items():
        if not _is_finite(value):
            return f"{name}: expected a finite number, got {value!r}"
    if not _is_finite(command.duration_s) or command.duration_s <= 0.0:
        return f"duration_s: expected a positive number, got {command.duration_s!r}"
    return ""


def within_limits(
    command: Command, joints: Mapping[str, Joint] | None, profile: Profile
) -> tuple[Command, str]:
    """The command as far as the robot can follow it, and what had to be limited (empty: nothing).

    Joints without a reading are limited in range only.
    """
    limits, notes = profile.limits, []
    targets = {}
    for name, target in command.joints.items():
        lower, upper = limits.joints[name].lower, limits.joints[name].upper
        targets[name] = min(max(float(target), lower), upper)
        if abs(targets[name] - target) > _ROUNDING:
            notes.append(f"{name} to its range of {lower:g} to {upper:g}")
    clipped = Command(command.velocity, targets, command.duration_s)

    velocity = command.velocity
    speeds = {
        "base": (math.hypot(velocity.x, velocity.y), limits.base.linear_m_s),
        "turn": (abs(velocity.yaw), limits.base.yaw_rad_s),
    }
    for name, target in targets.items():
        if joints is not None and name in joints and name != profile.roles.gripper:
            distance = abs(target - joints[name].position)
            speeds[name] = (distance / command.duration_s, limits.joints[name].velocity)
    worst = max(speeds, key=lambda name: speeds[name][0] / speeds[name][1])
    speed, allowed = speeds[worst]
    if speed <= allowed * (1.0 + _ROUNDING):
        return _bounded(clipped, profile), ", ".join(notes)
    notes.append(f"speed of {worst} to {allowed:g}")
    return _bounded(scaled(clipped, allowed / speed, joints), profile), ", ".join(notes)


def scaled(command: Command, ratio: float, joints: Mapping[str, Joint] | None) -> Command:
    """The same motion, only a part of it: one ratio (0 to 1) on all components. Joints without a
    reading keep their targets."""
    velocity = command.velocity
    targets = {}
    for name, target in command.joints.items():
        at = joints[name].position if joints is not None and name in joints else target
        targets[name] = at + ratio * (target - at)
    return Command(
        BaseVelocity(velocity.x * ratio, velocity.y * ratio, velocity.yaw * ratio),
        targets,
        command.duration_s,
    )


def _bounded(command: Command, profile: Profile) -> Command:
    """The command without the last digits by which rounding may exceed a limit. A joint that is
    measured outside its range is sent no farther out."""
    limits, velocity = profile.limits, command.velocity
    speed = math.hypot(velocity.x, velocity.y)
    ratio = min(1.0, limits.base.linear_m_s / speed) if speed > 0.0 else 1.0
    turn = limits.base.yaw_rad_s
    return Command(
        BaseVelocity(
            float(velocity.x * ratio),
            float(velocity.y * ratio),
            float(min(max(velocity.yaw, -turn), turn)),
        ),
        {
            name: min(max(target, limits.joints[name].lower), limits.joints[name].upper)
            for name, target in command.joints.items()
        },
        command.duration_s,
    )


def _is_finite(value: object) -> bool:
    """Whether it is a number of ordinary size. Not math.isfinite: that fails on huge integers."""
    return isinstance(value, (int, float)) and -1e100 < value < 1e100
