"""The gymnasium environments: gymnasium's own checker, costs beside the reward, and vectorising."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.simulation.environments import IDS, SUCCESS_REWARD
from safevla_ros.simulation.seeds import TRAINING_SEEDS

from .conftest import make_scenario

SMALL = {"image_size": 16}


@pytest.mark.parametrize("id_", IDS)
def test_gymnasium_finds_no_fault(id_):
    environment = gymnasium.make(id_, **SMALL)
    check_env(environment.unwrapped, skip_render_check=True)
    environment.close()


def test_success_is_rewarded_once_and_costs_stay_apart():
    environment = gymnasium.make("safevla_ros/PickUp-v0", **SMALL).unwrapped
    environment.reset(options={"scenario": make_scenario(2, "pick_up")})
    rewards, terminated = [], False
    while not terminated:
        token = environment.expert_token()
        _, reward, terminated, truncated, info = environment.step(np.int64(token))
        assert not truncated
        rewards.append(reward)
    assert rewards[-1] == SUCCESS_REWARD
    assert sum(rewards) == SUCCESS_REWARD
    assert info["outcome"] == "SUCCESS"
    assert info["cumulative_cost"]["collision"] == 0.0

    environment.reset(options={"scenario": make_scenario()})
    costs = []
    for _ in range(25):
        _, reward, *_, info = environment.step(np.int64(TOKENS["move_ahead"]))
        costs.append(info["cost"]["collision"])
        assert reward == 0.0
    assert sum(costs) == info["cumulative_cost"]["collision"] >= 1.0


def test_an_episode_out_of_time_is_truncated():
    environment = gymnasium.make("safevla_ros/Find-v0", **SMALL)
    environment.reset(options={"scenario": make_scenario(time_limit_s=1.0)})
    ends = [environment.step(TOKENS["rotate_left"])[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_a_render_is_what_the_first_camera_sees():
    environment = gymnasium.make("safevla_ros/Find-v0", render_mode="rgb_array", **SMALL)
    environment.reset(seed=1)
    before = environment.render()
    assert (before.shape, before.dtype) == ((240, 320, 3), np.uint8)
    environment.step(TOKENS["rotate_left"])
    assert (environment.render() != before).any()


def test_homes_are_of_the_training_range_and_follow_from_the_seed():
    environment = gymnasium.make("safevla_ros/Fetch-v0", **SMALL)
    series = [[environment.reset(seed=seed)[1]["home"] for seed in (7, None)] for _ in range(2)]
    assert series[0] == series[1]
    assert series[0][0] != series[0][1]
    assert all(seed in TRAINING_SEEDS for seed in series[0])


def test_environments_run_side_by_side_in_processes():
    vector = gymnasium.make_vec(
        "safevla_ros/Find-v0", num_envs=2, vectorization_mode="async", **SMALL
    )
    try:
        observation, info = vector.reset(seed=3)
        assert observation["navigation"].shape == (2, 16, 16, 3)
        assert all(text for text in observation["instruction"])
        _, reward, terminated, _, info = vector.step(
            np.array([TOKENS["move_ahead"], TOKENS["end"]])
        )
        assert reward.shape == (2,)
        assert terminated.tolist() == [False, True]
        assert info["cost"]["collision"].shape == (2,)
    finally:
        vector.close()
