"""A chunk is truncated from the first step that is predicted to violate, and only from there.

The robot drives 0.2 m a step (0.4 m/s for 0.5 s) towards a wall, or a zone.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.geometry import planar
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import urdf_path
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command, Joint
from safevla_ros.safety import Chunk, Decision, Gate, Proposal, Reason, parse_specification

T0 = 10.0
AHEAD = Command(BaseVelocity(x=0.4), duration_s=0.5)
TURN = Command(BaseVelocity(yaw=1.2), duration_s=0.9)  # a third of half a turn


def ns(time_s):
    return round(time_s * NANOSECONDS)


def wall(x, y=0.0):
    return np.array([[x, y + side, 0.18] for side in np.linspace(-0.5, 0.5, 51)])


def plan(gate, commands, first_step=0, chunk_id=0):
    gate.start_episode("one")
    fault = gate.set_chunk(Chunk("one", chunk_id, first_step, ns(T0), tuple(commands)))
    assert fault == ""


def begin(gate, world, command=AHEAD, time_s=T0, step=0, chunk_id=0):
    """The chunk's first step arrives; the gate looks along the rest with its next period."""
    proposal = Proposal("policy", ns(time_s), command, "one", chunk_id, step)
    verdict = gate.propose(proposal, world, ns(time_s), time_s)
    gate.supervise(world, ns(time_s + 0.02), time_s + 0.02)
    return verdict


@pytest.fixture
def gate(profile, household):
    return Gate(profile, household, "enforce")


@pytest.mark.parametrize(
    ("wall_m", "from_step"),
    [
        # The hull's edge is at 0.25 m, 0.03 m must remain; a step takes 0.2 m, the first 0.18 m,
        # and 0.053 m of the way are needed to brake after it.
        pytest.param(0.50, 1, id="the next step"),
        pytest.param(0.70, 2, id="the one after"),
        pytest.param(1.10, 4, id="the last"),
        pytest.param(1.30, None, id="none"),
    ],
)
def test_a_chunk_is_truncated_from_the_first_step_that_would_touch(
    gate, make_world, wall_m, from_step
):
    plan(gate, [AHEAD] * 5)
    verdict = begin(gate, make_world(T0, obstacles=wall(wall_m)))
    assert verdict.decision is Decision.PASS  # this step is safe
    found = gate.truncation
    assert (None if found is None else found.from_step) == from_step
    if found is not None:
        assert found.term == "collision"
        assert f"from step {from_step} on" in found.detail


def test_steps_before_it_run_and_the_others_are_refused(gate, make_world):
    plan(gate, [AHEAD] * 5)
    begin(gate, make_world(T0, obstacles=wall(0.70)))
    decisions = []
    for step in (1, 2, 3):
        world = make_world(T0 + 0.5 * step, obstacles=wall(5.0))  # it is gone: still refused
        decisions.append(begin(gate, world, time_s=T0 + 0.5 * step, step=step).reason)
    assert decisions == [Reason.ACCEPTED, Reason.TRUNCATED, Reason.TRUNCATED]


def test_a_new_chunk_ends_the_truncation_and_is_looked_along_itself(gate, make_world):
    plan(gate, [AHEAD] * 3)
    world = make_world(T0, obstacles=wall(0.50))
    begin(gate, world)
    plan(gate, [TURN, TURN, TURN, AHEAD], first_step=1, chunk_id=1)
    assert gate.truncation is None
    gate.supervise(world, ns(T0 + 0.2), T0 + 0.2)  # what runs is of the chunk before
    assert gate.truncation is None
    turned = make_world(T0 + 0.5, x=0.2, obstacles=wall(0.50))
    assert begin(gate, turned, TURN, T0 + 0.5, 1, 1).decision is Decision.PASS
    assert gate.truncation is None


def test_a_plan_that_turns_away_in_time_is_left_alone(gate, make_world):
    plan(gate, [AHEAD, TURN, TURN, TURN, AHEAD])
    begin(gate, make_world(T0, obstacles=wall(0.60)))
    assert gate.truncation is None


def test_a_chunk_whose_present_step_is_halted_is_truncated_at_once(gate, make_world):
    plan(gate, [AHEAD] * 3)
    verdict = begin(gate, make_world(T0, obstacles=wall(0.26)))
    assert verdict.decision is Decision.HALT
    assert gate.truncation.from_step == 0


