"""Messages to states: what is refused, and that filling and reading are inverses.

Message objects are simple namespaces with the fields of the ROS types; the parity test of the
safety package uses real ones where ROS is installed.
"""

from __future__ import annotations

import math
from types import SimpleNamespace as Message

import numpy as np
import pytest

from safevla_ros.robot import messages
from safevla_ros.robot.messages import LaserScan, MessageError
from safevla_ros.robot.state import BaseVelocity, Command, Joint


def vector(x=0.0, y=0.0, z=0.0):
    return Message(x=x, y=y, z=z)


def pose(position=None, orientation=(0.0, 0.0, 0.0, 1.0)):
    x, y, z, w = orientation
    return Message(position=position or vector(), orientation=Message(x=x, y=y, z=z, w=w))


def twist(linear=None, angular=None):
    return Message(linear=linear or vector(), angular=angular or vector())


def stamped(**fields):
    return Message(header=Message(stamp=Message(sec=1, nanosec=5), frame_id="odom"), **fields)


def joint_state(name=("lift", "arm"), position=(0.1, 0.2), velocity=(), effort=()):
    return stamped(name=name, position=position, velocity=velocity, effort=effort)


def candidate(**fields):
    known = {"twist": twist(), "joint_names": [], "joint_positions": [], "duration_s": 0.5}
    return stamped(**{**known, **fields})


@pytest.mark.parametrize("ns", [0, 1, 1_700_000_000_123_456_789])
def test_stamps_go_through_unchanged(ns):
    time = Message(sec=0, nanosec=0)
    messages.set_stamp(time, ns)
    assert messages.stamp_ns(time) == ns
    assert 0 <= time.nanosec < 1_000_000_000


def test_joint_states_without_velocity_and_effort():
    joints = messages.joints_from(joint_state())
    assert joints["arm"].position == 0.2
    assert math.isnan(joints["arm"].velocity)
    assert math.isnan(joints["arm"].effort)


def test_joint_states_come_back_as_they_were():
    joints = {"lift": Joint(0.1, 0.5), "arm": Joint(0.2, -0.5)}
    message = joint_state()
    messages.fill_joint_states(message, joints)
    assert message.effort == []
    assert repr(messages.joints_from(message)) == repr(joints)


@pytest.mark.parametrize(
    ("signal", "message", "sentence"),
    [
        ("joint_states", joint_state(position=(0.1,)), "position: expected 2 values"),
        ("joint_states", joint_state(velocity=(0.1,)), "velocity: expected 2 values or none"),
        ("joint_states", joint_state(position=(0.1, math.nan)), "position of joint 'arm'"),
        (
            "odometry",
            stamped(pose=Message(pose=pose(vector(x=math.nan))), twist=Message(twist=twist())),
            "pose.position.x: expected a finite number, got nan",
        ),
        (
            "odometry",
            stamped(pose=Message(pose=pose(orientation=(0, 0, 0, 0))), twist=Message(twist=twist())),
            "pose.orientation: expected a quaternion of length 1, got length 0",
        ),
        (
            "odometry",
            stamped(
                pose=Message(pose=pose()), twist=Message(twist=twist(angular=vector(z=math.inf)))
            ),
            "twist.angular.z",
        ),
        (
            "localisation",
            stamped(pose=Message(pose=pose(orientation=(0, 0, 1, 1)))),
            "length 1.41",
        ),
        (
            "objects",
            stamped(
                complete=True,
                objects=[
                    Message(
                        id=name, class_name="mug", pose=pose(), size=vector(), velocity=twist(),
                        fixed=False, held=False, confidence=1.0,
                    )
                    for name in ("mug_1", "mug_1")
                ],
            ),
            "ids that differ",
        ),
        (
            "scan",
            stamped(
                angle_min=math.nan, angle_increment=0.1, range_min=0.0, range_max=1.0, ranges=[1.0]
            ),
            "angle_min",
        ),
        (
            "scan",
            stamped(
                angle_min=0.0, angle_increment=0.0, range_min=0.0, range_max=1.0, ranges=[1.0, 1.0]
            ),
            "angle_increment: expected an angle other than 0",
        ),
        ("wrench", stamped(), "signal 'wrench': expected one of odometry"),
    ],
)  # fmt: skip
def test_content_that_must_not_be_used_is_refused_with_the_field(signal, message, sentence):
    with pytest.raises(MessageError) as error:
        messages.read_signal(signal, message)
    assert sentence in str(error.value)


def test_a_scan_is_rounded_as_its_message_is():
    scan = LaserScan("lidar", 0.1, 0.2, 0.05, 12.0, np.array([0.1, np.inf]))
    assert scan.ranges[0] == float(np.float32(0.1))
    assert scan.angle_min == float(np.float32(0.1))
    message = stamped()
    messages.fill_scan(message, scan)
    message.ranges = np.frombuffer(bytes(message.ranges), np.float32)
    again = messages.scan_from(message)
    assert (again.ranges == scan.ranges).all()
    assert (again.frame, again.angle_increment) == ("lidar", scan.angle_increment)


def test_a_candidate_comes_back_as_it_was():
    command = Command(BaseVelocity(0.1, 0.0, -0.2), {"lift": 0.4, "arm": math.nan}, 0.25)
    message = candidate()
    messages.fill_candidate(message, command)
    assert repr(messages.command_from_candidate(message)) == repr(command)


def test_a_twist_is_a_command_for_a_while():
    message = twist(vector(x=0.3), vector(z=0.1))
    assert messages.command_from_twist(message, 0.5) == Command(
        BaseVelocity(0.3, 0.0, 0.1), {}, 0.5
    )


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (candidate(joint_names=["lift"]), "joint_positions: expected 1 values"),
        (candidate(joint_names=["lift"] * 2, joint_positions=[0.1, 0.2]), "names that differ"),
        (candidate(twist=twist(vector(z=0.1))), "twist.linear.z: expected 0"),
        (candidate(twist=twist(angular=vector(x=math.nan))), "twist.angular.x: expected 0"),
    ],
)
def test_a_candidate_that_cannot_be_read_as_a_whole_is_refused(message, sentence):
    with pytest.raises(MessageError, match=sentence):
        messages.command_from_candidate(message)
