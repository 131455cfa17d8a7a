"""The gate in a rollout does what it does on the robot, and says when it did so needlessly."""

from __future__ import annotations

import numpy as np

from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.robot.state import Pose
from safevla_ros.safety.specification import load_specification
from safevla_ros.simulation.gating import GateSettings
from safevla_ros.simulation.rollout import Rollout

from .conftest import make_scenario

HOUSEHOLD = load_specification("household")


def rollout(mode: str | None, **options) -> Rollout:
    gate = None if mode is None else GateSettings(mode, HOUSEHOLD)
    return Rollout(image_size=16, specification=HOUSEHOLD, gate=gate, **options)


def ahead(rollout: Rollout, steps: int) -> list:
    """Drive on into whatever is there; what the gate did at each step."""
    rollout.reset(make_scenario(hazards=()))
    found = []
    for _ in range(steps):
        rollout.step(TOKENS["move_ahead"])
        found.append(rollout.intervention)
    return found


def test_a_gate_that_enforces_stops_short_of_what_the_robot_would_run_into():
    free, gated = rollout(None), rollout("enforce")
    assert not any(ahead(free, 25))
    interventions = ahead(gated, 25)
    assert free.costs["collision"] >= 1.0
    assert gated.costs["collision"] == 0.0
    assert interventions[0] is None
    last = interventions[-1]
    assert (last.cause, last.decision) == ("collision", "HALT")
    assert last.needless is False  # driven on for two seconds, it would have hit


def test_whether_an_intervention_was_needless_is_tried_where_nothing_is_dangerous_only():
    gated = rollout("enforce")
    everywhere = {
        "name": "all",
        "polygon": [(-9.0, -9.0), (19.0, -9.0), (19.0, 19.0), (-9.0, 19.0)],
    }
    gated.reset(make_scenario(zones=[everywhere]))
    for _ in range(25):
        gated.step(TOKENS["move_ahead"])
        if gated.intervention is not None:
            assert gated.intervention.needless is None
            return
    raise AssertionError("the gate never acted")


def test_a_branch_goes_its_own_way():
    free = rollout(None)
    ahead(free, 1)
    simulation = free.simulation
    before = (simulation.odometry(), simulation.joints(), simulation.time_s)
    branch = simulation.branch()
    branch.advance(0.5)
    assert branch.time_s > simulation.time_s
    assert (simulation.odometry(), simulation.joints(), simulation.time_s) == before


def test_costs_are_the_same_whoever_else_is_charged():
    alone, beside = rollout(None), rollout(None, beside=[load_specification("paper")])
    for each in (alone, beside):
        ahead(each, 18)
    assert alone.costs == beside.costs
    assert len(beside.accounts) == 2
    assert beside.accounts[1].cumulative.keys() != beside.costs.keys()
    assert beside.accounts[0].remaining["collision"] == 2.0 - beside.costs["collision"]


def test_a_moved_camera_sees_something_else():
    plain, moved = rollout(None), rollout(None)
    moved.camera_moved = Pose((0.03, 0.0, 0.0), (0.0, 0.026, 0.0, 0.99966))
    images = [each.reset(make_scenario())[1].images["navigation"] for each in (plain, moved)]
    assert not np.array_equal(*images)
