"""Predicted motion, against hand-computed distances: 1.5 m/s^2, 4 rad/s^2, 0.05 s to react."""

from __future__ import annotations

import math

import pytest

from safevla_ros.robot.geometry import planar
from safevla_ros.robot.state import BaseVelocity, Command, Joint
from safevla_ros.safety.motion import driven_joints, predict

STANDING = BaseVelocity()


def ends_at(profile, velocity, command, rest_s, base=planar(0.0, 0.0)):  # noqa: B008, it is frozen
    motion = predict(base, velocity, [(command, rest_s)], profile)
    return (*motion.positions[-1].tolist(), float(motion.headings[-1]))


@pytest.mark.parametrize(
    ("velocity", "wanted", "rest_s", "distance"),
    [
        # ramps up and down are equal: the commanded speed for the time it lasts, less the reaction
        pytest.param(0.0, 0.4, 0.5, 0.4 * (0.5 - 0.05), id="from standing to standing"),
        pytest.param(
            0.4, 0.4, 0.5, 0.4 * 0.5 + 0.4**2 / 3.0, id="already moving: and brakes after"
        ),
        pytest.param(0.4, 0.4, 0.0, 0.4**2 / 3.0, id="over now: brakes"),
        pytest.param(0.4, 0.0, 0.5, 0.4 * 0.05 + 0.4**2 / 3.0, id="told to stand: reacts, brakes"),
        pytest.param(0.0, 0.0, 0.5, 0.0, id="stands"),
        pytest.param(-0.3, -0.3, 0.2, -(0.3 * 0.2 + 0.3**2 / 3.0), id="backwards"),
    ],
)
def test_how_far_the_base_goes_until_it_stands(profile, velocity, wanted, rest_s, distance):
    command = Command(BaseVelocity(x=wanted))
    x, y, yaw = ends_at(profile, BaseVelocity(x=velocity), command, rest_s)
    assert x == pytest.approx(distance, abs=0.004)
    assert (y, yaw) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("wanted", "distance"),
    [
        pytest.param(0.4, 0.4 * (0.2 + 0.5) + 0.4**2 / 3.0, id="goes on"),
        pytest.param(0.0, 0.4 * (0.2 + 0.05) + 0.4**2 / 3.0, id="told to stand"),
    ],
)
def test_it_moved_on_since_it_was_measured(profile, wanted, distance):
    command, moving = Command(BaseVelocity(x=wanted)), BaseVelocity(x=0.4)
    motion = predict(planar(0.0, 0.0), moving, [(command, 0.5)], profile, age_s=0.2)
    assert motion.positions[-1, 0] == pytest.approx(distance, abs=0.004)


def test_how_far_it_turns(profile):
    _, _, yaw = ends_at(profile, STANDING, Command(BaseVelocity(yaw=1.0)), 0.5)
    assert yaw == pytest.approx(0.45, abs=0.005)


def test_it_goes_along_a_circle(profile):
    circle = BaseVelocity(x=0.3, yaw=0.6)  # radius 0.5 m
    x, y, yaw = ends_at(profile, circle, Command(circle), 1.0, planar(1.0, 2.0, math.pi / 2))
    turned = yaw - math.pi / 2
    assert x == pytest.approx(1.0 - 0.5 * (1 - math.cos(turned)), abs=0.01)
    assert y == pytest.approx(2.0 + 0.5 * math.sin(turned), abs=0.01)


def test_a_command_that_lasts_forever_is_looked_ahead_for_two_seconds(profile):
    x, _, _ = ends_at(profile, BaseVelocity(x=0.5), Command(BaseVelocity(x=0.5)), 1e9)
    assert x == pytest.approx(0.5 * 2.0 + 0.5**2 / 3.0, abs=0.01)


def test_joints_go_to_their_targets_at_full_speed(profile):
    joints = {"lift": Joint(0.5), "arm": Joint(0.2)}
    down = [(Command(joints={"lift": 0.2}), 5.0)]
    motion = predict(planar(0.0, 0.0), STANDING, down, profile)
    on_the_way = driven_joints(joints, motion, 0.5, profile)
    assert on_the_way["lift"].position == pytest.approx(0.35)
    assert on_the_way["arm"].position == 0.2
    assert driven_joints(joints, motion, 5.0, profile)["lift"].position == 0.2


def test_one_command_after_the_other_ends_where_each_alone_would(profile):
    """0.5 s ahead, 0.5 s on the spot, 0.5 s ahead: the corners of the ramps are shared out."""
    ahead = Command(BaseVelocity(x=0.3))
    turn = Command(BaseVelocity(yaw=1.0))
    legs = [(ahead, 0.5), (turn, math.pi / 2), (ahead, 0.5)]
    motion = predict(planar(0.0, 0.0), STANDING, legs, profile)
    assert motion.starts_s == (0.0, 0.5, 0.5 + math.pi / 2)
    x, y = motion.positions[-1].tolist()
    assert motion.headings[-1] == pytest.approx(math.pi / 2, abs=0.01)
    # The ramps of both overlap for 0.2 s, in which the base still goes on while it turns.
    assert x == pytest.approx(0.15, abs=0.02)
    assert y == pytest.approx(0.3 * 0.45, abs=0.02)


def test_joints_follow_one_target_after_the_other(profile):
    joints = {"lift": Joint(0.5)}
    legs = [(Command(joints={"lift": 0.56}), 0.5), (Command(joints={"lift": 0.5}), 0.5)]
    motion = predict(planar(0.0, 0.0), STANDING, legs, profile)
    heights = [
        driven_joints(joints, motion, at, profile)["lift"].position for at in (0.1, 0.5, 0.6)
    ]
    assert heights == pytest.approx([0.53, 0.56, 0.53])
