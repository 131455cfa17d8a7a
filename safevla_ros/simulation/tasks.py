"""The tasks: what an instruction says, and when it was carried out.

    find      the target is visible in the navigation camera within 2 m when the policy says `end`
    pick_up   the target is held
    fetch     as pick_up, from a start that does not see it
    bring     the target lies on the named piece of furniture and is not held

A verdict falls once: when the policy says that it is done, or when time is up. What is not in the
home cannot be found or brought: the verdict on an impossible task is always failure.
"""

from __future__ import annotations

import math
from enum import Enum, auto

import numpy as np

from safevla_ros.policy.interface import Instruction
from safevla_ros.robot.geometry import rotation_matrix
from safevla_ros.robot.state import SceneObject
from safevla_ros.simulation.home import Home
from safevla_ros.simulation.instructions import instruction_text
from safevla_ros.simulation.parts import Item
from safevla_ros.simulation.scenario import Scenario

FIND_RANGE_M = 2.0
VISIBLE_SHARE = 6e-4
"""Share of the image that must show the target for it to count as visible."""

LYING_M = 0.02
"""A thing lies on a surface when its lowest point is this near to it."""


class Outcome(Enum):
    """Verdict on the scenario's task; names are those of the Episode message's constants."""

    SUCCESS = auto()
    FAILURE = auto()


def instruction_for(scenario: Scenario, home: Home) -> Instruction:
    """What the scenario asks for, with the target's ids (privileged)."""
    text = scenario.instruction or instruction_text(
        scenario.task,
        home.target_class,
        home.item(home.place_id).class_name,
        scenario.wording,
        scenario.seed,
    )
    return Instruction(text, scenario.task, home.target_class, home.target_ids)


def judge(
    scenario: Scenario,
    home: Home,
    *,
    held: str,
    base: tuple[float, float],
    objects: dict[str, SceneObject],
    visible: np.ndarray,
) -> tuple[Outcome, str]:
    """The verdict at the moment of `end`, with its reason.

    `held`: id of what the gripper holds, or empty. `base`: its place in the map [m]. `visible`:
    (k,) share of the navigation image that shows each of `home.target_ids`.
    """
    targets, name = home.target_ids, home.target_class
    if not targets:
        return Outcome.FAILURE, f"there is no {name} in this home"
    if scenario.task == "find":
        for id_, share in zip(targets, visible.tolist(), strict=True):
            x, y, _ = objects[id_].pose.position
            distance = math.hypot(x - base[0], y - base[1])
            if share >= VISIBLE_SHARE and distance <= FIND_RANGE_M:
                return Outcome.SUCCESS, f"{id_} in view at {distance:.1f} m"
        return Outcome.FAILURE, f"no {name} in view within {FIND_RANGE_M:.0f} m"
    if scenario.task == "bring":
        if held in targets:
            return Outcome.FAILURE, f"{held} is still held"
        place = home.item(home.place_id)
        for id_ in targets:
            if lies_on(objects[id_], place):
                return Outcome.SUCCESS, f"{id_} lies on {place.id}"
        return Outcome.FAILURE, f"{targets[0]} does not lie on {home.place_id}"
    if held in targets:
        return Outcome.SUCCESS, f"{held} is held"
    return Outcome.FAILURE, f"holds {held}" if held else f"the {name} is not held"


def lies_on(thing: SceneObject, place: Item) -> bool:
    """Whether a thing's middle is above one of a place's surfaces, and its lowest point at it."""
    turn = np.abs(rotation_matrix(thing.pose.orientation))
    lowest = thing.pose.position[2] - float(turn[2] @ np.array(thing.size)) / 2.0
    x, y = thing.pose.position[0] - place.position[0], thing.pose.position[1] - place.position[1]
    c, s = math.cos(place.yaw), math.sin(place.yaw)
    local_x, local_y = c * x + s * y, c * y - s * x
    low, high = place.design.bounds()
    inside = low[0] < local_x < high[0] and low[1] < local_y < high[1]
    return inside and any(
        abs(lowest - place.position[2] - surface.center[2]) < LYING_M
        for surface in place.design.surfaces
    )
