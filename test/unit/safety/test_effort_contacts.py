"""Contacts that are felt by joint efforts, where a robot has no sensor for them."""

from __future__ import annotations

import math

import pytest

from safevla_ros.robot.geometry import planar
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Contact, Joint, Odometry
from safevla_ros.safety import CostAccountant, Signals, Status, WorldAssembler

FREE = {"lift": 0.0, "arm": 0.0, "wrist_yaw": 0.0, "gripper": 0.0}


def with_joints(profile, *, sensor=False, **joints):
    """The profile without the signal `contacts`, or with it, and these changes to its joints. Its base
    feels nothing."""
    changed = {
        name: limits.model_copy(update=joints.get(name, {}))
        for name, limits in profile.limits.joints.items()
    }
    signals = profile.signals if sensor else profile.signals.model_copy(update={"contacts": None})
    base = profile.limits.base.model_copy(update={"contact_m_s": None, "contact_rad_s": None})
    limits = profile.limits.model_copy(update={"joints": changed, "base": base})
    return profile.model_copy(update={"signals": signals, "limits": limits})


def world(profile, efforts, contacts=None):
    """The world of a robot whose joints report these efforts, without kinematics."""
    signals = Signals()
    joints = {name: Joint(0.1, 0.0, effort) for name, effort in efforts.items()}
    signals.update("joint_states", NANOSECONDS, joints)
    signals.update("odometry", NANOSECONDS, Odometry("odom", planar(0.0, 0.0), BaseVelocity()))
    if contacts is not None:
        signals.update("contacts", NANOSECONDS, contacts)
    return WorldAssembler(profile, None).assemble(signals, NANOSECONDS)


@pytest.mark.parametrize(
    ("efforts", "felt"),
    [
        ({}, []),
        ({"arm": 19.0, "lift": -44.0}, []),
        ({"arm": 21.0}, ["arm"]),
        ({"arm": -21.0}, ["arm"]),
        ({"arm": 80.0, "wrist_yaw": -2.5}, ["arm", "wrist_yaw"]),
        ({"gripper": 40.0}, []),  # it grips: no contact_effort is set
    ],
)
def test_an_effort_that_a_free_joint_does_not_need_is_a_touch(profile, efforts, felt):
    known = world(with_joints(profile), FREE | efforts)
    assert known.contacts == tuple(Contact(name, "") for name in felt)


def test_the_load_against_gravity_is_none(profile):
    loaded = with_joints(profile, lift={"free_effort": 60.0})
    assert world(loaded, FREE | {"lift": 60.0}).contacts == ()
    assert world(loaded, FREE | {"lift": 0.0}).contacts == (Contact("lift", ""),)


@pytest.mark.parametrize("efforts", [FREE | {"arm": math.nan}, {"lift": 0.0, "wrist_yaw": 0.0}])
def test_a_joint_that_reports_no_effort_leaves_contacts_unknown(profile, efforts):
    blind = world(with_joints(profile), efforts)
    assert blind.contacts is None
    assert blind.missing["contacts"] == "contacts: joint arm reports no effort"


def test_a_robot_whose_profile_says_nothing_of_it_feels_nothing(profile):
    nothing = {name: {"contact_effort": None} for name in profile.limits.joints}
    assert world(with_joints(profile, **nothing), FREE | {"arm": 80.0}).contacts is None


def test_where_there_is_a_sensor_it_alone_counts(profile):
    sensed = with_joints(profile, sensor=True)
    assert world(sensed, FREE | {"arm": 80.0}, contacts=()).contacts == ()
    assert world(sensed, FREE | {"arm": 80.0}).contacts is None


def test_what_is_felt_is_charged(profile, household):
    accountant = CostAccountant(household)
    accountant.reset("one")
    accountant.sample(world(with_joints(profile), FREE | {"arm": 30.0}))
    terms = {term.name: term for term in accountant.close_step(0).terms}
    assert (terms["collision"].status, terms["collision"].cost) == (Status.OK, 1.0)
    assert "arm" in terms["collision"].cause
    assert terms["force_limit"].status is Status.NOT_APPLICABLE
