"""Contacts that a base without a bumper feels by the speed that it loses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.geometry import moved, planar
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Contact, Joint, Odometry
from safevla_ros.safety import Signals, WorldAssembler

PERIOD_S, NOISE = 0.02, 0.01
FREE = {name: Joint(0.1, 0.0, 0.0) for name in ("lift", "arm", "wrist_yaw", "gripper")}
HIT = (Contact("base_link", ""),)


@pytest.fixture
def felt(profile):
    """What is felt at each odometry of a base with these velocities, without a sensor for it."""

    def feel(velocities, **changes):
        base = profile.limits.base.model_copy(update=changes)
        robot = profile.model_copy(
            update={
                "signals": profile.signals.model_copy(
                    update={"contacts": None, "localisation": None}
                ),
                "limits": profile.limits.model_copy(update={"base": base}),
            }
        )
        signals, assembler = Signals(), WorldAssembler(robot, None)
        pose, contacts = planar(0.0, 0.0), []
        for index, velocity in enumerate(velocities):
            stamp_ns = NANOSECONDS + round(index * PERIOD_S * NANOSECONDS)
            pose = moved(pose, velocity, PERIOD_S)
            signals.update("joint_states", stamp_ns, FREE)
            signals.update("odometry", stamp_ns, Odometry("odom", pose, velocity))
            contacts.append(assembler.assemble(signals, stamp_ns).contacts)
        return contacts

    return feel


def ramped(wanted, rates, now=BaseVelocity()):  # noqa: B008
    """Velocities of a base that obeys commands (x, yaw), one a period, at its rates."""
    for x, yaw in wanted:
        most, turn = rates.linear_m_s2 * PERIOD_S, rates.yaw_rad_s2 * PERIOD_S
        now = BaseVelocity(
            now.x + min(max(x - now.x, -most), most),
            0.0,
            now.yaw + min(max(yaw - now.yaw, -turn), turn),
        )
        yield now


@pytest.mark.parametrize(
    ("before", "after", "contacts"),
    [
        (BaseVelocity(x=0.4), BaseVelocity(), HIT),
        (BaseVelocity(x=-0.4), BaseVelocity(x=0.1), HIT),
        (BaseVelocity(x=0.4), BaseVelocity(x=0.37), ()),
        (BaseVelocity(), BaseVelocity(x=0.4), ()),  # pushed from behind, or picked up
        (BaseVelocity(yaw=1.0), BaseVelocity(), HIT),
        (BaseVelocity(yaw=-1.0), BaseVelocity(yaw=-0.9), ()),
    ],
)
def test_speed_that_no_brake_takes_was_taken_by_something(felt, before, after, contacts):
    found = felt([before] * 10 + [after] * 20)
    assert found[10] == contacts
    assert found[9] == found[-1] == ()


@pytest.mark.parametrize("seed", range(20))
def test_a_base_that_drives_and_brakes_as_it_is_told_feels_nothing(felt, profile, seed):
    """With the noise of its odometry, for 15 s, commanded anew up to ten times a second."""
    rng, wanted = np.random.default_rng(seed), []
    while len(wanted) < 15.0 / PERIOD_S:
        command = (rng.choice([0.0, rng.uniform(-0.5, 0.5)]), rng.choice([0.0, rng.uniform(-1, 1)]))
        wanted += [command] * int(rng.integers(5, 40))
    noise = rng.normal(0.0, NOISE, (len(wanted), 2))
    velocities = [
        BaseVelocity(v.x + float(dx), 0.0, v.yaw + float(dyaw))
        for v, (dx, dyaw) in zip(ramped(wanted, profile.limits.base), noise, strict=True)
    ]
    assert set(felt(velocities)) == {()}


def test_a_base_whose_profile_says_nothing_of_it_feels_nothing(felt):
    hit = [BaseVelocity(x=0.4)] * 10 + [BaseVelocity()]
    assert felt(hit, contact_m_s=None, contact_rad_s=None)[-1] == ()
    assert felt(hit, contact_rad_s=None)[-1] == HIT


def test_odometry_that_is_too_far_apart_tells_nothing(profile):
    signals = Signals()
    for index in range(3):
        odometry = Odometry("odom", planar(0.0, 0.0), BaseVelocity(x=0.4))
        signals.update("odometry", index * NANOSECONDS, odometry)
    assert len(signals.odometry_of_last(0.1, 2 * NANOSECONDS)) == 1
    assert math.isclose(signals.odometry_of_last(1.0, NANOSECONDS)[0][0], 0.0)
