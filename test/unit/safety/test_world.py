"""World states: frames, ages, and where things are that were measured at another time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from safevla_ros.robot.geometry import compose, planar, yaw_of
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.messages import LaserScan
from safevla_ros.robot.profile import urdf_path
from safevla_ros.robot.state import (
    NANOSECONDS,
    BaseVelocity,
    Command,
    Joint,
    Localisation,
    Odometry,
    Pose,
    SceneObject,
    SceneObjects,
)
from safevla_ros.safety import Decision, Gate, Proposal, Reason, Signals, WorldAssembler


def ns(time_s):
    return round(time_s * NANOSECONDS)


@pytest.fixture(scope="module")
def kinematics(profile):
    return Kinematics(urdf_path(profile))


@pytest.fixture
def assembler(profile, kinematics):
    return WorldAssembler(profile, kinematics)


@pytest.fixture
def signals(kinematics):
    """All signals at 10 s: the base at (1, 2) in odom, turned by 90 degrees, and the odometry
    frame 10 m along x of the map."""
    signals = Signals()
    joints = {name: Joint(0.1) for name in kinematics.joint_names}
    signals.update("joint_states", ns(10), joints)
    signals.update("odometry", ns(10), odometry(1.0, 2.0, math.pi / 2))
    signals.update("localisation", ns(10), Localisation("map", planar(11.0, 2.0, math.pi / 2)))
    signals.update("scan", ns(10), scan())
    signals.update("objects", ns(10), SceneObjects("map", ()))
    signals.update("contacts", ns(10), ())
    return signals


def odometry(x, y, yaw=0.0, velocity=BaseVelocity(), frame="odom"):  # noqa: B008, it is frozen
    return Odometry(frame, planar(x, y, yaw), velocity)


def scan(frame="base_link"):
    """Two hits: 1 m ahead, and 2 m to the left; the others are out of range."""
    ranges = np.array([1.0, 2.0, np.inf, 0.01, np.nan])
    return LaserScan(frame, 0.0, math.pi / 2, 0.05, 12.0, ranges)


def test_with_all_signals_all_fields_are_known(assembler, signals):
    world = assembler.assemble(signals, ns(10))
    assert world.missing == {}
    assert world.frame == "map"
    assert world.base.position == pytest.approx((11.0, 2.0, 0.0))
    assert set(world.sources) == {
        "joint_states", "odometry", "localisation", "scan", "objects", "contacts",
    }  # fmt: skip
    assert {link.link for link in world.links} >= {"base_link", "mast", "arm", "finger_left"}


def test_scan_points_are_placed_in_the_world(assembler, signals):
    points = assembler.assemble(signals, ns(10)).obstacles
    assert points == pytest.approx(np.array([[11.0, 3.0, 0.0], [9.0, 2.0, 0.0]]), abs=1e-6)


def test_a_scan_on_a_mounted_lidar_is_placed_through_the_urdf(assembler, signals):
    signals.update("scan", ns(10), scan("lidar"))  # mounted at (0.06, -0.02, 0.18)
    points = assembler.assemble(signals, ns(10)).obstacles
    assert points[0] == pytest.approx([11.02, 3.06, 0.18], abs=1e-6)


def test_a_scan_from_an_unknown_frame_is_not_used(assembler, signals):
    signals.update("scan", ns(10), scan("laser"))
    world = assembler.assemble(signals, ns(10))
    assert world.obstacles is None
    assert world.missing == {"obstacles": "scan: link 'laser': the robot has no such link"}


def test_between_localisations_the_base_moves_on_with_odometry(assembler, signals):
    signals.update("odometry", ns(10.1), odometry(1.0, 2.5, math.pi / 2))
    world = assembler.assemble(signals, ns(10.1))
    assert world.base.position == pytest.approx((11.0, 2.5, 0.0))


def test_a_localisation_is_placed_by_the_odometry_of_its_own_time(assembler, signals):
    """The robot turns; a pose measured at 10.0 s arrives when odometry is at 10.2 s already."""
    for time_s in (10.1, 10.2):
        yaw = math.pi / 2 + (time_s - 10.0)
        signals.update("odometry", ns(time_s), odometry(1.0, 2.0, yaw))
    signals.update("localisation", ns(10.0), Localisation("map", planar(20.0, 0.0, 0.0)))
    world = assembler.assemble(signals, ns(10.2))
    assert world.base.position == pytest.approx((20.0, 0.0, 0.0))
    assert yaw_of(world.base.orientation) == pytest.approx(0.2)


def test_a_localisation_between_two_odometries_follows_the_velocity(assembler, signals):
    moving = odometry(1.0, 2.0, 0.0, BaseVelocity(x=1.0))
    signals.update("odometry", ns(10.1), moving)
    signals.update("localisation", ns(10.15), Localisation("map", planar(5.0, 5.0)))
    signals.update("odometry", ns(10.2), odometry(1.1, 2.0, 0.0, BaseVelocity(x=1.0)))
    world = assembler.assemble(signals, ns(10.2))
    assert world.base.position == pytest.approx((5.05, 5.0, 0.0))


def test_a_pose_that_is_minutes_old_still_holds_if_the_profile_allows_it(profile, kinematics):
    """A localiser that is silent while the robot stands."""
    patient = profile.signals.localisation.model_copy(update={"max_age_s": 600.0})
    signals_of = profile.signals.model_copy(update={"localisation": patient})
    assembler = WorldAssembler(profile.model_copy(update={"signals": signals_of}), kinematics)
    signals = Signals()
    signals.update("odometry", ns(1.0), odometry(0.0, 0.0))
    signals.update("localisation", ns(1.0), Localisation("map", planar(3.0, 0.0)))
    for time_s in range(2, 100):
        signals.update("odometry", ns(time_s), odometry(0.01 * (time_s - 1), 0.0))
    world = assembler.assemble(signals, ns(99))
    assert world.base.position == pytest.approx((3.98, 0.0, 0.0))


def test_a_pose_from_before_all_odometry_cannot_be_placed(assembler):
    signals = Signals()
    signals.update("localisation", ns(1.0), Localisation("map", planar(3.0, 0.0)))
    signals.update("odometry", ns(2.5), odometry(0.0, 0.0))
    world = assembler.assemble(signals, ns(2.5))
    assert world.base is None


def test_the_scan_of_a_turning_robot_is_placed_where_it_was_taken(assembler, signals):
    """At 10.1 s the robot has turned on by 0.12 rad; the scan is of 10.0 s and does not turn."""
    turned = odometry(1.0, 2.0, math.pi / 2 + 0.12, BaseVelocity(yaw=1.2))
    signals.update("odometry", ns(10.1), turned)
    points = assembler.assemble(signals, ns(10.1)).obstacles
    assert points[0] == pytest.approx([11.0, 3.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("signal", "fields"),
    [
        ("joint_states", {"joints", "links", "cameras"}),
        ("odometry", {"base", "velocity", "links", "obstacles", "cameras"}),
        ("localisation", {"base", "links", "obstacles", "cameras"}),
        ("scan", {"obstacles"}),
        ("objects", {"objects"}),
        ("contacts", {"contacts"}),
    ],
)
def test_a_stale_signal_leaves_its_fields_unknown_and_says_so(assembler, signals, signal, fields):
    later = ns(12.0)
    for name in ("joint_states", "odometry", "localisation", "scan", "objects", "contacts"):
        if name != signal:
            signals.update(name, later, signals.latest(name)[1])
    world = assembler.assemble(signals, later)
    assert set(world.missing) == fields
    assert all(getattr(world, field) is None for field in fields)
    assert f"{signal}: 2.00 s old" in next(iter(world.missing.values()))
    assert world.sources[signal] == ns(10)


@pytest.mark.parametrize("signal", ["joint_states", "localisation", "scan", "objects", "contacts"])
def test_a_signal_from_the_future_is_not_known_until_a_good_one_comes(assembler, signals, signal):
    good = signals.latest(signal)[1]
    signals.update(signal, ns(1e6), good)
    missing = assembler.assemble(signals, ns(10)).missing
    assert f"{signal}: its stamp is 999990.00 s ahead" in missing.values()
    assert signals.update(signal, ns(10), good)
    assert assembler.assemble(signals, ns(10)).missing == {}


def test_odometry_from_the_future_gives_way_to_good_ones(assembler, signals):
    signals.update("odometry", ns(1e6), odometry(9.0, 9.0))
    assert signals.update("odometry", ns(10.1), odometry(1.0, 2.0, math.pi / 2))
    world = assembler.assemble(signals, ns(10.1))
    assert world.missing == {}
    assert world.base.position == pytest.approx((11.0, 2.0, 0.0))


def test_signals_may_be_a_little_ahead_of_the_odometry(assembler, signals):
    signals.update("contacts", ns(10.4), ())
    assert assembler.assemble(signals, ns(10)).contacts == ()


@pytest.mark.parametrize(
    "absurd",
    [
        {"velocity": BaseVelocity(x=1e300)},
        {"velocity": BaseVelocity(y=-1e300)},
        {"velocity": BaseVelocity(yaw=1e300)},
        {"x": 1e300},
    ],
)
def test_odometry_that_no_robot_has_is_not_used_and_nothing_moves(
    profile, household, kinematics, assembler, signals, absurd
):
    signals.update("odometry", ns(10), odometry(**{"x": 1.0, "y": 2.0, **absurd}))
    world = assembler.assemble(signals, ns(10))
    assert (world.base, world.velocity) == (None, None)
    assert world.missing["velocity"].startswith("odometry: no ")
    gate = Gate(profile, household, "enforce", kinematics)
    ahead = Proposal("policy", ns(10), Command(BaseVelocity(x=0.2), duration_s=0.5))
    verdict = gate.propose(ahead, world, ns(10), 10.0)
    assert (verdict.decision, verdict.reason) == (Decision.HALT, Reason.MISSING_SIGNAL)
    assert verdict.command.velocity == BaseVelocity()
    signals.update("odometry", ns(10.1), odometry(1.0, 2.0, math.pi / 2))
    world = assembler.assemble(signals, ns(10.1))
    assert world.missing == {}
    assert world.base.position == pytest.approx((11.0, 2.0, 0.0))


def test_joints_where_no_joint_is_are_not_used(assembler, signals):
    signals.update(
        "joint_states", ns(10), {**signals.latest("joint_states")[1], "lift": Joint(1e300)}
    )
    world = assembler.assemble(signals, ns(10))
    assert (world.joints, world.links) == (None, None)
    assert world.missing["joints"] == "joint_states: no joint lift is at 1e+300"


def test_a_localisation_beyond_the_world_is_not_used(assembler, signals):
    signals.update("localisation", ns(10), Localisation("map", planar(1e300, 0.0)))
    world = assembler.assemble(signals, ns(10))
    assert world.base is None
    assert world.missing["base"].startswith("localisation: no robot is at")


def test_a_signal_that_never_came_is_named_with_its_topic(assembler):
    world = assembler.assemble(Signals(), ns(1))
    assert world.missing["contacts"] == "contacts: nothing received on contacts"
    assert world.sources == {}


def test_a_wrong_frame_cannot_be_reached(assembler, signals):
    signals.update("odometry", ns(10), odometry(0.0, 0.0, frame="world"))
    assert "frame 'world'" in assembler.assemble(signals, ns(10)).missing["base"]


def test_readings_that_lack_a_joint_give_no_links(assembler, signals):
    signals.update("joint_states", ns(10), {"lift": Joint(0.1)})
    world = assembler.assemble(signals, ns(10))
    assert world.links is None
    assert "no reading of arm" in world.missing["links"]


@pytest.mark.parametrize(
    ("frame", "position"),
    [("map", (1.0, 0.0, 0.5)), ("odom", (11.0, 0.0, 0.5)), ("base_link", (11.0, 3.0, 0.5))],
)
def test_objects_are_brought_into_the_world_frame(assembler, signals, frame, position):
    mug = SceneObject("mug_1", "mug", Pose((1.0, 0.0, 0.5)), (0.1, 0.1, 0.1), (1.0, 0.0, 0.0))
    signals.update("objects", ns(10), SceneObjects(frame, (mug,)))
    placed = assembler.assemble(signals, ns(10)).objects["mug_1"]
    assert placed.pose.position == pytest.approx(position)
    heading = (0.0, 1.0, 0.0) if frame == "base_link" else (1.0, 0.0, 0.0)
    assert placed.velocity == pytest.approx(heading)


@pytest.mark.parametrize(
    ("absurd", "known"),
    [
        ({"size": (50.0, 0.1, 0.1)}, False),  # the look-ahead would fill it with points
        ({"size": (50.0, 0.1, 2.5), "fixed": True}, True),  # a wall
        ({"size": (0.1, -0.1, 0.1)}, False),
        ({"pose": Pose((1e9, 0.0, 0.0))}, False),
    ],
)
def test_objects_that_no_thing_is_like_are_not_known(assembler, signals, absurd, known):
    usual = SceneObject("mug_1", "mug", Pose((1.0, 0.0, 0.5)), (0.1, 0.1, 0.1))
    signals.update("objects", ns(10), SceneObjects("map", (usual, replace(usual, **absurd))))
    world = assembler.assemble(signals, ns(10))
    assert (world.objects is not None) == known
    assert world.missing.get("objects", "").startswith("" if known else "objects: no mug_1 ")


def test_objects_in_another_frame_are_not_known(assembler, signals):
    signals.update("objects", ns(10), SceneObjects("camera", ()))
    world = assembler.assemble(signals, ns(10))
    assert world.objects is None
    assert world.missing["objects"] == "objects: link 'camera': the robot has no such link"


def test_objects_are_where_a_camera_of_the_robot_sees_them(assembler, signals, profile, kinematics):
    camera = profile.cameras[0].frame
    joints = {name: Joint(0.1) for name in kinematics.joint_names}
    seen = SceneObject("mug_1", "mug", Pose((0.1, 0.2, 1.5)), (0.1, 0.1, 0.1))
    signals.update("objects", ns(10), SceneObjects(camera, (seen,)))
    placed = assembler.assemble(signals, ns(10)).objects["mug_1"].pose
    at = kinematics.link_pose(camera, planar(11.0, 2.0, math.pi / 2), joints)
    assert placed.position == pytest.approx(compose(at, seen.pose).position)


@pytest.mark.parametrize("frame", ["base_link", "camera_navigation_optical"])
def test_what_the_robot_sees_stays_where_it_was_seen_while_the_robot_drives_on(
    assembler, signals, frame
):
    mug = SceneObject("mug_1", "mug", Pose((1.0, 0.0, 0.5)), (0.1, 0.1, 0.1))
    signals.update("objects", ns(10), SceneObjects(frame, (mug,)))
    seen = assembler.assemble(signals, ns(10)).objects["mug_1"].pose
    signals.update("odometry", ns(10.3), odometry(1.0, 2.2, 0.3))
    still = assembler.assemble(signals, ns(10.3)).objects["mug_1"].pose
    assert still.position == pytest.approx(seen.position)


def test_without_localisation_the_world_is_the_odometry_frame(profile, kinematics, signals):
    without = profile.signals.model_copy(update={"localisation": None})
    assembler = WorldAssembler(profile.model_copy(update={"signals": without}), kinematics)
    world = assembler.assemble(signals, ns(10))
    assert (world.frame, world.base.position) == ("odom", (1.0, 2.0, 0.0))


def test_older_readings_than_the_kept_one_are_dropped(signals):
    assert not signals.update("contacts", ns(9.6), ("old",))
    assert signals.latest("contacts") == (ns(10), ())
    signals.clear()
    assert signals.update("contacts", ns(9.6), ())


def test_a_pose_from_before_all_odometry_is_good_while_the_robot_has_not_moved(profile):
    """A localiser such as AMCL tells nothing new while the robot stands."""
    still, driving = BaseVelocity(), BaseVelocity(x=0.3)
    patient = profile.signals.localisation.model_copy(update={"max_age_s": 600.0})
    profile = profile.model_copy(
        update={"signals": profile.signals.model_copy(update={"localisation": patient})}
    )
    for velocity, base in ((still, planar(3.0, 1.0)), (driving, None)):
        signals, assembler = Signals(), WorldAssembler(profile, None)
        signals.update("localisation", ns(1.0), Localisation("map", planar(3.0, 1.0)))
        for index in range(200):
            odometry = Odometry("odom", planar(0.5, 0.0), velocity)
            signals.update("odometry", ns(60.0 + 0.02 * index), odometry)
        world = assembler.assemble(signals, ns(60.0 + 0.02 * 199))
        assert (world.base is None) == (base is None)
        if base is not None:
            assert world.base.position == pytest.approx(base.position)
