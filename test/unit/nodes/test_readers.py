"""What the monitor makes of messages of the graph's own nodes, and which sentence refuses them."""

from __future__ import annotations

import math
from types import SimpleNamespace as Message

import pytest

from safevla_ros.nodes.monitor.camera_health import CameraHealth
from safevla_ros.nodes.monitor.readers import (
    MOST_STEPS,
    is_motion,
    read_chunk,
    read_episode,
    read_proposal,
)
from safevla_ros.robot.messages import MOST_JOINTS, MessageError
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import BaseVelocity
from safevla_ros.safety import Reason, Task

PROFILE = load_profile("sim")
POLICY = next(source for source in PROFILE.sources if source.is_policy)
JOYSTICK = next(source for source in PROFILE.sources if not source.is_policy)


def header(frame_id=""):
    return Message(stamp=Message(sec=10, nanosec=0), frame_id=frame_id)


def vector(x=0.0, y=0.0, z=0.0):
    return Message(x=x, y=y, z=z)


def candidate(**fields):
    good = {
        "header": header(), "source": "policy", "episode_id": "one", "chunk_id": 2, "step": 3,
        "duration_s": 0.5, "twist": Message(linear=vector(0.2), angular=vector()),
        "joint_names": ["lift"], "joint_positions": [0.3],
    }  # fmt: skip
    return Message(**(good | fields))


def chunk(**fields):
    good = {
        "header": header(), "episode_id": "one", "chunk_id": 2, "first_step": 8, "step_s": 0.5,
        "names": ["base.x", "lift"], "data": [0.1, 0.3, 0.2, 0.4],
    }  # fmt: skip
    return Message(**(good | fields))


def episode(**fields):
    good = {"id": "one", "task": "fetch", "target_class": "mug", "target_ids": ["m"], "state": 0}
    return Message(**(good | fields))


def cameras(frozen=(False, False), lost=(False, False)):
    return Message(camera_names=["front", "hand"], frozen=list(frozen), lost=list(lost))


def test_a_candidate_is_a_proposal_of_its_source():
    proposal = read_proposal(POLICY, candidate(), 0, "base_link")
    assert (proposal.source, proposal.stamp_ns, proposal.fault) == ("policy", 10_000_000_000, "")
    assert (proposal.episode_id, proposal.chunk_id, proposal.step) == ("one", 2, 3)
    assert proposal.command.velocity == BaseVelocity(x=0.2)
    assert (proposal.command.joints, proposal.command.duration_s) == ({"lift": 0.3}, 0.5)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"source": "joystick"}, "source: expected 'policy' on candidate_command, got 'joystick'"),
        ({"header": header("map")}, "frame_id: expected 'base_link', got 'map'"),
        ({"episode_id": "e" * 300}, "episode_id: expected at most 200 characters, got 300"),
        ({"joint_positions": []}, "joint_positions: expected 1 values as in joint_names, got 0"),
        (
            {
                "joint_names": ["a"] * (MOST_JOINTS + 1),
                "joint_positions": [0.0] * (MOST_JOINTS + 1),
            },
            f"joint_names: expected at most {MOST_JOINTS}, got {MOST_JOINTS + 1}",
        ),
        (
            {"twist": Message(linear=vector(z=0.1), angular=vector())},
            "twist.linear.z: expected 0, a base cannot do 0.1",
        ),
    ],
)
def test_a_candidate_that_cannot_be_read_says_why_and_commands_nothing(fields, sentence):
    proposal = read_proposal(POLICY, candidate(**fields), 0, "base_link")
    assert sentence in proposal.fault
    assert proposal.command.velocity == BaseVelocity()
    assert proposal.command.joints == {}


def test_a_twist_is_due_now_and_holds_for_its_sources_timeout():
    twist = Message(linear=vector(0.1), angular=vector(z=0.4))
    proposal = read_proposal(JOYSTICK, twist, 77, "base_link")
    assert (proposal.source, proposal.stamp_ns, proposal.fault) == ("joystick", 77, "")
    assert proposal.command.velocity == BaseVelocity(x=0.1, yaw=0.4)
    assert proposal.command.duration_s == JOYSTICK.timeout_s
    tilted = Message(linear=vector(), angular=vector(x=math.nan))
    assert "twist.angular.x" in read_proposal(JOYSTICK, tilted, 77, "base_link").fault


