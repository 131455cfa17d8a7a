"""The robot's own low-level drivers: what a real base and real joints do with commands.

The base ramps to commanded velocities within its limits and stops by itself when it hears nothing
for its timeout. Joint targets move at the joint's speed limit and never run far ahead of the
joint, so that an arm that meets something pushes with bounded force and does not jump when freed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import mujoco
import numpy as np

from safevla_ros.robot.profile import BaseLimits, JointLimits
from safevla_ros.robot.state import BaseVelocity
from safevla_ros.simulation.model import BASE_JOINTS

LEAD_S = 0.12
"""A joint's set point runs ahead of the joint by at most its speed limit times this [s]."""


class BaseDriver:
    """A differential base: forward and turning speed; sideways commands do nothing."""

    def __init__(self, model: mujoco.MjModel, limits: BaseLimits, timeout_s: float) -> None:
        self._limits = limits
        self._timeout_s = timeout_s
        self._qpos = [int(model.joint(name).qposadr[0]) for name in BASE_JOINTS]
        self._qvel = [int(model.joint(name).dofadr[0]) for name in BASE_JOINTS]
        self._servos = [int(model.actuator(name).id) for name in BASE_JOINTS]
        self._target = (0.0, 0.0)
        self.ramp = (0.0, 0.0)
        """Forward [m/s] and turning speed [rad/s] that the servos are set to now."""
        self._until_s = 0.0

    def place(self, data: mujoco.MjData, x: float, y: float, yaw: float) -> None:
        """Put the base somewhere, standing."""
        for address, value in zip(self._qpos, (x, y, yaw), strict=True):
            data.qpos[address] = value
        self._target = self.ramp = (0.0, 0.0)
        self._until_s = 0.0

    def pose(self, data: mujoco.MjData) -> tuple[float, float, float]:
        """x, y [m] and yaw [rad] in the map; yaw counts full turns."""
        x, y, yaw = (float(data.qpos[address]) for address in self._qpos)
        return x, y, yaw

    def velocity(self, data: mujoco.MjData) -> BaseVelocity:
        """Measured velocity in the base frame."""
        vx, vy, rate = (float(data.qvel[address]) for address in self._qvel)
        yaw = float(data.qpos[self._qpos[2]])
        c, s = math.cos(yaw), math.sin(yaw)
        return BaseVelocity(c * vx + s * vy, c * vy - s * vx, rate)

    def command(self, velocity: BaseVelocity, now_s: float, duration_s: float | None) -> None:
        """Obey this velocity from now on, for `duration_s` (None: until the timeout)."""
        limits = self._limits
        self._target = (
            _clip(velocity.x, limits.linear_m_s),
            _clip(velocity.yaw, limits.yaw_rad_s),
        )
        hold = self._timeout_s if duration_s is None else min(duration_s, self._timeout_s)
        self._until_s = now_s + hold

    def update(self, data: mujoco.MjData, step_s: float) -> None:
        """Set the servos for the next physics step."""
        target = self._now(data)
        x = _approach(self.ramp[0], target[0], self._limits.linear_m_s2 * step_s)
        rate = _approach(self.ramp[1], target[1], self._limits.yaw_rad_s2 * step_s)
        self.ramp = (x, rate)
        yaw = float(data.qpos[self._qpos[2]])
        data.ctrl[self._servos[0]] = x * math.cos(yaw)
        data.ctrl[self._servos[1]] = x * math.sin(yaw)
        data.ctrl[self._servos[2]] = rate

    def glide(self, data: mujoco.MjData, step_s: float) -> None:
        """Move the base along its ramp without physics."""
        target, limits = self._now(data), self._limits
        x, ahead = _ramp(self.ramp[0], target[0], limits.linear_m_s2, step_s)
        rate, turned = _ramp(self.ramp[1], target[1], limits.yaw_rad_s2, step_s)
        self.ramp = (x, rate)
        yaw = float(data.qpos[self._qpos[2]])
        along, after = yaw + turned / 2.0, yaw + turned
        moves = (ahead * math.cos(along), ahead * math.sin(along), turned)
        speeds = (x * math.cos(after), x * math.sin(after), rate)
        for qpos, qvel, move, speed in zip(self._qpos, self._qvel, moves, speeds, strict=True):
            data.qpos[qpos] += move
            data.qvel[qvel] = speed

    def _now(self, data: mujoco.MjData) -> tuple[float, float]:
        """The velocities to ramp to now."""
        # The end of a command falls between steps: what is within rounding of it counts as past.
        return self._target if data.time < self._until_s - 1e-9 else (0.0, 0.0)


