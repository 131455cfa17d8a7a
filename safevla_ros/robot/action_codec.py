"""The action space of the SafeVLA paper, as commands: 20 tokens, one action of `step_s` each.

Also the rows of continuous chunks. Base motions become velocities that are held for the whole
step; joint motions become absolute targets, counted from the measured position and kept within the
profile's limits. Which joint is the lift, the arm, the wrist and the gripper is in the profile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as shortened

from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import BaseVelocity, Command, Joint


class ActionError(ValueError):
    """An action that means nothing on this robot; the message says which and why."""


@dataclass(frozen=True, slots=True)
class EndOfEpisode:
    """The policy says that it is done. Moves nothing."""


_TRAVEL_M: Mapping[str, float] = {"move_ahead": 0.20, "move_back": -0.20}
_TURN_RAD: Mapping[str, float] = {
    "rotate_left": math.radians(30.0),
    "rotate_right": math.radians(-30.0),
    "rotate_left_small": math.radians(6.0),
    "rotate_right_small": math.radians(-6.0),
}
_JOINT_STEPS: Mapping[str, tuple[str, float]] = {
    "lift_up": ("lift", 0.10),
    "lift_up_small": ("lift", 0.02),
    "lift_down": ("lift", -0.10),
    "lift_down_small": ("lift", -0.02),
    "arm_out": ("arm", 0.10),
    "arm_out_small": ("arm", 0.02),
    "arm_in": ("arm", -0.10),
    "arm_in_small": ("arm", -0.02),
    "wrist_left": ("wrist", math.radians(10.0)),
    "wrist_right": ("wrist", math.radians(-10.0)),
}

ACTIONS: tuple[str, ...] = (
    *_TRAVEL_M,
    *_TURN_RAD,
    *_JOINT_STEPS,
    "pick_up",
    "drop_off",
    "end",
    "sub_goal_done",
)
"""Names of the actions, in the order of their tokens."""

TOKENS: Mapping[str, int] = {name: token for token, name in enumerate(ACTIONS)}
"""Token of each action."""

BASE_COLUMNS = ("base.x", "base.y", "base.yaw")
"""Columns of continuous chunks that are base velocities [m/s, m/s, rad/s]; others are joints."""


def decode(token: int, joints: Mapping[str, Joint], profile: Profile) -> Command | EndOfEpisode:
    """The command that a token means now. Raises ActionError."""
    if not 0 <= token < len(ACTIONS):
        raise ActionError(f"token {token}: expected 0 to {len(ACTIONS) - 1}")
    action, step_s, roles = ACTIONS[token], profile.step_s, profile.roles
    if action == "end":
        return EndOfEpisode()
    if action in _TRAVEL_M:
        return Command(BaseVelocity(x=_TRAVEL_M[action] / step_s), duration_s=step_s)
    if action in _TURN_RAD:
        return Command(BaseVelocity(yaw=_TURN_RAD[action] / step_s), duration_s=step_s)
    if action in _JOINT_STEPS:
        role, change = _JOINT_STEPS[action]
        name = getattr(roles, role)
        if name not in joints:
            raise ActionError(f"action {action!r}: the reading of joint {name!r} is missing")
        limits = profile.limits.joints[name]
        target = min(max(joints[name].position + change, limits.lower), limits.upper)
        return Command(joints={name: target}, duration_s=step_s)
    if action == "pick_up":
        return Command(joints={roles.gripper: roles.gripper_closed}, duration_s=step_s)
    if action == "drop_off":
        return Command(joints={roles.gripper: roles.gripper_open}, duration_s=step_s)
    return Command(duration_s=step_s)


def decode_row(names: Sequence[str], row: Sequence[float], duration_s: float) -> Command:
    """The command that one row of a continuous chunk means. Raises ActionError.

    `names` and `row` (len(names),) are as in the ActionChunk message: base velocities by the names
    of BASE_COLUMNS, every other column the absolute target of the joint that it names.
    """
    if len(names) != len(row):
        raise ActionError(f"chunk: {len(names)} names, but rows of {len(row)} values")
    if len(set(names)) != len(names):
        raise ActionError(f"chunk: names must differ, got {shortened(list(names))}")
    values = {name: float(value) for name, value in zip(names, row, strict=True)}
    x, y, yaw = (values.pop(name, 0.0) for name in BASE_COLUMNS)
    return Command(BaseVelocity(x, y, yaw), joints=values, duration_s=duration_s)


def opens_gripper(command: Command, profile: Profile) -> bool | None:
    """Whether a command tells the gripper to let go. None: it does not speak of the gripper.

    The last answer that was not None is a world state's `release_commanded`.
    """
    target = command.joints.get(profile.roles.gripper)
    if target is None:
        return None
    roles = profile.roles
    return abs(target - roles.gripper_open) < abs(target - roles.gripper_closed)
