"""What every fuzz of commands asserts."""

from __future__ import annotations

import math

from safevla_ros.robot.profile import Limits
from safevla_ros.robot.state import Command


def assert_within(limits: Limits, command: Command) -> None:
    """No part of the command exceeds the robot's limits."""
    base, velocity = limits.base, command.velocity
    assert math.hypot(velocity.x, velocity.y) <= base.linear_m_s * (1 + 1e-9)
    assert abs(velocity.yaw) <= base.yaw_rad_s * (1 + 1e-9)
    for name, target in command.joints.items():
        joint = limits.joints[name]
        assert joint.lower - 1e-9 <= target <= joint.upper + 1e-9
