"""The world in motion: drivers, contacts, sensors, and that all of it repeats exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.geometry import yaw_of
from safevla_ros.robot.state import BaseVelocity, Command
from safevla_ros.simulation.model import FASTEST
from safevla_ros.simulation.simulation import Simulation

from .conftest import make_scenario


def drive_into_a_wall(simulation: Simulation, seconds: float = 12.0) -> list[str]:
    """Straight on for long enough; returns the ids of what a link touched."""
    touched: list[str] = []
    for _ in range(round(seconds / 0.1)):
        simulation.drive(BaseVelocity(x=0.4))
        simulation.advance(0.1)
        touched += [contact.object_id for contact in simulation.contacts() if contact.link]
    return touched


def test_the_same_commands_give_the_same_world_to_the_last_bit():
    def run() -> tuple[object, ...]:
        simulation = Simulation(make_scenario(7))
        for step in range(20):
            simulation.drive(BaseVelocity(x=0.3, yaw=0.5 * (-1) ** step))
            simulation.move_joints({"lift": 0.3 + 0.02 * step, "wrist_yaw": 0.1 * step})
            simulation.advance(0.2)
        image = simulation.render("navigation", 64, 48)
        return (
            simulation.joints(),
            simulation.localisation(),
            simulation.objects(),
            simulation.scan().ranges.tobytes(),
            image.tobytes(),
        )

    assert run() == run()


def test_a_reset_forgets_everything(simulation):
    before = (simulation.objects(), simulation.joints(), simulation.localisation())
    drive_into_a_wall(simulation, 4.0)
    simulation.move_joints({"lift": 0.2})
    simulation.advance(1.0)
    simulation.reset()
    assert (simulation.objects(), simulation.joints(), simulation.localisation()) == before
    assert simulation.time_s == 0.0
    assert simulation.contacts() == ()


def test_a_velocity_is_reached_at_the_bases_own_acceleration(simulation):
    simulation.drive(BaseVelocity(x=0.3))
    simulation.advance(0.1)
    limit = simulation.profile.limits.base.linear_m_s2
    assert simulation.odometry().velocity.x == pytest.approx(0.1 * limit, abs=0.02)
    simulation.advance(0.3)
    assert simulation.odometry().velocity.x == pytest.approx(0.3, abs=0.01)


def test_the_base_stops_by_itself_when_it_hears_nothing_for_its_timeout(simulation):
    simulation.drive(BaseVelocity(x=0.3))
    timeout_s = simulation.profile.outputs.driver_timeout_s
    simulation.advance(timeout_s)
    assert simulation.odometry().velocity.x > 0.2
    simulation.advance(0.3)
    assert simulation.odometry().velocity.x == pytest.approx(0.0, abs=1e-3)


def test_a_command_holds_for_its_duration_only(simulation):
    simulation.apply(Command(BaseVelocity(x=0.3), duration_s=0.2))
    simulation.advance(0.2)
    assert simulation.odometry().velocity.x > 0.2
    simulation.advance(0.3)
    assert simulation.odometry().velocity.x == pytest.approx(0.0, abs=1e-3)


def test_one_step_of_the_action_space_goes_as_far_as_it_says(simulation):
    simulation.apply(Command(BaseVelocity(x=0.4), duration_s=0.5))
    simulation.advance(1.5)
    assert simulation.odometry().pose.position[0] == pytest.approx(0.2, abs=0.005)
    simulation.apply(Command(BaseVelocity(yaw=math.radians(60.0)), duration_s=0.5))
    simulation.advance(1.5)
    heading = yaw_of(simulation.odometry().pose.orientation)
    assert math.degrees(heading) == pytest.approx(30.0, abs=0.5)


def test_sideways_commands_do_nothing_to_a_differential_base(simulation):
    simulation.drive(BaseVelocity(y=0.3))
    simulation.advance(0.5)
    assert simulation.odometry().pose.position == pytest.approx((0.0, 0.0, 0.0), abs=1e-4)


def test_no_command_makes_the_base_faster_than_its_limits(simulation):
    simulation.drive(BaseVelocity(yaw=50.0))
    simulation.advance(0.45)
    limit = simulation.profile.limits.base.yaw_rad_s
    assert simulation.odometry().velocity.yaw == pytest.approx(limit, rel=0.03)


def test_nothing_leaves_faster_than_anything_here_can_move(simulation):
    # What the contact solver makes of a hard squeeze is not to be had at will.
    simulation.data.qvel[:] = 1e4
    simulation.advance(0.005)
    linear, angular = FASTEST
    joints = {simulation.model.joint(i).name: i for i in range(simulation.model.njnt)}
    for item in simulation.home.goods:
        first = int(simulation.model.jnt_dofadr[joints[item.id]])
        assert np.abs(simulation.data.qvel[first : first + 3]).max() <= linear
        assert np.abs(simulation.data.qvel[first + 3 : first + 6]).max() <= angular
    assert abs(simulation.odometry().velocity.x) <= math.hypot(linear, linear)


def test_joints_go_to_their_targets_at_their_speed(simulation):
    start = simulation.joints()["lift"].position
    simulation.move_joints({"lift": start + 0.3})
    simulation.advance(0.5)
    speed = simulation.profile.limits.joints["lift"].velocity
    moved = simulation.joints()["lift"].position - start
    assert 0.7 * 0.5 * speed < moved < 0.5 * speed + 0.005
    simulation.advance(1.5)
    assert simulation.joints()["lift"].position == pytest.approx(start + 0.3, abs=2e-3)


def test_targets_beyond_a_joints_range_end_at_its_limit(simulation):
    simulation.move_joints({"lift": 9.0})
    simulation.advance(4.0)
    assert simulation.joints()["lift"].position == pytest.approx(1.1, abs=0.01)


def test_an_unknown_joint_is_refused_by_name_and_nothing_moves(simulation):
    with pytest.raises(KeyError, match="elbow"):
        simulation.move_joints({"lift": 0.1, "elbow": 0.3})
    simulation.advance(1.0)
    assert simulation.joints()["lift"].position == pytest.approx(0.6, abs=2e-3)


def test_a_wall_stops_the_base_and_the_contact_is_reported(simulation):
    touched = drive_into_a_wall(simulation)
    assert touched, "twelve seconds straight on, and nothing was touched"
    assert all(name for name in touched)
    assert abs(simulation.odometry().velocity.x) < 0.05
    before = simulation.localisation().pose.position
    simulation.drive(BaseVelocity(x=0.4))
    simulation.advance(0.4)
    after = simulation.localisation().pose.position
    assert math.dist(before, after) < 0.02


def test_a_brief_contact_is_not_lost_between_two_calls(simulation):
    for _ in range(120):
        simulation.drive(BaseVelocity(x=0.4))
        simulation.advance(0.1)
    for _ in range(20):  # away from it again, before anybody asks
        simulation.drive(BaseVelocity(x=-0.3))
        simulation.advance(0.1)
    contacts = simulation.contacts()
    assert any(contact.link and contact.force_n > 1.0 for contact in contacts)
    simulation.advance(0.1)
    assert simulation.contacts() == ()


def test_things_at_rest_stay_where_they_are(simulation):
    before = {entry.id: entry.pose.position for entry in simulation.objects().objects}
    simulation.advance(5.0)
    for entry in simulation.objects().objects:
        assert math.dist(entry.pose.position, before[entry.id]) < 1e-3, entry.id


def test_every_solid_thing_of_the_home_is_an_object_with_a_box(simulation):
    scene = simulation.objects()
    ids = {entry.id for entry in scene.objects}
    assert scene.complete
    assert scene.frame == "map"
    assert {item.id for item in simulation.home.goods} <= ids
    assert any(entry.class_name == "wall" for entry in scene.objects)
    assert all(min(entry.size) > 0.0 for entry in scene.objects)


def test_odometry_starts_at_zero_and_agrees_with_the_localisation(simulation):
    assert simulation.odometry().pose.position == pytest.approx((0.0, 0.0, 0.0))
    start = simulation.localisation().pose
    for _ in range(10):
        simulation.drive(BaseVelocity(x=0.2, yaw=0.6))
        simulation.advance(0.2)
    truth, odometry = simulation.localisation().pose, simulation.odometry().pose
    assert math.dist(start.position, truth.position) == pytest.approx(
        math.hypot(*odometry.position[:2]), abs=1e-6
    )
    turned = yaw_of(truth.orientation) - yaw_of(start.orientation)
    assert math.cos(turned - yaw_of(odometry.orientation)) == pytest.approx(1.0)


def test_the_scan_sees_walls_at_their_distance_and_not_the_robot(simulation):
    scan = simulation.scan()
    hits = np.isfinite(scan.ranges)
    assert hits.mean() > 0.9  # a room has walls all around
    assert scan.ranges[hits].min() > 0.2  # the robot's own body is nearer
    base = simulation.localisation().pose
    yaw = yaw_of(base.orientation)
    c, s = math.cos(yaw), math.sin(yaw)
    x = base.position[0] + c * 0.06 + s * 0.02
    y = base.position[1] + s * 0.06 - c * 0.02
    angles = yaw + scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    ends = np.column_stack([x + scan.ranges * np.cos(angles), y + scan.ranges * np.sin(angles)])
    wide, deep = simulation.home.extent
    inside = (ends > -0.02).all(axis=1) & (ends[:, 0] < wide + 0.02) & (ends[:, 1] < deep + 0.02)
    assert inside[hits].all()


def test_joint_readings_carry_efforts(simulation):
    drive_into_a_wall(simulation, 1.0)
    assert all(math.isfinite(joint.effort) for joint in simulation.joints().values())
