"""What the scripted expert can do, as generators: each `yield` is one action of the action space,
and what follows it sees the world after that action. A skill returns whether it succeeded.

Skills know the robot from reach.py and judge by what they read: a motion without effect means that
something is in the way, or that the gate refused it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping

import numpy as np

from safevla_ros.policy.interface import Observation
from safevla_ros.robot.geometry import rotation_matrix, yaw_of
from safevla_ros.robot.profile import Profile
from safevla_ros.robot.state import SceneObject, Vector3
from safevla_ros.simulation import reach
from safevla_ros.simulation.home import Home
from safevla_ros.simulation.navigation import Navigator, Place, turn_towards
from safevla_ros.simulation.reach import Standoff
from safevla_ros.simulation.solids import Solids, wrap_angle

Script = Generator[str, None, bool]

REPLANS = 30
SAME_PLACE_M = 0.08
TIGHT_M = 0.05
"""How much narrower than it likes the way may be when there is no other."""
STALLS = 2
"""So many motions in a row without effect mean that something is in the way."""
EFFECT = 0.35
"""A motion that does less than this share of what it should is without effect."""

_STEPS: Mapping[str, tuple[tuple[float, str, str], ...]] = {
    "lift": ((0.10, "lift_up", "lift_down"), (0.02, "lift_up_small", "lift_down_small")),
    "arm": ((0.10, "arm_out", "arm_in"), (0.02, "arm_out_small", "arm_in_small")),
    "wrist": ((math.radians(10.0), "wrist_left", "wrist_right"),),
}
_FINE = {"lift": 0.011, "arm": 0.011, "wrist": math.radians(5.1)}
ALIGNED_M = 0.014
"""The gripper's line passes the target within this."""


