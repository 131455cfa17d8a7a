"""A scripted policy that uses the simulator's truth: it demonstrates, teaches and stands in for a VLA.

It decides anew at every step from the state, so that it can also say what it would do after actions
that somebody else chose (`executed` tells it of them). What it remembers is only what keeps it from
changing its mind: the place from which it reaches out, the side to which it turns, where it failed
or was stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from shapely.geometry import Polygon

from safevla_ros.policy.interface import (
    ActionChunk,
    Instruction,
    Observation,
    PolicyDescription,
    PolicyError,
)
from safevla_ros.robot.action_codec import ACTIONS, TOKENS
from safevla_ros.robot.profile import Profile, load_profile
from safevla_ros.robot.state import SceneObject, Vector3
from safevla_ros.simulation import reach
from safevla_ros.simulation.home import Home, eye_at, generate_home
from safevla_ros.simulation.navigation import CAREFUL, HURRIED, Manners, Navigator, Place
from safevla_ros.simulation.scenario import Scenario
from safevla_ros.simulation.scripted import PREFIX, Style
from safevla_ros.simulation.search import Search
from safevla_ros.simulation.skills import ARM_IN_M, Skills, apart, lowest
from safevla_ros.simulation.solids import Solids, wrap_angle
from safevla_ros.simulation.spots import choose_spot
from safevla_ros.simulation.tasks import lies_on
from safevla_ros.simulation.travel import Travel

MANNERS: dict[str, Manners] = {"careful": CAREFUL, "hurried": HURRIED}

STALLS = 2
"""So many motions in a row without effect mean that something is in the way."""
STOPS = 40
"""So many times something may be in the way before all is given up."""
PATIENCE = 8
"""For so many steps it waits for somebody who is near, and then goes on: they may wait as well."""
GRIPS = 3
"""Tries to close the gripper on something from one place."""
CARRY_RADIUS_M = 0.31
"""Half the width of the robot with something in its gripper, the wrist turned forwards; it needs
more only where it turns on the spot."""
CARRY_LIFT_M = 0.9
LOOK_RANGE_M = (1.0, 1.75)
"""Distances from which things are looked at for `find`."""
IN_VIEW_M = 1.85
IN_VIEW_RAD = math.radians(22.0)
"""The target counts as found at most this far away, and this far from the middle of the image."""
SEEN_M = 5.0
"""From so far away the target is seen to be there [m]."""
TIGHT_M = 0.03
"""Margins may be that much smaller where it already is than where it goes."""
RISE_M = 0.03
"""What was picked up is this far above what it stood on."""
TOO_LOW_M = 0.16
"""A point below this height above the floor is out of the gripper's reach."""

IMAGE_HEIGHT, IMAGE_WIDTH = 240, 320