def test_what_the_arm_would_do_later_in_a_chunk_is_foreseen(profile, household, make_world):
    """The arm reaches out to the side, step by step, towards a zone."""
    kinematics = Kinematics(urdf_path(profile))
    readings = {"lift": 0.5, "arm": 0.1, "wrist_yaw": 0.0, "gripper": 0.02}
    joints = {name: Joint(value) for name, value in readings.items()}
    links = kinematics.capsules(planar(0.0, 0.0), joints)
    reach = min(min(link.start[1], link.end[1]) - link.radius for link in links)
    near, far = reach - 0.15, reach - 2.0
    zone = {"name": "shelf", "polygon": [[-1, far], [1, far], [1, near], [-1, near]]}
    gate = Gate(profile, household.with_zones([zone]), "enforce", kinematics)
    steps = [Command(joints={"arm": 0.1 + 0.1 * k}, duration_s=0.5) for k in range(1, 5)]
    plan(gate, steps)
    world = make_world(T0, base=planar(0.0, 0.0), joints=joints, links=links)
    assert begin(gate, world, steps[0]).decision is Decision.PASS
    assert (gate.truncation.term, gate.truncation.from_step) == ("zone_intrusion", 1)


@pytest.mark.parametrize(("mode", "truncates"), [("observe", False), ("shadow", True)])
def test_modes(profile, household, make_world, mode, truncates):
    gate = Gate(profile, household, mode)
    plan(gate, [AHEAD] * 5)
    begin(gate, make_world(T0, obstacles=wall(0.70)))
    assert (gate.truncation is not None) is truncates


def test_a_term_that_only_logs_truncates_nothing(profile, household, make_world):
    text = household.text.replace("response: stop", "response: log")
    gate = Gate(profile, parse_specification(text, "test"), "enforce")
    plan(gate, [AHEAD] * 5)
    begin(gate, make_world(T0, obstacles=wall(0.70)))
    assert gate.truncation is None


def test_the_end_of_the_episode_and_a_clock_that_goes_back_forget_the_chunk(gate, make_world):
    for forget in (
        gate.end_episode,
        lambda: gate.supervise(make_world(T0 - 5.0), ns(T0 - 5.0), T0),
    ):
        plan(gate, [AHEAD] * 5)
        gate.supervise(make_world(T0), ns(T0), T0)
        begin(gate, make_world(T0, obstacles=wall(0.70)))
        assert gate.truncation is not None
        forget()
        assert gate.truncation is None


@pytest.mark.parametrize(
    "command",
    [
        Command(BaseVelocity(x=math.nan), duration_s=0.5),
        Command(joints={"tail": 0.1}, duration_s=0.5),
        Command(BaseVelocity(x=0.1)),
    ],
)
def test_a_chunk_that_cannot_be_read_is_named_and_not_looked_along(gate, make_world, command):
    gate.start_episode("one")
    fault = gate.set_chunk(Chunk("one", 0, 0, ns(T0), (AHEAD, AHEAD, command)))
    assert fault.startswith("step 2 of a chunk: ")
    begin(gate, make_world(T0, obstacles=wall(0.70)))
    assert gate.truncation is None


def test_a_step_that_violates_only_while_braking_after_it_is_the_first(gate, make_world):
    """The base is at 0.32 m after step 1, and needs 0.05 m to brake."""
    plan(gate, [AHEAD] * 3)
    begin(gate, make_world(T0, obstacles=wall(0.25 + 0.03 + 0.35)))
    assert gate.truncation.from_step == 1


@pytest.mark.parametrize("step_s", [0.02, 0.05, 0.25])
def test_a_policy_that_acts_fast_is_truncated_as_early_as_one_that_acts_slowly(
    gate, make_world, step_s
):
    """0.37 m of way, of which 0.053 m are needed to brake, at 0.4 m/s: 0.8 s, less at most what is
    looked at together. Steps are as fine as they come."""
    short = Command(BaseVelocity(x=0.4), duration_s=step_s)
    plan(gate, [short] * round(2.0 / step_s))
    world = make_world(T0, velocity=BaseVelocity(x=0.4), obstacles=wall(0.65))
    first = Proposal("policy", ns(T0), short, "one")
    assert gate.propose(first, world, ns(T0), T0).decision is Decision.PASS
    gate.supervise(world, ns(T0 + 0.01), T0 + 0.01)
    assert 0.8 - 0.1 - step_s <= gate.truncation.from_step * step_s <= 0.8
