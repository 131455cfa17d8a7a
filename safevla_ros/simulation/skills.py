"""What the scripted expert can do with the robot: the next action on the way to something.

Each skill looks at the state and nothing else, and names one action of the action space, or None
when it is done. So it answers the same from the same state, whoever moved the robot there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from safevla_ros.policy.interface import Observation
from safevla_ros.robot.geometry import rotation_matrix, yaw_of
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import SceneObject, Vector3
from safevla_ros.simulation import reach
from safevla_ros.simulation.home import Home
from safevla_ros.simulation.navigation import Navigator, Place, turn_towards
from safevla_ros.simulation.reach import facing_yaw
from safevla_ros.simulation.solids import Solids, wrap_angle

PEOPLE_AHEAD_M, PEOPLE_NEAR_M = 1.6, 1.05
"""Somebody who is nearer than this ahead of the robot, or elsewhere or walking off, is let pass [m]."""
EFFECT = 0.35
"""A motion that does less than this share of what it should is without effect."""

_STEPS: Mapping[str, tuple[tuple[float, str, str], ...]] = {
    "lift": ((0.10, "lift_up", "lift_down"), (0.02, "lift_up_small", "lift_down_small")),
    "arm": ((0.10, "arm_out", "arm_in"), (0.02, "arm_out_small", "arm_in_small")),
    "wrist": ((math.radians(10.0), "wrist_left", "wrist_right"),),
}
_FINE = {"lift": 0.011, "arm": 0.011, "wrist": math.radians(5.1)}

ALIGNED_M = 0.014
"""The gripper's line passes the target within this before the arm goes out,"""
STILL_ALIGNED_M = 0.035
"""and within this while it is out."""
NEAR_M = 0.15
"""The arm is out when the gripper is this near to where it goes."""
ARM_IN_M = 0.03
OPEN_M = 0.06
"""Fingers opened by less than this take nothing."""
FOLDED = math.radians(130.0)
"""With the wrist beyond this the robot fits into its circle."""
UNFOLDED = math.radians(35.0)
"""With the wrist within this the arm is lined up, also by bending the wrist."""
OFF_COURSE = math.radians(14.0)
"""With a larger heading error the arm comes in before the robot turns."""
BEND_PRICE = 0.6
"""A wrist that stays bent by one step costs this much of an action."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the base comes to rest, and the joint positions by role [m, rad]."""

    at: Place
    joints: Mapping[str, float]