class ScriptedExpert:
    """Plans on the home's layout and the simulator's truth; token actions, one a chunk.

    `careful` prefers wide clearance, keeps out of the home's zones and lets people pass; `hurried`
    takes the shortest path, cuts corners, does not mind what stands beside its target, and ignores
    zones and people. Both plan around where they were stopped, and say `end` when they are done or
    have to give up. Where the task is impossible, they look into every room first. Needs
    `Observation.privileged`.
    """

    description: PolicyDescription

    def __init__(
        self,
        scenario: Scenario,
        style: Style = "careful",
        *,
        home: Home | None = None,
        profile: Profile | None = None,
        explores: bool = False,
    ) -> None:
        """`home`: the scenario's, where it was generated already. `profile`: default is the sim
        robot's. `explores`: until it has seen its target it searches as if it did not know where
        that is, so that who has no privileged state can learn from it."""
        self.description = PolicyDescription(
            id=f"{PREFIX}{style}",
            representation="token",
            image_height=IMAGE_HEIGHT,
            image_width=IMAGE_WIDTH,
            privileged=True,
        )
        self._scenario = scenario
        self._home = home or generate_home(scenario)
        self._zones = [Polygon(zone.polygon) for zone in self._home.zones if zone.frame == "map"]
        self._manners = MANNERS[style]
        self._profile = profile or load_profile("sim")
        self._explores = explores
        self._task: Callable[[], str] | None = None

    def reset(self, instruction: Instruction) -> None:
        """Forget the last episode. Raises PolicyError when the target is not in this home."""
        names = {item.id: item.class_name for item in self._home.goods}
        wanted = instruction.target_ids or tuple(
            id_ for id_, name in names.items() if name == instruction.target_class
        )
        searches = self._scenario.impossible and not wanted
        if not searches and (not wanted or wanted[0] not in names):
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
        self._target = wanted[0] if wanted else ""
        navigator = Navigator(self._home.grid, self._manners, self._zones)
        self._skills = Skills(self._home, self._profile, navigator)
        self._travel = Travel(self._skills, navigator)
        self._here: Place | None = None
        self._spot: Vector3 | None = None
        self._grips = self._stalls = self._stops = self._waits = 0
        self._proposed = self._executed = ""
        self._is_asked = False
        self._phase = ""
        self._seen = Search(self._home)
        self._tour = Travel(self._skills, navigator)
        self._task = self._search if searches else tasks[instruction.task]

    def act(self, observation: Observation) -> ActionChunk:
        """The next token. Raises PolicyError without privileged state, or before `reset`."""
        if observation.privileged is None:
            raise PolicyError(f"policy {self.description.id!r}: expected privileged state")
        if self._task is None:
            raise PolicyError(f"policy {self.description.id!r}: expected reset before act")
        before = self._skills.reading() if self._proposed else None
        self._skills.see(observation)
        if before is None or self._executed != self._proposed:
            self._stalls = 0
            self._travel.relax()
        else:
            self._judge(self._skills.stalled(self._proposed, before))
        self._skills.turning = self._executed.removesuffix("_small").partition("rotate_")[2]
        self._seen.see(self._skills.now)
        if self._target and self._in_view(self._skills.now, SEEN_M):
            self._skills.has_seen_target = True
        action = self._decide()
        self._proposed = self._executed = action
        self._is_asked = True
        return ActionChunk("token", tokens=(TOKENS[action],), phase=self._phase)

    def _decide(self) -> str:
        near = self._manners.waits_for_people and self._skills.somebody_is_near()
        self._waits = self._waits + 1 if near else 0
        if 0 < self._waits <= PATIENCE:
            self._phase = "let them pass"
            return "sub_goal_done"
        self._phase = "done"
        if self._stops > STOPS:
            return "end"
        assert self._task is not None
        unseen = self._explores and not self._skills.has_seen_target
        return self._travel.escape() or (unseen and self._look_around()) or self._task()

    def executed(self, token: int) -> None:
        """A token that was carried out since the last `act`; where nothing is said, it was the
        expert's own."""
        self._executed = ACTIONS[token] if self._is_asked else ""
        self._is_asked = False

    def _judge(self, stalled: bool) -> None:
        """Learn from what the last action of its own did."""
        self._stalls = self._stalls + 1 if stalled else 0
        if self._proposed == "pick_up" and not self._skills.held:
            self._grips += 1
            if self._grips >= GRIPS:
                self._leave()
        if self._travel.escaping:
            self._travel.escaped(stalled)
        elif self._stalls >= STALLS:
            self._stalls = 0
            self._stops += 1
            if self._here is not None:
                self._leave()
            else:
                self._travel.stopped(self._proposed)

    # Tasks

    def _find(self) -> str:
        skills, at = self._skills, self._skills.at
        x, y, _ = self._thing().pose.position
        if self._in_view(skills.now):
            return "end"
        while not self._travel.given_up:
            facing = Place(at.x, at.y, math.atan2(y - at.y, x - at.x))
            if self._travel.is_new(at) and self._sees(facing, IN_VIEW_M):
                self._phase = "look"
                turn = skills.turn(facing.yaw, math.radians(8.0))
                if turn:
                    return turn
            else:
                self._phase = "drive to where it can be seen"
                motion = self._travel.towards("view", self._viewpoints, reach.BASE_RADIUS)
                if motion:
                    return motion
            # As near as it gets, and still it is not in view.
            self._travel.failed.append(at)
        return "end"

    def _search(self) -> str:
        """Look around in every room, and end: what is asked for is not here."""
        return self._look_around() or "end"

    def _look_around(self) -> str | None:
        """The next motion of somebody who does not know where the target is; None: all was seen."""
        at, grid = self._skills.at, self._skills.navigator.grid
        if self._seen.looks_around(at):
            self._phase = "look around"
            return f"rotate_{self._skills.turning or 'left'}"
        while room := self._seen.next_room(at):
            self._phase = f"go and look in the {room.kind}"
            xs, ys = grid.centers()
            inside = (xs > room.x0) & (xs < room.x1) & (ys > room.y0) & (ys < room.y1)
            ix, iy = np.unravel_index(np.argmax(np.where(inside, grid.clearance, -1.0)), xs.shape)
            middle = Place(*grid.point((int(ix), int(iy))), 0.0)
            motion = self._tour.towards(room.name, [middle].copy, reach.BASE_RADIUS)
            if motion:
                return motion
            self._seen.skip(room)
        return None

    def _pick_up(self) -> str:
        if self._skills.held == self._target:
            self._phase = "lift"
            return self._lift_off() or "end"
        return self._take()

    def _lift_off(self) -> str | None:
        """Lift what is held off what it stands on."""
        skills = self._skills
        if skills.rise(self._thing()) > RISE_M:
            return None
        return skills.move("lift", min(skills.joints["lift"] + RISE_M, reach.LIFT_RANGE))

    def _take(self) -> str:
        skills = self._skills
        if skills.held:
            self._phase = "put away what is not asked for"
            return "drop_off"
        point = skills.grasp_point(self._thing())
        top = 2.0 * self._thing().pose.position[2] - lowest(self._thing())
        if top < TOO_LOW_M + 0.06:
            return "end"
        self._phase = "drive to it"
        action = self._go_to_reach("take", point, reach.BASE_RADIUS, skills.fold)
        if action:
            return action
        self._phase = "reach"
        height = max(point[2], reach.GRASP_HEIGHT)
        action = (
            skills.unfold(point, height)
            or skills.line_up(point)
            or skills.open()
            or skills.lift_to(height)
            or skills.reach_out(point)
        )
        self._phase = "grasp" if action is None else self._phase
        return action or "pick_up"

    def _bring(self) -> str:
        skills, place = self._skills, self._home.item(self._home.place_id)
        if skills.held != self._target:
            if lies_on(self._thing(), place):
                self._phase = "draw back"
                return skills.move("arm", 0.0, reach.ARM_RANGE / 2.0) or "end"
            self._spot = None
            return self._take()
        if self._spot is None or (self._here is None and not self._travel.has_way("put")):
            self._spot = choose_spot(
                place,
                [entry for entry in skills.things.values() if entry.id != self._target],
                skills.joints["lift"] + reach.GRASP_HEIGHT - lowest(self._thing()),
                lambda point: len(self._standoffs(point)),
            )
        spot = self._spot
        self._phase = "carry it there"
        action = self._go_to_reach("put", spot, CARRY_RADIUS_M, self._fold_to_carry)
        if action:
            return action
        self._phase = "put it down"
        # It is carried high: unfold there, come down, reach out, and lower the last bit.
        if abs(skills.joints["arm"] - skills.arm_for(spot)) < 0.02 and not skills.line_up(spot):
            return skills.lift_to(spot[2] + 0.01) or "drop_off"
        return (
            skills.unfold_held(spot)
            or skills.line_up(spot)
            or skills.lift_to(spot[2] + 0.06)
            or skills.reach_out(spot)
            or "drop_off"
        )

    def _fold_to_carry(self) -> str | None:
        """Take what is held close to the body, and above most furniture."""
        skills = self._skills
        low = self._lift_off() if skills.joints["arm"] > ARM_IN_M else None
        action = low or skills.fold_to_carry(CARRY_LIFT_M)
        return "move_back" if action == "lift_up" and not self._free_above() else action

    def _free_above(self) -> bool:
        """Whether nothing is above what is held, up to the height at which it is carried."""
        thing = self._thing()
        x, y, z = thing.pose.position
        wide = max(thing.size[:2]) / 2.0 + TIGHT_M
        points = np.array(
            [
                (x + dx, y + dy, height)
                for dx in (-wide, 0.0, wide)
                for dy in (-wide, 0.0, wide)
                for height in np.arange(z, CARRY_LIFT_M + reach.GRASP_HEIGHT + 0.3, 0.05)
            ]
        )
        return not self._skills.solids(self._target).contain(points).any()

    # From where

    def _thing(self) -> SceneObject:
        return self._skills.things[self._target]

    def _go_to_reach(
        self, what: str, point: Vector3, radius: float, fold: Callable[[], str | None]
    ) -> str | None:
        """The way to a place from which the arm gets to a point; None: it is there."""
        if self._stays(point):
            return None
        action = fold()
        if action:
            return action
        while not self._travel.given_up:
            action = self._travel.towards(what, lambda: self._standoffs(point), radius, point)
            if action:
                return action
            # As near as it gets: is that near enough?
            if self._settles(point, self._manners.margin - TIGHT_M):
                return None
            self._travel.failed.append(self._skills.at)
        return "end"

    def _stays(self, point: Vector3) -> bool:
        """Whether to reach out from here. Once it does, it stays for as long as that works."""
        at = self._skills.at
        if self._here is None:
            return self._settles(point, self._manners.margin)
        if not self._near(point, 0.10) or (
            apart(at, self._here) > 0.1
            and not reach.reaches(at.x, at.y, point, self._obstacles(), -TIGHT_M)
        ):
            self._here = None
        return self._here is not None

    def _settles(self, point: Vector3, margin: float) -> bool:
        """Begin to reach out from here, if the arm keeps that margin."""
        at = self._skills.at
        room = self._skills.navigator.grid.clearance_at(at.x, at.y)
        if (
            self._near(point, 0.02)
            and room > reach.BASE_RADIUS - TIGHT_M
            and self._travel.is_new(at)
            and self._allows(at, point)
            and reach.reaches(at.x, at.y, point, self._obstacles(), margin)
        ):
            self._here, self._grips = at, 0
        return self._here is not None

    def _near(self, point: Vector3, slack: float) -> bool:
        at = self._skills.at
        distance = math.hypot(point[0] - at.x, point[1] - at.y)
        return reach.NEAR - slack < distance < reach.FAR + slack

    def _leave(self) -> None:
        """Reaching out from here does not work."""
        self._travel.failed.append(self._here or self._skills.at)
        self._here = None
        self._grips = 0

    def _obstacles(self) -> Solids:
        """What the arm keeps away from."""
        skills = self._skills
        if self._manners.shoves:
            return skills.furniture
        return skills.solids(self._target)

    def _allows(self, at: Place, point: Vector3) -> bool:
        return self._skills.navigator.allows(np.linspace((at.x, at.y), point[:2], 8))

    def _standoffs(self, point: Vector3) -> list[Place]:
        """Places from which the arm gets to a point; tight ones where there are no others."""
        skills, manners = self._skills, self._manners
        room = reach.BASE_RADIUS + max(manners.clearance, 0.0)
        for slack in (0.0, TIGHT_M):
            found = reach.standoffs(
                point,
                skills.navigator.grid,
                self._obstacles(),
                room - slack,
                manners.margin - slack,
            )
            places = [Place(spot.x, spot.y, spot.yaw) for spot in found]
            places = [
                place
                for place in places
                if self._allows(place, point) and self._travel.is_new(place)
            ]
            if places:
                return places
        return []

    def _viewpoints(self) -> list[Place]:
        """Places from which the navigation camera sees the target."""
        skills, thing = self._skills, self._thing()
        x, y, _ = thing.pose.position
        places = []
        for distance in np.linspace(*LOOK_RANGE_M, 4):
            for bearing in np.arange(0.0, 2.0 * math.pi, math.pi / 18.0):
                place = Place(
                    x - float(distance) * math.cos(bearing),
                    y - float(distance) * math.sin(bearing),
                    float(bearing),
                )
                room = skills.navigator.grid.clearance_at(place.x, place.y)
                if room >= reach.BASE_RADIUS and self._travel.is_new(place):
                    places.append(place)
        solids = skills.solids(self._target)
        return [place for place in places if self._sees(place, IN_VIEW_M, solids)]

    def _in_view(self, at: Place, distance: float = IN_VIEW_M) -> bool:
        """Whether the target is found within that distance [m], as the camera looks from there."""
        x, y, _ = self._thing().pose.position
        off = wrap_angle(math.atan2(y - at.y, x - at.x) - at.yaw)
        return abs(off) < IN_VIEW_RAD and self._sees(at, distance)

    def _sees(self, at: Place, distance: float, solids: Solids | None = None) -> bool:
        """Whether nothing hides the target's middle and its upper half from the camera there."""
        thing = self._thing()
        x, y, z = thing.pose.position
        if math.hypot(x - at.x, y - at.y) > distance:
            return False
        solids = solids or self._skills.solids(self._target)
        points = np.array([(x, y, z), (x, y, z + thing.size[2] / 4.0)])
        return not solids.block(eye_at(at.x, at.y, at.yaw), points).any()
