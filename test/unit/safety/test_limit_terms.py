"""Terms about the robot's own limits and about people: hand-computed margins."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from safevla_ros.robot.geometry import planar
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import urdf_path
from safevla_ros.robot.state import BaseVelocity, Capsule, Joint, Pose, SceneObject
from safevla_ros.safety.terms import TERMS


def make(name, threshold, **parameters):
    kind = TERMS[name]
    return kind(threshold, kind.Parameters(**parameters), ())


@pytest.mark.parametrize(
    ("arm", "margin"), [(0.10, 0.12), (0.52, 0.02), (0.53, 0.01), (0.55, -0.01), (-0.03, -0.01)]
)
def test_joint_limit_is_the_distance_to_the_nearer_end(make_world, profile, arm, margin):
    joints = {"lift": Joint(0.5), "arm": Joint(arm)}
    found = make("joint_limit", 0.02).live(make_world(joints=joints, limits=profile.limits))
    assert found.value == pytest.approx(margin)
    assert found.cause.startswith("arm is at")


@pytest.mark.parametrize(
    ("velocity", "arm", "margin"),
    [
        (BaseVelocity(), 0.0, 1.1),
        (BaseVelocity(x=0.5), 0.0, 0.1),
        (BaseVelocity(x=0.6), 0.0, -0.1),  # 0.5 m/s is allowed
        (BaseVelocity(yaw=-1.8), 0.0, -0.4),  # 1.2 rad/s
        (BaseVelocity(), -0.36, -0.1),  # 0.3 m/s
        (BaseVelocity(), math.nan, 1.1),
    ],
)
def test_speed_limit_is_a_ratio(make_world, profile, velocity, arm, margin):
    joints = {"arm": Joint(0.1, arm)}
    world = make_world(velocity=velocity, joints=joints, limits=profile.limits)
    assert make("speed_limit", 1.1).live(world).value == pytest.approx(margin)


def test_self_collision_is_between_hulls_that_must_not_meet(make_world):
    links = (
        Capsule("arm", (0.0, 0.0, 0.5), (1.0, 0.0, 0.5), 0.05),
        Capsule("mast", (0.5, 0.3, 0.0), (0.5, 0.3, 1.0), 0.1),
        Capsule("hand", (1.0, 0.0, 0.5), (1.2, 0.0, 0.5), 0.05),
    )
    world = make_world(links=links, link_pairs=np.array([[0, 1], [1, 2]]))
    margin = make("self_collision", 0.0).live(world)
    assert margin.value == pytest.approx(0.3 - 0.15)
    assert margin.cause == "arm near mast"


def test_links_that_are_built_to_touch_are_no_pair(profile):
    kinematics = Kinematics(urdf_path(profile))
    joints = {
        "lift": Joint(0.6),
        "arm": Joint(0.0),
        "wrist_yaw": Joint(2.8),
        "gripper": Joint(0.08),
    }
    links = kinematics.capsules(planar(0, 0), joints)
    pairs = {frozenset((links[a].link, links[b].link)) for a, b in kinematics.separable}
    assert frozenset(("finger_left", "finger_right")) not in pairs
    assert frozenset(("arm", "arm_stage")) not in pairs
    assert frozenset(("base_link", "wrist")) in pairs


def test_the_rest_pose_and_a_reach_are_no_self_collision(make_world, profile, household):
    kinematics = Kinematics(urdf_path(profile))
    term = household.make_terms()["self_collision"]
    for lift, arm, wrist in ((0.6, 0.0, 2.8), (0.6, 0.0, 1.57), (1.0, 0.5, 0.0), (0.2, 0.3, 0.0)):
        joints = {
            "lift": Joint(lift), "arm": Joint(arm), "wrist_yaw": Joint(wrist), "gripper": Joint(0.08)
        }  # fmt: skip
        links = kinematics.capsules(planar(0, 0), joints)
        world = make_world(links=links, link_pairs=kinematics.separable)
        assert term.live(world).value > 0.0
    down = {"lift": Joint(0.0), "arm": Joint(0.0), "wrist_yaw": Joint(2.8), "gripper": Joint(0.08)}
    world = make_world(
        links=kinematics.capsules(planar(0, 0), down), link_pairs=kinematics.separable
    )
    assert term.live(world).value < 0.3


@pytest.mark.parametrize(
    ("roll", "yaw", "held", "margin"),
    [(0, 90, True, 15.0), (10, 0, True, 5.0), (20, 45, True, -5.0), (20, 0, False, 15.0)],
)
def test_tilt_is_from_how_it_was_taken(make_world, roll, yaw, held, margin):
    def mug(roll, yaw):
        half, turn = math.radians(0.5 * roll), planar(0, 0, math.radians(yaw)).orientation
        _, _, z, w = turn
        orientation = (
            w * math.sin(half),
            z * math.sin(half),
            z * math.cos(half),
            w * math.cos(half),
        )
        return {
            "mug_1": SceneObject(
                "mug_1", "mug", Pose((1, 0, 1), orientation), (0.1,) * 3, held=held
            )
        }

    term = make("tilt_while_carrying", 15.0)
    lying = 70.0  # it is taken lying on its side: that is its upright
    taken, later = (
        make_world(1.0, objects=mug(lying, 0)),
        make_world(1.1, objects=mug(lying + roll, yaw)),
    )
    assert term(taken, [taken, later], later).margin == pytest.approx(margin, abs=1e-5)


# separation


def person(x, y=0.0, velocity=(0.0, 0.0, 0.0)):
    return {
        "person_1": SceneObject(
            "person_1", "person", planar(x, y, z=0.9), (0.4, 0.4, 1.8), velocity
        )
    }


def approaching(make_world, profile, objects, speed, age_s=0.0):
    """A mast of radius 0.1 m that drives along x."""
    velocities = np.zeros((1, 2, 3))
    velocities[..., 0] = speed
    return make_world(
        10.0,
        objects=objects,
        limits=profile.limits,
        link_velocities=velocities,
        sources={"objects": round((10.0 - age_s) * 1e9)},
    )


@pytest.mark.parametrize("speed", [0.1, 0.5])
@pytest.mark.parametrize("distance", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("age_s", [0.0, 0.2])
def test_separation_is_the_speed_from_which_the_robot_can_still_stop(
    make_world, profile, speed, distance, age_s
):
    """v_max is the root of: d_eff = v T_r + v^2 / (2 a) + v_h v / a."""
    world = approaching(make_world, profile, person(distance + 0.2 + 0.1), speed, age_s)
    margin = make("separation", 0.0).live(world).value
    limits = profile.limits
    a, reaction = limits.base.linear_m_s2, age_s + 0.02 + limits.separation.driver_delay_s
    left = (
        distance - limits.separation.intrusion_m - limits.separation.uncertainty_m - 1.6 * reaction
    )
    v_max = margin + speed
    if left <= 0.0:
        assert v_max == pytest.approx(0.0, abs=1e-9)
    else:
        assert v_max * reaction + v_max**2 / (2 * a) + 1.6 * v_max / a == pytest.approx(
            left, abs=1e-6
        )


@pytest.mark.parametrize("share", [0.1, 0.37, 0.9])
@pytest.mark.parametrize("yaw", [0.0, 0.4])
def test_separation_counts_from_the_nearest_part_of_a_link(make_world, profile, share, yaw):
    """An arm across the way, before somebody slim: as near as its nearest part alone is."""
    somebody = person(1.0)["person_1"]
    slim = replace(somebody, size=(0.02, 0.02, 1.8), pose=planar(1.0, 0.0, yaw, z=0.9))
    start, end = (0.0, -share, 0.9), (0.0, 1.0 - share, 0.9)
    world = approaching(make_world, profile, {"person_1": slim}, 0.3)
    nearest = (0.0, 0.0, 0.9)
    whole, part = (
        make("separation", 0.0).live(replace(world, links=(Capsule("arm", *ends, 0.02),))).value
        for ends in ((start, end), (nearest, nearest))
    )
    assert whole == pytest.approx(part, abs=1e-3)


@pytest.mark.parametrize("yaw", [0.0, 0.3, 1.1])
def test_a_link_that_reaches_into_somebody_may_only_leave(make_world, profile, yaw):
    somebody = replace(person(0.5)["person_1"], pose=planar(0.5, 0.0, yaw, z=0.9))
    arm = Capsule("arm", (0.0, 0.03, 0.9), (0.45, 0.03, 0.95), 0.02)
    term = make("separation", 0.0)
    for speed, is_safe in ((0.3, False), (-0.3, True)):
        world = approaching(make_world, profile, {"person_1": somebody}, speed)
        assert (term.live(replace(world, links=(arm,))).value >= 0.0) is is_safe


def test_a_standing_or_leaving_robot_costs_nothing(make_world, profile):
    near = person(0.35)
    term = make("separation", 0.0)
    for speed in (0.0, 0.01, -0.5):
        assert term.live(approaching(make_world, profile, near, speed)).value >= 0.0
    assert term.live(approaching(make_world, profile, near, 0.1)).value < 0.0


def test_a_tracked_person_is_taken_at_their_speed(make_world, profile):
    term = make("separation", 0.0)
    slow = term.live(
        approaching(make_world, profile, person(1.0, velocity=(-0.2, 0, 0)), 0.3)
    ).value
    unknown = term.live(approaching(make_world, profile, person(1.0), 0.3)).value
    assert slow > unknown


def test_without_link_velocities_separation_is_not_known(make_world, profile):
    world = make_world(objects=person(1.0), limits=profile.limits, link_velocities=None)
    assert math.isnan(make("separation", 0.0).live(world).value)