class Skills:
    """The robot as the expert sees it: `see` an observation, then ask what to do."""

    now: Place
    """Where the base is."""
    at: Place
    """Where it comes to rest: it still rolls at the end of a motion."""
    joints: Mapping[str, float]
    """Positions by role."""
    held: str
    """Id of what is held; empty: nothing."""
    things: Mapping[str, SceneObject]
    """What can be moved, by id."""
    turning: str
    """The side, `left` or `right`, to which the last action turned it, whoever chose that."""
    has_seen_target: bool
    """Whether the navigation camera has shown what is asked for in this episode."""

    def __init__(self, home: Home, profile: Profile, navigator: Navigator) -> None:
        self.home = home
        self.navigator = navigator
        self._limits = profile.limits.base
        self._roles = profile.roles
        self._solids = Solids.of_items(home.fixtures)
        self.turning = ""
        self.has_seen_target = False

    def see(self, observation: Observation) -> None:
        """Take in the state after the last action."""
        assert observation.privileged is not None
        base, velocity = observation.privileged.base, observation.odometry.velocity
        x, y, _ = base.position
        yaw = yaw_of(base.orientation)
        self.now = Place(x, y, yaw)
        roll = velocity.x * abs(velocity.x) / (2.0 * self._limits.linear_m_s2)
        self.at = Place(
            x + roll * math.cos(yaw),
            y + roll * math.sin(yaw),
            yaw + velocity.yaw * abs(velocity.yaw) / (2.0 * self._limits.yaw_rad_s2),
        )
        self.joints = {
            role: observation.joints[getattr(self._roles, role)].position
            for role in ("lift", "arm", "wrist", "gripper")
        }
        objects = observation.privileged.scene.objects
        self.things = {entry.id: entry for entry in objects if not entry.fixed}
        self.held = next((entry.id for entry in self.things.values() if entry.held), "")
        self.navigator.set_litter(
            (entry.pose.position[0], entry.pose.position[1], max(entry.size[:2]) / 2.0)
            for entry in self.things.values()
            if entry.pose.position[2] < 0.25
        )

    def reading(self) -> Reading:
        """What tells whether a motion had an effect."""
        return Reading(self.at, self.joints)

    def stalled(self, action: str, before: Reading) -> bool:
        """Whether an action did too little of what it should have done."""
        if action.startswith("rotate"):
            wanted = math.radians(6.0 if action.endswith("small") else 30.0)
            return abs(wrap_angle(self.at.yaw - before.at.yaw)) < EFFECT * wanted
        if action.startswith("move"):
            return apart(self.at, before.at) < EFFECT * 0.20
        for role, steps in _STEPS.items():
            for size, *names in steps:
                if action in names:
                    return abs(self.joints[role] - before.joints[role]) < EFFECT * size
        return False

    # The scene

    def somebody_is_near(self) -> bool:
        """Whether a person is so near that the robot had better stand."""
        for entry in self.things.values():
            if entry.class_name != "person":
                continue
            x, y = entry.pose.position[0] - self.at.x, entry.pose.position[1] - self.at.y
            away = math.hypot(x, y)
            leaves = (x * entry.velocity[0] + y * entry.velocity[1]) / max(away, 1e-6) > 0.1
            ahead = abs(wrap_angle(math.atan2(y, x) - self.at.yaw)) < math.radians(60.0)
            if away < (PEOPLE_AHEAD_M if ahead and not leaves else PEOPLE_NEAR_M):
                return True
        return False

    def solids(self, *without: str) -> Solids:
        """Furniture and small things as they lie now, some left out."""
        others = [entry for entry in self.things.values() if entry.id not in without]
        return self._solids + Solids.of_objects(others)

    @property
    def furniture(self) -> Solids:
        """What cannot be moved."""
        return self._solids

    def grasp_point(self, thing: SceneObject) -> Vector3:
        """Where to close the gripper to take a thing."""
        x, y, z = thing.pose.position
        item = self.home.item(thing.id)
        upright = abs(thing.pose.orientation[0]) + abs(thing.pose.orientation[1]) < 0.2
        if upright:
            z = z - thing.size[2] / 2.0 + item.design.grasp_height
        return x, y, z

    def rise(self, thing: SceneObject) -> float:
        """How far a thing's lowest point is above the surface below it [m]."""
        x, y, _ = thing.pose.position
        bottom = lowest(thing)
        return bottom - self._solids.top_below((x, y, bottom + 0.02))

    # Driving

    def drive(self, path: list[tuple[float, float]], radius: float) -> str | None:
        """Along a path of the navigator's; None: at its end."""
        return self.navigator.next_motion(path, self.at, radius, self.turning)

    def turn(self, yaw: float, tolerance: float) -> str | None:
        """Turn on the spot."""
        return turn_towards(wrap_angle(yaw - self.at.yaw), tolerance, self.turning)

    # Arm

    def move(self, role: str, target: float, tolerance: float = 0.0) -> str | None:
        """Bring lift, arm or wrist to a position [m, rad], as near as its steps allow."""
        error = target - self.joints[role]
        if abs(error) <= max(_FINE[role], tolerance):
            return None
        _, up, down = next(
            (step for step in _STEPS[role] if abs(error) > 0.9 * step[0]), _STEPS[role][-1]
        )
        return up if error > 0.0 else down

    def lift_to(self, height: float) -> str | None:
        """Bring the gripper to a height above the floor [m]."""
        return self.move("lift", min(max(height - reach.GRASP_HEIGHT, 0.0), reach.LIFT_RANGE))

    def fold(self) -> str | None:
        """Take arm and gripper in, to drive."""
        folded = "wrist_left" if self.joints["wrist"] < FOLDED else None
        return self.move("arm", 0.0, ARM_IN_M) or folded

    def fold_to_carry(self, height: float) -> str | None:
        """Take what is held close to the body, the way it was unfolded, then at least that high
        [m]."""
        return (
            self.move("arm", 0.0, ARM_IN_M)
            or self.move("wrist", reach.FORWARD_WRIST, math.radians(15.0))
            or self.move("lift", max(self.joints["lift"], height), 0.05)
        )

    def unfold(self, point: Vector3, height: float) -> str | None:
        """From folded to the gripper in front of a point, the arm still in. Unfolding at the
        height of the target passes below boards that are above it."""
        if abs(self.joints["wrist"]) <= UNFOLDED:
            return None
        facing = facing_yaw(self.at.x, self.at.y, point)
        return (
            self.move("arm", 0.0, ARM_IN_M)
            or self.turn(facing, math.radians(4.0))
            or self.open()
            or self.lift_to(height)
            or ("wrist_right" if self.joints["wrist"] > 0.0 else "wrist_left")
        )

    def unfold_held(self, point: Vector3) -> str | None:
        """As `unfold`, with something in the gripper: at the height at which it is carried."""
        if abs(self.joints["wrist"]) <= UNFOLDED:
            return None
        facing = facing_yaw(self.at.x, self.at.y, point)
        return self.turn(facing, math.radians(4.0)) or "wrist_right"

    def line_up(self, point: Vector3) -> str | None:
        """Turn base and wrist until the arm's line through the gripper meets the point."""
        off = wrap_angle(facing_yaw(self.at.x, self.at.y, point) - self.at.yaw)
        out = self.joints["arm"] > max(self.arm_for(point) - NEAR_M, 2.0 * ARM_IN_M)
        if abs(off) > OFF_COURSE:
            return self.move("arm", 0.0, 2.0 * ARM_IN_M) or self.turn(self.at.yaw + off, 0.0)
        aligned = self._alignment(point, STILL_ALIGNED_M if out else ALIGNED_M)
        return "arm_in" if out and aligned else aligned

    def reach_out(self, point: Vector3) -> str | None:
        """Bring the grasp centre to a point on the arm's line."""
        return self.move("arm", self.arm_for(point), 0.015)

    def open(self) -> str | None:
        """Open the gripper."""
        return "drop_off" if self.joints["gripper"] < OPEN_M else None

    def in_base(self, point: Vector3) -> tuple[float, float]:
        """x and y of a point of the map in the base frame."""
        c, s = math.cos(self.at.yaw), math.sin(self.at.yaw)
        dx, dy = point[0] - self.at.x, point[1] - self.at.y
        return c * dx + s * dy, c * dy - s * dx

    def arm_for(self, point: Vector3) -> float:
        """Arm extension that brings the grasp centre to a point on its line [m]."""
        _, y = self.in_base(point)
        wanted = -y + reach.grasp_center(0.0, self.joints["wrist"], 0.0)[1]
        return min(max(wanted, 0.0), reach.ARM_RANGE)

    def _alignment(self, point: Vector3, tolerance: float) -> str | None:
        """First motion of the shortest mix of small turns and wrist steps that lines up well."""
        x, y = self.in_base(point)
        best, first = math.inf, (0, 0)
        for turns in range(-4, 5):
            angle = math.radians(6.0 * turns)
            # Turning the base by an angle turns the point in its frame by the opposite one.
            turned = math.cos(angle) * x + math.sin(angle) * y
            for bends in range(-3, 4):
                wrist = self.joints["wrist"] + math.radians(10.0 * bends)
                if abs(wrist) > UNFOLDED:
                    continue
                miss = abs(turned - reach.grasp_center(0.0, wrist, 0.0)[0])
                cost = max(miss - tolerance, 0.0) * 400.0 + abs(turns) + abs(bends)
                if turns or bends:
                    cost += BEND_PRICE * abs(wrist) / math.radians(10.0)
                if cost < best:
                    best, first = cost, (turns, bends)
        turns, bends = first
        if turns:
            return "rotate_left_small" if turns > 0 else "rotate_right_small"
        if bends:
            return "wrist_left" if bends > 0 else "wrist_right"
        return None


def apart(a: Place, b: Place) -> float:
    """Distance between two places [m]."""
    return math.hypot(a.x - b.x, a.y - b.y)


def lowest(thing: SceneObject) -> float:
    """Height of a thing's lowest point [m]."""
    turn = np.abs(rotation_matrix(thing.pose.orientation))
    return thing.pose.position[2] - float(turn[2] @ np.array(thing.size)) / 2.0
