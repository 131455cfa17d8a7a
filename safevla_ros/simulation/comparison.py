"""How far fast mode and full physics are apart after the same actions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from safevla_ros.robot.action_codec import ACTIONS, EndOfEpisode, decode
from safevla_ros.robot.geometry import yaw_of
from safevla_ros.simulation.scenario import Scenario
from safevla_ros.simulation.simulation import Simulation
from safevla_ros.simulation.solids import wrap_angle


@dataclass(frozen=True, slots=True)
class Apart:
    """Two simulations after one action: distance of the bases [m] and of their headings [rad], and
    of the sliding joint that differs most [m]; whether they hold the same."""

    base_m: float
    yaw_rad: float
    joint_m: float
    same_held: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One episode in both modes: `steps` after each action, and the ids of what the robot touched
    in either."""

    steps: tuple[Apart, ...]
    touched_fast: frozenset[str]
    touched_full: frozenset[str]


def compare(scenario: Scenario, tokens: Iterable[int]) -> Comparison:
    """Carry out the same tokens in fast mode and in full physics, up to the first `end`.

    Each decodes them from its own readings, as a policy's runner does; nothing brings the two
    together again, so that differences add up.
    """
    fast, full = Simulation(scenario, physics="fast"), Simulation(scenario, physics="full")
    steps = []
    touched: tuple[set[str], set[str]] = (set(), set())
    for token in tokens:
        if ACTIONS[token] == "end":
            break
        for simulation, ids in zip((fast, full), touched, strict=True):
            command = decode(token, simulation.joints(), simulation.profile)
            assert not isinstance(command, EndOfEpisode)
            simulation.apply(command)
            simulation.advance(simulation.profile.step_s)
            ids |= {contact.object_id for contact in simulation.contacts() if contact.link}
        steps.append(_apart(fast, full))
    return Comparison(tuple(steps), frozenset(touched[0]), frozenset(touched[1]))


def _apart(one: Simulation, other: Simulation) -> Apart:
    a, b = one.localisation().pose, other.localisation().pose
    roles = one.profile.roles
    joints, others = one.joints(), other.joints()
    return Apart(
        base_m=math.dist(a.position, b.position),
        yaw_rad=abs(wrap_angle(yaw_of(a.orientation) - yaw_of(b.orientation))),
        joint_m=max(
            abs(joints[name].position - others[name].position) for name in (roles.lift, roles.arm)
        ),
        same_held=one.held == other.held,
    )
