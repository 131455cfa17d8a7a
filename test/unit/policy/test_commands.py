"""What chunks of tokens and of continuous rows mean on the simulated robot."""

import math

import numpy as np
import pytest

from safevla_ros.policy.commands import chunk_steps, command_table
from safevla_ros.policy.interface import ActionChunk, PolicyError
from safevla_ros.robot.action_codec import TOKENS, EndOfEpisode
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import Joint

PROFILE = load_profile("sim")
JOINTS = {name: Joint(0.2) for name in PROFILE.limits.joints}


def tokens(*names):
    return ActionChunk("token", tokens=tuple(TOKENS[name] for name in names))


def test_each_token_of_a_chunk_counts_from_where_the_last_one_leads():
    steps = chunk_steps(tokens("lift_up", "move_ahead", "lift_up"), JOINTS, PROFILE)
    assert steps[0].joints == pytest.approx({"lift": 0.3})
    assert steps[1].velocity.x * steps[1].duration_s == pytest.approx(0.2)
    assert steps[2].joints == pytest.approx({"lift": 0.4})


def test_nothing_follows_an_end():
    steps = chunk_steps(tokens("move_ahead", "end", "move_ahead"), JOINTS, PROFILE)
    assert len(steps) == 2
    assert isinstance(steps[1], EndOfEpisode)


def test_the_table_holds_joints_where_a_step_says_nothing_of_them():
    steps = chunk_steps(tokens("move_ahead", "lift_up", "rotate_left", "end"), JOINTS, PROFILE)
    names, data = command_table(steps, JOINTS)
    assert names == ["base.x", "base.y", "base.yaw", "lift"]
    assert data == pytest.approx(
        np.array(
            [
                [0.4, 0, 0, 0.2],
                [0, 0, 0, 0.3],
                [0, 0, math.radians(60), 0.3],
                [0, 0, 0, 0.3],
            ]
        )
    )


def test_continuous_rows_become_commands_of_one_step_each():
    chunk = ActionChunk(
        "continuous", names=("base.x", "arm"), data=np.array([[0.1, 0.3], [0, 0.4]])
    )
    steps = chunk_steps(chunk, JOINTS, PROFILE)
    assert [step.velocity.x for step in steps] == [0.1, 0]
    assert [step.joints for step in steps] == [{"arm": 0.3}, {"arm": 0.4}]
    assert {step.duration_s for step in steps} == {PROFILE.step_s}


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (ActionChunk("token"), "without steps"),
        (ActionChunk("token", tokens=(20,)), "token 20"),
        (ActionChunk("continuous", names=("arm",), data=np.array([[np.nan]])), "finite data"),
        (ActionChunk("continuous", names=("arm",), data=np.zeros((1, 2))), "1 names"),
    ],
)
def test_chunks_that_mean_nothing_are_refused(chunk, message):
    with pytest.raises(PolicyError, match=message):
        chunk_steps(chunk, JOINTS, PROFILE)