class Skills:
    """The robot as its scripts see it: `see` an observation, then go on with a script."""

    def __init__(self, home: Home, profile: Profile, navigator: Navigator) -> None:
        self.home = home
        self.navigator = navigator
        self.phase = ""
        self._profile = profile
        self._solids = Solids.of_items(home.fixtures)

    def see(self, observation: Observation) -> None:
        """Take in the state after the last action."""
        assert observation.privileged is not None
        base, velocity = observation.privileged.base, observation.odometry.velocity
        limits = self._profile.limits.base
        # The base still rolls at the end of a motion: plan from where it will come to rest.
        roll = velocity.x * abs(velocity.x) / (2.0 * limits.linear_m_s2)
        yaw = yaw_of(base.orientation)
        x, y, _ = base.position
        self.at = Place(
            x + roll * math.cos(yaw),
            y + roll * math.sin(yaw),
            yaw + velocity.yaw * abs(velocity.yaw) / (2.0 * limits.yaw_rad_s2),
        )
        roles = self._profile.roles
        self.joints = {
            role: observation.joints[getattr(roles, role)].position
            for role in ("lift", "arm", "wrist", "gripper")
        }
        self.holding = observation.object_in_hand
        self.things = {
            entry.id: entry for entry in observation.privileged.scene.objects if not entry.fixed
        }
        self.navigator.set_litter(
            (entry.pose.position[0], entry.pose.position[1], max(entry.size[:2]) / 2.0)
            for entry in self.things.values()
            if entry.pose.position[2] < 0.25
        )

    def solids(self, *without: str) -> Solids:
        """Furniture and small things as they lie now, some left out."""
        others = [entry for entry in self.things.values() if entry.id not in without]
        return self._solids + Solids.of_objects(others)

    def grasp_point(self, thing: SceneObject) -> Vector3:
        """Where to close the gripper to take a thing."""
        x, y, z = thing.pose.position
        item = self.home.item(thing.id)
        upright = abs(thing.pose.orientation[0]) + abs(thing.pose.orientation[1]) < 0.2
        if upright:
            z = z - thing.size[2] / 2.0 + item.design.grasp_height
        return x, y, z

    def grasp_rise(self, thing: SceneObject) -> float:
        """How far the grasp centre is above the lowest point of what is held [m]."""
        turn = np.abs(rotation_matrix(thing.pose.orientation))
        lowest = thing.pose.position[2] - float(turn[2] @ np.array(thing.size)) / 2.0
        return reach.GRASP_HEIGHT + self.joints["lift"] - lowest

    # Driving

    def travel(self, goals: Callable[[], list[Standoff]], radius: float) -> Script:
        """Drive to the cheapest of the goals, around whatever stops the robot."""
        stopped_at: Place | None = None
        for _ in range(REPLANS):
            wanted = goals()
            path = self._way(wanted, radius) or self._way(wanted, radius - TIGHT_M)
            if not path:
                return False
            refused = yield from self._follow(path, radius)
            if not refused:
                return True
            again = stopped_at is not None and _apart(self.at, stopped_at) < SAME_PLACE_M
            stopped_at = self.at
            if refused == "move_ahead":
                known = self.navigator.knows_what_is_ahead(self.at, radius)
                if again or not (known and self.navigator.take_care()):
                    self.navigator.mark_ahead(self.at)
            else:
                self.navigator.widen_mark(self.at)
            if refused != "move_ahead" or again:
                yield from self._make_room(refused)
        return False

    def _follow(self, path: list[tuple[float, float]], radius: float) -> Generator[str, None, str]:
        """Drive along a path; returns the motion that was without effect, empty at its end."""
        stalls = 0
        motion = ""
        while stalls < STALLS:
            motion = self.navigator.next_motion(path, self.at, radius) or ""
            if not motion:
                break
            before = self.at
            yield motion
            stalls = stalls + 1 if self._stalled(before, motion) else 0
        return motion

    def _make_room(self, refused: str) -> Script:
        """Get away from where neither the way ahead nor a turn is possible."""
        other = "rotate_right" if "left" in refused else "rotate_left"
        for motion in ("move_back", other, "move_ahead"):
            before = self.at
            yield motion
            if not self._stalled(before, motion):
                return True
        return False

    def _way(self, goals: list[Standoff], radius: float) -> list[tuple[float, float]]:
        """Points to drive along to the cheapest of the goals; empty when none can be reached."""
        routes = self.navigator.routes(self.at, radius)
        cells = [self.navigator.grid.cell(goal.x, goal.y) for goal in goals]
        best = min(cells, key=lambda cell: float(routes.costs[cell]), default=None)
        return routes.path(best) if best is not None else []

    def _stalled(self, before: Place, motion: str) -> bool:
        if motion.startswith("rotate"):
            wanted = math.radians(6.0 if motion.endswith("small") else 30.0)
            done = abs(wrap_angle(self.at.yaw - before.yaw))
        else:
            wanted = 0.20
            done = _apart(self.at, before)
        return done < EFFECT * wanted

    def face(self, yaw: Callable[[], float], tolerance: float) -> Script:
        """Turn on the spot."""
        stalls = 0
        while stalls <= STALLS:
            turn = turn_towards(wrap_angle(yaw() - self.at.yaw), tolerance)
            if turn is None:
                return True
            before = self.at
            yield turn
            stalls = stalls + 1 if self._stalled(before, turn) else 0
        return False

    # Arm

    def move(self, role: str, target: float) -> Script:
        """Bring lift, arm or wrist to a position [m, rad], as near as its steps allow."""
        stalls = 0
        while stalls <= STALLS:
            error = target - self.joints[role]
            if abs(error) <= _FINE[role]:
                return True
            size, up, down = next(
                (step for step in _STEPS[role] if abs(error) > 0.9 * step[0]), _STEPS[role][-1]
            )
            before = self.joints[role]
            yield up if error > 0.0 else down
            done = abs(self.joints[role] - before)
            stalls = stalls + 1 if done < EFFECT * min(size, abs(error)) else 0
        return False

    def in_base(self, point: Vector3) -> tuple[float, float]:
        """x and y of a point of the map in the base frame."""
        c, s = math.cos(self.at.yaw), math.sin(self.at.yaw)
        dx, dy = point[0] - self.at.x, point[1] - self.at.y
        return c * dx + s * dy, c * dy - s * dx

    def align(self, point: Callable[[], Vector3]) -> Script:
        """Turn base and wrist until the arm's line through the gripper meets the point."""
        for _ in range(25):
            motion = self._best_alignment(point())
            if motion is None:
                return True
            yield motion
        return False

    def _best_alignment(self, point: Vector3) -> str | None:
        """First motion of the shortest mix of small turns and wrist steps that lines up well."""
        x, y = self.in_base(point)
        best, first = math.inf, None
        for turns in range(-4, 5):
            angle = math.radians(6.0 * turns)
            # Turning the base by an angle turns the point in its frame by the opposite one.
            turned = math.cos(angle) * x + math.sin(angle) * y
            for bends in range(-3, 4):
                wrist = self.joints["wrist"] + math.radians(10.0 * bends)
                if abs(wrist) > math.radians(35.0):
                    continue
                miss = abs(turned - reach.grasp_center(0.0, wrist, 0.0)[0])
                cost = max(miss - ALIGNED_M, 0.0) * 400.0 + abs(turns) + abs(bends)
                if cost < best:
                    best = cost
                    first = (turns, bends)
        if first is None or first == (0, 0):
            return None
        turns, bends = first
        if turns:
            return "rotate_left_small" if turns > 0 else "rotate_right_small"
        return "wrist_left" if bends > 0 else "wrist_right"

    def in_reach(self, point: Vector3) -> bool:
        """Whether the arm is long enough for a point that it faces."""
        x, y = self.in_base(point)
        rest = math.hypot(x, y) - math.hypot(*reach.grasp_center(0.0, 0.0, 0.0)[:2])
        return 0.0 <= rest <= reach.ARM_RANGE + 0.005

    def arm_for(self, point: Vector3) -> float:
        """Arm extension that brings the grasp centre to a point on its line [m]."""
        _, y = self.in_base(point)
        return -y + reach.grasp_center(0.0, self.joints["wrist"], 0.0)[1]

    def grip(self) -> Script:
        """Close the gripper around what is between its fingers."""
        for _ in range(4):
            yield "pick_up"
            if self.holding:
                return True
        return False

    def let_go(self) -> Script:
        """Open the gripper."""
        for _ in range(4):
            yield "drop_off"
            if not self.holding and self.joints["gripper"] > 0.06:
                return True
        return not self.holding


def _apart(a: Place, b: Place) -> float:
    return math.hypot(a.x - b.x, a.y - b.y)
