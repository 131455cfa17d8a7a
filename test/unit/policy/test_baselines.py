"""The policies that every other is compared with."""

import math

import pytest

from safevla_ros.policy.interface import Instruction, Observation, Policy, PolicyError
from safevla_ros.policy.load import load_policy
from safevla_ros.robot.action_codec import ACTIONS, TOKENS
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import BaseVelocity, Odometry, Pose

ROLES = load_profile("sim").roles
NOW = Observation(0, {}, {}, Odometry("odom", Pose((0.0, 0.0, 0.0)), BaseVelocity()), False)


def run(policy, steps=400):
    policy.reset(Instruction("find the mug"))
    return [policy.act(NOW).tokens[0] for _ in range(steps)]


def test_the_random_policy_covers_the_action_space_and_repeats_with_its_seed():
    tokens = run(load_policy("random", ROLES, seed=3))
    assert set(tokens) == set(range(len(ACTIONS)))
    assert tokens == run(load_policy("random", ROLES, seed=3))
    assert tokens != run(load_policy("random", ROLES, seed=4))


def test_the_random_policy_knows_how_likely_its_choice_was():
    chunk = load_policy("random", ROLES).act(NOW)
    assert math.exp(chunk.log_probabilities[0]) == pytest.approx(1 / 20)


def test_the_do_nothing_policy_never_moves_and_never_ends():
    assert set(run(load_policy("do-nothing", ROLES), 5)) == {TOKENS["sub_goal_done"]}


@pytest.mark.parametrize("name", ["random", "do-nothing"])
def test_the_built_in_policies_fit_the_interface_and_take_any_image_size(name):
    policy = load_policy(name, ROLES)
    assert isinstance(policy, Policy)
    assert (policy.description.id, policy.description.image_height) == (name, 0)


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(
        PolicyError, match=r"'rnadom': expected one of .*base, do-nothing, random"
    ) as error:
        load_policy("rnadom", ROLES)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_description_is_refused(tmp_path):
    with pytest.raises(PolicyError, match=r"holds no policy\.yaml"):
        load_policy(str(tmp_path), ROLES)
