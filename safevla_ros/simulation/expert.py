"""A scripted policy that uses the simulator's truth: it demonstrates, and stands in for a VLA."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from shapely.geometry import Polygon

from safevla_ros.policy.interface import (
    ActionChunk,
    Instruction,
    Observation,
    PolicyDescription,
    PolicyError,
)
from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import SceneObject, Vector3
from safevla_ros.simulation import reach
from safevla_ros.simulation.home import eye_at, generate_home
from safevla_ros.simulation.navigation import CAREFUL, HURRIED, Manners, Navigator
from safevla_ros.simulation.reach import Standoff, facing_yaw, standoffs
from safevla_ros.simulation.scenario import Scenario
from safevla_ros.simulation.skills import Script, Skills

Style = Literal["careful", "hurried"]

MANNERS: dict[str, Manners] = {"careful": CAREFUL, "hurried": HURRIED}

ATTEMPTS = 4
"""Tries of one part of a task before it is given up."""
CARRY_RADIUS_M = 0.31
"""Half the width of the robot with something in its gripper, the wrist turned forwards; it needs
more only where it turns on the spot."""
CARRY_LIFT_M = 0.9
SPOT_GAP_M = 0.24
"""Free space around the point at which something is put down."""
ENOUGH_WAYS = 12
"""A point with so many base poses to reach it from is good enough to put something down."""
SAME_SPOT_M = 0.15
"""A spot this near to one from which reaching failed is not tried."""
LOOK_RANGE_M = (1.0, 1.75)
"""Distances from which things are looked at for `find`."""

IMAGE_HEIGHT, IMAGE_WIDTH = 240, 320


class ScriptedExpert:
    """Plans on the home's layout and the simulator's truth; token actions, one a chunk.

    `careful` prefers wide clearance and keeps out of the scenario's zones; `hurried` takes the
    shortest path, cuts corners and ignores zones. Both plan around where they were stopped, and say
    `end` when they are done or have to give up. Needs `Observation.privileged`.
    """

    description: PolicyDescription

    def __init__(self, scenario: Scenario, style: Style = "careful") -> None:
        self.description = PolicyDescription(
            id=f"scripted-{style}",
            representation="token",
            image_height=IMAGE_HEIGHT,
            image_width=IMAGE_WIDTH,
            privileged=True,
        )
        self._home = generate_home(scenario)
        self._zones = [Polygon(zone.polygon) for zone in scenario.zones if zone.frame == "map"]
        self._manners = MANNERS[style]
        self._profile = load_profile("sim")
        self._script: Script | None = None

    def reset(self, instruction: Instruction) -> None:
        """Forget the last episode. Raises PolicyError when the target is not in this home."""
        names = {item.id: item.class_name for item in self._home.goods}
        wanted = instruction.target_ids or tuple(
            id_ for id_, name in names.items() if name == instruction.target_class
        )
        if not wanted or wanted[0] not in names:
            raise PolicyError(
                f"target {wanted[0] if wanted else instruction.target_class!r}: "
                f"not in this home, which has {', '.join(names)}"
            )
        tasks = {
            "find": self._find,
            "pick_up": self._pick_up,
            "fetch": self._pick_up,
            "bring": self._bring,
        }
        if instruction.task not in tasks:
            raise PolicyError(
                f"task {instruction.task!r}: expected one of {', '.join(tasks)} for a scripted policy"
            )
        self._target = wanted[0]
        self._failed: list[tuple[float, float]] = []
        navigator = Navigator(self._home.grid, self._manners, self._zones)
        self._skills = Skills(self._home, self._profile, navigator)
        self._script = tasks[instruction.task]()

    def act(self, observation: Observation) -> ActionChunk:
        """The next token. Raises PolicyError without privileged state, or before `reset`."""
        if observation.privileged is None:
            raise PolicyError(f"policy {self.description.id!r}: expected privileged state")
        if self._script is None:
            raise PolicyError(f"policy {self.description.id!r}: expected reset before act")
        self._skills.see(observation)
        action = next(self._script, "end")
        phase = "done" if action == "end" else self._skills.phase
        return ActionChunk("token", tokens=(TOKENS[action],), phase=phase)

    # Tasks

    def _find(self) -> Script:
        skills = self._skills
        for _ in range(ATTEMPTS):
            skills.phase = "drive to where it can be seen"
            if not (yield from skills.travel(self._viewpoints, reach.BASE_RADIUS)):
                skills.navigator.forget_marks()
                continue
            skills.phase = "look"
            if (yield from skills.face(self._bearing, math.radians(8.0))) and self._sees():
                return True
            self._failed.append((skills.at.x, skills.at.y))
        return False

    def _pick_up(self) -> Script:
        skills = self._skills
        for _ in range(ATTEMPTS):
            skills.phase = "drive to it"
            if not (yield from skills.travel(self._standoffs, reach.BASE_RADIUS)):
                skills.navigator.forget_marks()
                continue
            if (yield from self._take()):
                skills.phase = "draw back"
                yield from skills.move("lift", skills.joints["lift"] + 0.04)
                yield from skills.move("arm", 0.0)
                if skills.holding:
                    return True
            self._failed.append((skills.at.x, skills.at.y))
            yield from self._stow()
        return False

    def _take(self) -> Script:
        """From a standoff: unfold, line up, reach out, close."""
        skills = self._skills
        skills.phase = "turn the arm to it"
        if not (yield from self._face_with_arm(self._grasp_point)):
            return False
        # Unfolding at the height of the target passes below boards that are above it.
        ready = yield from self._lift_to(self._grasp_point()[2])
        ready = ready and (yield from skills.move("wrist", 0.0))
        if not (ready and (yield from skills.align(self._grasp_point))):
            return False
        skills.phase = "reach"
        if not (yield from skills.move("arm", skills.arm_for(self._grasp_point()))):
            return False
        skills.phase = "grasp"
        return (yield from skills.grip())

    def _face_with_arm(self, point: Callable[[], Vector3]) -> Script:
        """Turn the arm's side to a point; false when it is out of reach."""
        skills = self._skills
        if not skills.in_reach(point()):
            return False
        return (
            yield from skills.face(
                lambda: facing_yaw(skills.at.x, skills.at.y, point()), math.radians(4.0)
            )
        )

    def _lift_to(self, height: float) -> Script:
        """Bring the gripper to a height above the floor [m]."""
        lift = min(max(height - reach.GRASP_HEIGHT, 0.0), reach.LIFT_RANGE)
        return (yield from self._skills.move("lift", lift))

    def _stow(self) -> Script:
        """After a failed try: back to a pose in which it can drive."""
        skills = self._skills
        skills.phase = "try again"
        if skills.holding or skills.joints["gripper"] < 0.06:
            yield from skills.let_go()
        yield from skills.move("arm", 0.0)
        return (yield from skills.move("wrist", reach.FOLDED_WRIST))

    def _bring(self) -> Script:
        skills = self._skills
        if not (yield from self._pick_up()):
            return False
        yield from self._fold_to_carry()
        for _ in range(ATTEMPTS):
            skills.phase = "carry it there"
            self._choose_spot()
            if not (yield from skills.travel(self._spot_standoffs, CARRY_RADIUS_M)):
                skills.navigator.forget_marks()
                continue
            skills.phase = "put it down"
            if (yield from self._put_down()):
                return True
            self._failed.append((skills.at.x, skills.at.y))
            yield from self._fold_to_carry()
        return False

    def _fold_to_carry(self) -> Script:
        """Take what is held close to the body, and above most furniture."""
        skills = self._skills
        skills.phase = "fold for the way"
        yield from skills.move("arm", 0.0)
        yield from skills.move("lift", max(skills.joints["lift"], CARRY_LIFT_M))
        return (yield from skills.move("wrist", reach.FORWARD_WRIST))

    # Where to go

    def _thing(self) -> SceneObject:
        return self._skills.things[self._target]

    def _grasp_point(self) -> Vector3:
        return self._skills.grasp_point(self._thing())

    def _bearing(self) -> float:
        x, y, _ = self._thing().pose.position
        at = self._skills.at
        return math.atan2(y - at.y, x - at.x)

    def _standoffs(self) -> list[Standoff]:
        return self._reachable(self._grasp_point(), self._target)

    def _reachable(self, point: Vector3, *without: str) -> list[Standoff]:
        skills = self._skills
        room = reach.BASE_RADIUS + max(self._manners.clearance, 0.0)
        found = standoffs(point, skills.navigator.grid, skills.solids(*without), room)
        return [
            spot
            for spot in found
            if skills.navigator.allows(np.linspace((spot.x, spot.y), point[:2], 8))
            and self._is_new(spot)
        ]

    def _viewpoints(self) -> list[Standoff]:
        """Places from which the navigation camera sees the target."""
        skills, thing = self._skills, self._thing()
        solids = skills.solids(self._target)
        x, y, z = thing.pose.position
        spots, eyes = [], []
        for distance in np.linspace(*LOOK_RANGE_M, 4):
            for bearing in np.arange(0.0, 2.0 * math.pi, math.pi / 18.0):
                spot_x, spot_y = x - distance * math.cos(bearing), y - distance * math.sin(bearing)
                if skills.navigator.grid.clearance_at(spot_x, spot_y) < reach.BASE_RADIUS:
                    continue
                spots.append(Standoff(spot_x, spot_y, bearing, 0.0))
                eyes.append(eye_at(spot_x, spot_y, bearing))
        if not spots:
            return []
        # Middle and top: more than its tip is to be seen.
        hidden = solids.block((x, y, z), np.array(eyes))
        hidden |= solids.block((x, y, z + thing.size[2] / 4.0), np.array(eyes))
        return [
            spot
            for spot, blocked in zip(spots, hidden, strict=True)
            if not blocked and self._is_new(spot)
        ]

    def _sees(self) -> bool:
        """Whether the navigation camera sees the target from here."""
        at, thing = self._skills.at, self._thing()
        solids = self._skills.solids(self._target)
        eye = eye_at(at.x, at.y, at.yaw)
        return not solids.block(eye, np.array([thing.pose.position])).any()

    def _is_new(self, spot: Standoff) -> bool:
        return all(math.hypot(spot.x - x, spot.y - y) > SAME_SPOT_M for x, y in self._failed)

    # Putting down

    def _put_down(self) -> Script:
        skills = self._skills

        def spot() -> Vector3:
            return self._spot

        if not (yield from self._face_with_arm(spot)):
            return False
        # It is carried high: unfold there, come down, reach out, and lower the last bit.
        placed = yield from skills.move("wrist", 0.0)
        placed = placed and (yield from skills.align(spot))
        placed = placed and (yield from self._lift_to(self._spot[2] + 0.06))
        placed = placed and (yield from skills.move("arm", skills.arm_for(self._spot)))
        placed = placed and (yield from self._lift_to(self._spot[2] + 0.01))
        placed = placed and (yield from skills.let_go())
        yield from skills.move("arm", 0.0)
        return placed

    def _spot_standoffs(self) -> list[Standoff]:
        return self._reachable(self._spot, self._target)

    def _choose_spot(self) -> None:
        """Where to put the thing down: the free point of the place that is reached most easily."""
        skills, place = self._skills, self._home.item(self._home.place_id)
        others = [entry for entry in skills.things.values() if entry.id != self._target]
        rise = skills.grasp_rise(self._thing())
        options = []
        for surface in place.design.surfaces:
            x, y, z = surface.center
            for fx, fy in np.ndindex(4, 6):
                local = (
                    x + (fx / 1.5 - 1.0) * 0.9 * surface.half_x,
                    y + (fy / 2.5 - 1.0) * 0.9 * surface.half_y,
                    z,
                )
                px, py, pz = place.to_map(local)
                gap = min(
                    (
                        math.hypot(px - entry.pose.position[0], py - entry.pose.position[1])
                        for entry in others
                        if abs(entry.pose.position[2] - pz) < 0.3
                    ),
                    default=1.0,
                )
                if gap > SPOT_GAP_M:
                    options.append((min(gap, 0.4), (px, py, pz + rise)))
        options.sort(key=lambda option: -option[0])
        most = 0
        self._spot = (*place.position[:2], 0.0)
        for _, point in options:
            ways = len(self._reachable(point, self._target))
            if ways > most:
                most, self._spot = ways, point
            if ways >= ENOUGH_WAYS:
                break