class JointDrivers:
    """Position servos of the robot's joints."""

    def __init__(self, model: mujoco.MjModel, limits: Mapping[str, JointLimits]) -> None:
        self._limits = limits
        self._qpos = {name: int(model.joint(name).qposadr[0]) for name in limits}
        self._qvel = {name: int(model.joint(name).dofadr[0]) for name in limits}
        self._servos = {name: int(model.actuator(name).id) for name in limits}
        self._followers = _followers(model)
        self._targets = dict.fromkeys(limits, 0.0)
        self.set_points = dict.fromkeys(limits, 0.0)
        """Where the servos of the joints are set to now."""

    def place(self, data: mujoco.MjData, positions: Mapping[str, float]) -> None:
        """Put joints somewhere, at rest, and hold them there."""
        for name, position in positions.items():
            data.qpos[self._qpos[name]] = position
            data.ctrl[self._servos[name]] = position
            self._targets[name] = self.set_points[name] = position

    def command(self, targets: Mapping[str, float]) -> None:
        """New targets, kept within limits. KeyError names an unknown joint."""
        for name in targets:
            if name not in self._limits:
                raise KeyError(f"joint {name!r}: expected one of {', '.join(self._limits)}")
        for name, target in targets.items():
            limits = self._limits[name]
            self._targets[name] = min(max(target, limits.lower), limits.upper)

    def target(self, name: str) -> float:
        """Where a joint is told to go."""
        return self._targets[name]

    def position(self, data: mujoco.MjData, name: str) -> float:
        """Where a joint is."""
        return float(data.qpos[self._qpos[name]])

    def velocity(self, data: mujoco.MjData, name: str) -> float:
        """How fast it moves."""
        return float(data.qvel[self._qvel[name]])

    def effort(self, data: mujoco.MjData, name: str) -> float:
        """Force [N] or torque [N m] of its servo."""
        return float(data.actuator_force[self._servos[name]])

    def update(self, data: mujoco.MjData, step_s: float) -> None:
        """Set the servos for the next physics step."""
        for name, target in self._targets.items():
            speed = self._limits[name].velocity
            point = _approach(self.set_points[name], target, speed * step_s)
            at, lead = float(data.qpos[self._qpos[name]]), speed * LEAD_S
            point = min(max(point, at - lead), at + lead)
            self.set_points[name] = point
            data.ctrl[self._servos[name]] = point

    def glide(self, data: mujoco.MjData, step_s: float, stopped: Collection[str]) -> None:
        """Move joints to their targets without physics, but for those that are `stopped`."""
        set_points = dict(self.set_points)
        for name, target in self._targets.items():
            at = float(data.qpos[self._qpos[name]])
            point = at
            if name not in stopped:
                point = _approach(at, target, self._limits[name].velocity * step_s)
                set_points[name] = point
            data.qpos[self._qpos[name]] = point
            data.qvel[self._qvel[name]] = (point - at) / step_s
        for follower, leader, offset, factor in self._followers:
            data.qpos[follower[0]] = offset + factor * data.qpos[leader[0]]
            data.qvel[follower[1]] = factor * data.qvel[leader[1]]
        self.set_points = set_points


def _clip(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def _approach(value: float, target: float, step: float) -> float:
    return min(max(target, value - step), value + step)


def _followers(
    model: mujoco.MjModel,
) -> list[tuple[tuple[int, int], tuple[int, int], float, float]]:
    """Joints that mimic another: addresses (qpos, qvel) of both, offset and factor."""

    def addresses(joint: int) -> tuple[int, int]:
        return int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])

    return [
        (
            addresses(model.eq_obj1id[row]),
            addresses(model.eq_obj2id[row]),
            float(model.eq_data[row, 0]),
            float(model.eq_data[row, 1]),
        )
        for row in np.flatnonzero(model.eq_type == mujoco.mjtEq.mjEQ_JOINT)
    ]


def _ramp(speed: float, target: float, change: float, step_s: float) -> tuple[float, float]:
    """Speed after a while of approaching a target speed at a rate of change, and the way made."""
    ramp_s = min(abs(target - speed) / change, step_s)
    end = _approach(speed, target, change * step_s)
    return end, (speed + end) / 2.0 * ramp_s + end * (step_s - ramp_s)
