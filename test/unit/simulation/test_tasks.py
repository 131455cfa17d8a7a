"""Verdicts: what counts as done, and that it is decided once."""

from __future__ import annotations

import math

import pytest

from safevla_ros.robot.state import BaseVelocity
from safevla_ros.simulation.home import generate_home
from safevla_ros.simulation.scenario import Start
from safevla_ros.simulation.simulation import Simulation
from safevla_ros.simulation.tasks import FIND_RANGE_M, Outcome

from .conftest import at_arms_length, make_scenario


def looking_at_the_target(turned: float = 0.0) -> Simulation:
    """A robot for `find` that stands where `pick_up` starts: in view of the target."""
    home = generate_home(make_scenario(3, "pick_up"))
    target, start = home.goods[0], home.start.position
    yaw = math.atan2(target.position[1] - start[1], target.position[0] - start[0])
    scenario = make_scenario(3, "find", target_class=target.class_name)
    placed = {target.class_name: target.support}
    pose = Start(x=start[0], y=start[1], yaw=yaw + turned)
    update = {"start": pose, "placed": placed}
    assert math.dist(start[:2], target.position[:2]) < FIND_RANGE_M
    return Simulation(scenario.model_copy(update=update))


def test_instructions_name_task_and_target(simulation):
    instruction = simulation.instruction()
    assert instruction.task == "fetch"
    assert instruction.target_ids == simulation.home.target_ids
    assert instruction.text.startswith("fetch the ")


def test_a_scenarios_own_words_are_used(simulation):
    scenario = make_scenario(instruction="get me something to play with")
    assert Simulation(scenario).instruction().text == "get me something to play with"


def test_nothing_is_decided_before_the_policy_says_so(simulation):
    simulation.advance(1.0)
    assert simulation.outcome() == (None, "")


def test_find_succeeds_with_the_target_in_view_and_fails_with_the_back_to_it():
    facing, away = looking_at_the_target(), looking_at_the_target(turned=math.pi)
    facing.declare_end()
    away.declare_end()
    assert facing.outcome()[0] is Outcome.SUCCESS
    assert away.outcome()[0] is Outcome.FAILURE
    assert "in view" in away.outcome()[1]


def test_fetch_fails_with_empty_hands(simulation):
    simulation.declare_end()
    outcome, reason = simulation.outcome()
    assert outcome is Outcome.FAILURE
    assert "not held" in reason


def test_a_verdict_stands():
    simulation, _ = at_arms_length()
    simulation.declare_end()
    first = simulation.outcome()
    simulation.advance(1.0)
    simulation.declare_end()
    assert simulation.outcome() == first


def test_time_runs_out():
    simulation = Simulation(make_scenario(time_limit_s=1.0))
    simulation.drive(BaseVelocity(yaw=0.1))
    simulation.advance(1.2)
    outcome, reason = simulation.outcome()
    assert outcome is Outcome.FAILURE
    assert "1 s" in reason
    simulation.declare_end()
    assert simulation.outcome() == (outcome, reason)


def test_bring_wants_it_on_the_named_place_and_not_in_the_hand():
    scenario = make_scenario(3, "bring")
    simulation = Simulation(scenario)
    simulation.declare_end()
    outcome, reason = simulation.outcome()
    assert outcome is Outcome.FAILURE
    assert simulation.home.place_id in reason


@pytest.mark.parametrize("task", ["find", "pick_up", "fetch", "bring"])
def test_a_verdict_has_a_reason_for_people(task):
    simulation = Simulation(make_scenario(3, task))
    simulation.declare_end()
    assert len(simulation.outcome()[1]) > 5
