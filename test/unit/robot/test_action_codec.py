"""The paper's 20 actions and the rows of continuous chunks, as commands."""

from __future__ import annotations

import math

import pytest

from safevla_ros.robot.action_codec import (
    ACTIONS,
    TOKENS,
    ActionError,
    EndOfEpisode,
    decode,
    decode_row,
    opens_gripper,
)
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import BaseVelocity, Command, Joint

PROFILE = load_profile("sim")  # step_s 0.5; lift 0..1.1, arm 0..0.52, wrist -1.75..4.0
JOINTS = {"lift": Joint(0.5), "arm": Joint(0.1), "wrist_yaw": Joint(0.0), "gripper": Joint(0.02)}
TEN_DEGREES = math.radians(10.0)


def act(name, joints=JOINTS):
    return decode(TOKENS[name], joints, PROFILE)


def test_there_are_twenty_actions_each_with_its_token():
    assert len(ACTIONS) == len(set(ACTIONS)) == 20
    assert [TOKENS[name] for name in ACTIONS] == list(range(20))


@pytest.mark.parametrize(
    ("action", "distance_m", "angle_deg"),
    [
        ("move_ahead", 0.20, 0.0),
        ("move_back", -0.20, 0.0),
        ("rotate_left", 0.0, 30.0),
        ("rotate_right", 0.0, -30.0),
        ("rotate_left_small", 0.0, 6.0),
        ("rotate_right_small", 0.0, -6.0),
    ],
)
def test_base_actions_are_velocities_over_the_whole_step(action, distance_m, angle_deg):
    command = act(action)
    assert command.duration_s == 0.5
    assert command.joints == {}
    assert command.velocity.x * 0.5 == pytest.approx(distance_m)
    assert command.velocity.yaw * 0.5 == pytest.approx(math.radians(angle_deg))


@pytest.mark.parametrize(
    ("action", "joint", "target"),
    [
        ("lift_up", "lift", 0.6),
        ("lift_up_small", "lift", 0.52),
        ("lift_down", "lift", 0.4),
        ("lift_down_small", "lift", 0.48),
        ("arm_out", "arm", 0.2),
        ("arm_out_small", "arm", 0.12),
        ("arm_in", "arm", 0.0),
        ("arm_in_small", "arm", 0.08),
        ("wrist_left", "wrist_yaw", TEN_DEGREES),
        ("wrist_right", "wrist_yaw", -TEN_DEGREES),
        ("pick_up", "gripper", 0.0),
        ("drop_off", "gripper", 0.08),
    ],
)
def test_joint_actions_are_targets_from_the_measured_position(action, joint, target):
    command = act(action)
    assert command.velocity == BaseVelocity()
    assert command.joints == pytest.approx({joint: target})
    assert command.duration_s == 0.5


@pytest.mark.parametrize(
    ("action", "joint", "position", "target"),
    [("lift_up", "lift", 1.05, 1.1), ("arm_in", "arm", 0.04, 0.0), ("arm_out", "arm", 0.52, 0.52)],
)
def test_targets_stay_within_the_joints_range(action, joint, position, target):
    assert act(action, {**JOINTS, joint: Joint(position)}).joints == {joint: target}


def test_end_ends_and_sub_goal_done_does_nothing():
    assert isinstance(act("end"), EndOfEpisode)
    done = act("sub_goal_done")
    assert done == Command(duration_s=0.5)
    assert not done.moves


@pytest.mark.parametrize("token", [-1, 20, 10**6])
def test_a_token_outside_the_action_space_is_refused(token):
    with pytest.raises(ActionError, match="expected 0 to 19"):
        decode(token, JOINTS, PROFILE)


def test_a_missing_joint_reading_is_named():
    with pytest.raises(ActionError, match="reading of joint 'lift' is missing"):
        act("lift_up", {})


def test_a_row_of_a_continuous_chunk_is_a_command():
    row = decode_row(("base.x", "base.yaw", "lift", "gripper"), (0.2, -0.1, 0.7, 0.0), 0.25)
    assert row == Command(BaseVelocity(0.2, 0.0, -0.1), {"lift": 0.7, "gripper": 0.0}, 0.25)


@pytest.mark.parametrize(
    ("names", "row", "sentence"),
    [
        (("base.x", "lift"), (0.1,), "2 names, but rows of 1"),
        (("lift", "lift"), (0.1, 0.2), "names must differ"),
    ],
)
def test_rows_that_do_not_fit_their_names_are_refused(names, row, sentence):
    with pytest.raises(ActionError, match=sentence):
        decode_row(names, row, 0.5)


@pytest.mark.parametrize(
    ("joints", "opens"), [({"gripper": 0.08}, True), ({"gripper": 0.0}, False), ({"lift": 1}, None)]
)
def test_a_release_is_a_target_nearer_to_open_than_to_closed(joints, opens):
    assert opens_gripper(Command(joints=joints), PROFILE) is opens