def test_a_chunk_is_a_command_per_row():
    read = read_chunk(chunk(), "base_link")
    assert (read.episode_id, read.chunk_id, read.first_step) == ("one", 2, 8)
    assert [command.velocity.x for command in read.commands] == [0.1, 0.2]
    assert [command.joints for command in read.commands] == [{"lift": 0.3}, {"lift": 0.4}]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"names": []}, "data: expected rows of 0 values, got 4 in all"),
        ({"data": [0.1]}, "data: expected rows of 2 values, got 1 in all"),
        ({"names": ["base.x", "base.x"]}, "names must differ"),
        ({"header": header("odom")}, "frame_id: expected 'base_link', got 'odom'"),
        (
            {"data": [0.1, 0.2] * (MOST_STEPS + 1)},
            f"data: expected at most {MOST_STEPS} steps of {MOST_JOINTS} values, got "
            f"{MOST_STEPS + 1} of 2",
        ),
        ({"names": ["x"] * 4000, "data": [0.1] * 4000}, "got 1 of 4000"),
        ({"episode_id": "e" * 300}, "episode_id: expected at most 200 characters"),
    ],
)
def test_a_chunk_that_cannot_be_read_is_refused_with_a_sentence(fields, sentence):
    with pytest.raises(MessageError) as raised:
        read_chunk(chunk(**fields), "base_link")
    assert sentence in str(raised.value)


def test_an_episode_runs_until_it_has_ended():
    running = read_episode(episode())
    assert (running.id, running.has_ended) == ("one", False)
    assert running.task == Task(("m",), "mug", "fetch")
    assert not read_episode(episode(state=2)).has_ended
    assert read_episode(episode(state=1)).has_ended
    assert read_episode(episode(state=1, id="")).has_ended


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"state": 7}, "state: expected 0 (RUNNING), 1 (ENDED) or 2 (ENDING), got 7"),
        ({"id": ""}, "id: expected the name of the episode that runs, got ''"),
        ({"id": "e" * 300}, "id: expected at most 200 characters, got 300"),
    ],
)
def test_an_episode_that_cannot_be_read_is_refused_with_a_sentence(fields, sentence):
    with pytest.raises(MessageError) as raised:
        read_episode(episode(**fields))
    assert sentence in str(raised.value)


def test_cameras_are_as_their_latest_status_says():
    health = CameraHealth()
    assert health.fault(100.0) is None, "nothing is known of cameras that nobody tells of"
    health.hear(cameras(), 100.0)
    assert health.fault(100.9) is None
    health.hear(cameras(frozen=(False, True)), 101.0)
    assert health.fault(101.0) == (Reason.FROZEN_CAMERA, "camera hand repeats its pixels")
    health.hear(cameras(lost=(True, True)), 101.2)
    assert health.fault(101.2) == (Reason.LOST_CAMERA, "camera front, hand gives no frames")
    health.hear(cameras(), 101.4)
    assert health.fault(101.4) is None


def test_a_camera_status_that_stays_away_or_cannot_be_read_vouches_for_nothing():
    health = CameraHealth()
    health.hear(cameras(), 100.0)
    assert health.fault(101.1) == (Reason.LOST_CAMERA, "nothing on camera_status for 1.1 s")
    health.hear(cameras(lost=(False,)), 102.0)
    reason, sentence = health.fault(102.0)
    assert reason is Reason.LOST_CAMERA
    assert sentence == "camera_status: lost: expected 2 values as in camera_names, got 1"


@pytest.mark.parametrize("part", ["linear", "angular"])
@pytest.mark.parametrize("axis", "xyz")
@pytest.mark.parametrize("value", [1e-9, math.nan])
def test_a_twist_with_anything_but_zeros_is_motion(part, axis, value):
    twist = Message(linear=vector(), angular=vector())
    assert not is_motion(twist)
    setattr(getattr(twist, part), axis, value)
    assert is_motion(twist)
