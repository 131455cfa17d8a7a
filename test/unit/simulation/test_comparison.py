"""Fast mode against full physics on the same actions: how far they may be apart."""

from __future__ import annotations

import numpy as np
import pytest

from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.simulation.comparison import compare
from safevla_ros.simulation.rollout import Rollout

from .conftest import make_scenario


def experts_tokens(scenario, noise):
    """The careful expert's actions in fast mode, a share of them replaced by random ones."""
    rng = np.random.default_rng(scenario.seed)
    rollout = Rollout(image_size=8)
    rollout.reset(scenario)
    tokens = []
    while not rollout.done and len(tokens) < 150:
        token = rollout.expert_token()
        if rng.random() < noise and token != TOKENS["end"]:
            token = int(rng.integers(TOKENS["pick_up"]))
        tokens.append(token)
        rollout.step(token)
    return tokens


@pytest.mark.parametrize("seed", [0, 2])
def test_a_grasp_in_fast_mode_is_one_in_full_physics(seed):
    scenario = make_scenario(seed, "pick_up")
    result = compare(scenario, experts_tokens(scenario, noise=0.0))
    assert max(step.base_m for step in result.steps) < 0.02
    assert max(step.yaw_rad for step in result.steps) < 0.02
    assert max(step.joint_m for step in result.steps) < 0.01
    assert result.steps[-1].same_held
    assert result.touched_fast == result.touched_full
    assert result.touched_fast  # the target


def test_after_random_actions_the_robots_are_still_close():
    scenario = make_scenario(4, "fetch")
    result = compare(scenario, experts_tokens(scenario, noise=0.25))
    assert len(result.steps) > 50
    assert np.percentile([step.base_m for step in result.steps], 95) < 0.05
    assert np.percentile([step.joint_m for step in result.steps], 95) < 0.02


def test_what_stops_the_base_in_one_mode_stops_it_in_the_other():
    result = compare(make_scenario(), [TOKENS["move_ahead"]] * 20)
    assert result.touched_fast == result.touched_full != frozenset()
    assert result.steps[-1].base_m < 0.05
