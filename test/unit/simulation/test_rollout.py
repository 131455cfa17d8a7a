"""Rollouts: what a learner is given and told, in either physics, and what it is charged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.robot.geometry import yaw_of
from safevla_ros.safety.specification import load_specification
from safevla_ros.safety.terms import TERMS
from safevla_ros.simulation.rollout import BEARINGS_RAD, Rollout
from safevla_ros.simulation.scenario import Scenario
from safevla_ros.simulation.tasks import Outcome

from .conftest import make_scenario


@pytest.fixture(params=["fast", "full"])
def rollout(request: pytest.FixtureRequest) -> Rollout:
    return Rollout(
        physics=request.param, image_size=48, specification=load_specification("household")
    )


def test_observations_are_what_a_policy_on_the_robot_sees(rollout):
    instruction, observation = rollout.reset(make_scenario())
    assert instruction.text.startswith("fetch the ")
    assert set(observation.images) == {"navigation", "manipulation"}
    for image in observation.images.values():
        assert image.shape == (48, 48, 3)
        assert image.dtype == np.uint8
    before = observation.odometry.pose.position[0]
    after = rollout.step(TOKENS["move_ahead"]).odometry.pose.position[0]
    assert 0.1 < after - before < 0.2  # it still rolls


def test_the_expert_does_the_task_and_the_episode_ends(rollout):
    rollout.reset(make_scenario(2, "pick_up"))
    while not rollout.done:
        rollout.step(rollout.expert_token())
    assert rollout.outcome is Outcome.SUCCESS, rollout.reason
    assert rollout.costs == dict.fromkeys(TERMS, 0.0)
    with pytest.raises(RuntimeError, match="reset"):
        rollout.step(TOKENS["end"])


def test_an_episode_that_nobody_ends_is_a_failure_when_time_is_up(rollout):
    rollout.reset(make_scenario(time_limit_s=2.0))
    while not rollout.done:
        rollout.step(TOKENS["rotate_left"])
    assert rollout.steps == 5
    assert rollout.outcome is Outcome.FAILURE


def test_driving_on_into_things_is_charged_as_collisions(rollout):
    rollout.reset(make_scenario())
    for _ in range(25):
        rollout.step(TOKENS["move_ahead"])
    assert rollout.costs["collision"] >= 1.0


def test_the_scenarios_zones_count(rollout):
    everywhere = {
        "name": "all",
        "polygon": [(-9.0, -9.0), (19.0, -9.0), (19.0, 19.0), (-9.0, 19.0)],
    }
    rollout.reset(make_scenario(zones=[everywhere]))
    rollout.step(TOKENS["rotate_left"])
    assert rollout.last_step_costs["zone_intrusion"] == 1.0
    rollout.reset(make_scenario())
    rollout.step(TOKENS["rotate_left"])
    assert rollout.costs["zone_intrusion"] == 0.0


def test_labels_say_where_the_target_is_and_how_far_it_is_free(rollout):
    _, observation = rollout.reset(make_scenario(2, "pick_up"))
    labels = rollout.labels()
    assert labels.target_visible
    assert 0.8 < np.hypot(*labels.target_in_base[:2]) < 2.0
    assert labels.target_in_base[0] > 0.0
    assert labels.free_ahead.shape == BEARINGS_RAD.shape
    assert observation.privileged is not None
    base = observation.privileged.base
    grid = rollout.simulation.home.grid
    for bearing, free in zip(BEARINGS_RAD, labels.free_ahead, strict=True):
        angle = yaw_of(base.orientation) + bearing
        for distance in np.arange(0.1, free - 0.06, 0.1):
            x = base.position[0] + distance * np.cos(angle)
            y = base.position[1] + distance * np.sin(angle)
            assert not grid.occupied[grid.cell(x, y)]
    for _ in range(6):
        rollout.step(TOKENS["rotate_left"])
    assert not rollout.labels().target_visible
    assert rollout.labels().target_in_base[0] < 0.0


def test_the_same_tokens_give_the_same_episode(rollout):
    tokens = np.random.default_rng(0).integers(0, 18, 30).tolist()
    ends = []
    for _ in range(2):
        rollout.reset(make_scenario(5))
        for token in tokens:
            observation = rollout.step(token)
        ends.append((observation, dict(rollout.costs), rollout.expert_token()))
        rollout.reset(make_scenario(6))
        rollout.step(TOKENS["move_ahead"])
    (first, costs, label), (second, same_costs, same_label) = ends
    assert first.odometry == second.odometry
    assert first.joints == second.joints
    assert np.array_equal(first.images["navigation"], second.images["navigation"])
    assert (costs, label) == (same_costs, same_label)


def test_what_is_squeezed_is_pushed_away_and_not_shot_out_of_the_home():
    # The arm comes down on a glass that lies on a nightstand and the gripper closes on it: a hard
    # moment for the contact solver, in a home where it was once cut off before it was done.
    tokens = (
        "3 0 2 3 3 3 3 0 2 2 0 0 2 2 2 2 2 4 4 2 3 5 5 8 9 9 9 9 15 15 15 15 15 15 15 15 15 15 15 "
        "15 15 5 15 10 10 10 11 16"
    )
    scenario = Scenario(
        name="squeezed", seed=10100091, rooms=2, task="pick_up", clutter=7, time_limit_s=300.0
    )
    rollout = Rollout(physics="full", image_size=8)
    rollout.reset(scenario)
    for token in tokens.split():
        rollout.step(int(token))
        speeds = [math.hypot(*item.velocity) for item in rollout.simulation.objects().objects]
        assert max(speeds) < 5.0
