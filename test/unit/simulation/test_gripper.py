"""Grasping: by closing around something, and not otherwise; opening lets go."""

from __future__ import annotations

import math

import pytest

from safevla_ros.robot.state import SceneObject
from safevla_ros.simulation.simulation import Simulation
from safevla_ros.simulation.tasks import Outcome

from .conftest import at_arms_length, reach_out


def target(simulation: Simulation) -> SceneObject:
    wanted = simulation.home.target_ids[0]
    return next(entry for entry in simulation.objects().objects if entry.id == wanted)


@pytest.fixture
def around_it() -> Simulation:
    """The open gripper is around the target."""
    simulation, joints = at_arms_length()
    reach_out(simulation, joints)
    assert not simulation.object_in_hand
    return simulation


def test_closing_around_a_thing_takes_it_and_lifting_carries_it(around_it):
    before = target(around_it).pose.position
    around_it.move_joints({"gripper": 0.0})
    around_it.advance(1.0)
    assert around_it.object_in_hand
    assert target(around_it).held
    lift = around_it.joints()["lift"].position
    around_it.move_joints({"lift": lift + 0.15})
    around_it.advance(2.0)
    after = target(around_it).pose.position
    assert after[2] - before[2] == pytest.approx(0.15, abs=0.02)


def test_a_gripper_camera_looks_at_what_is_between_the_fingers():
    plain, joints = at_arms_length()
    cameras = plain.profile.cameras
    gripper = cameras[0].model_copy(update={"name": "gripper", "frame": "camera_gripper_optical"})
    profile = plain.profile.model_copy(update={"cameras": (*cameras, gripper)})
    simulation = Simulation(plain.scenario, profile)
    reach_out(simulation, joints)
    geoms = simulation.look("gripper", 60, 60).geom
    owners = [[simulation.owner(int(geom)) for geom in row] for row in geoms]
    middle = [owner for row in owners[15:40] for owner in row[20:40]]
    assert middle.count(simulation.home.target_ids[0]) > 0.5 * len(middle)


def test_the_fingers_stop_at_what_they_hold(around_it):
    around_it.move_joints({"gripper": 0.0})
    around_it.advance(1.5)
    size = target(around_it).size
    assert around_it.joints()["gripper"].position > 0.3 * min(size[:2])


def test_what_is_held_touches_the_fingers_and_this_is_reported(around_it):
    around_it.contacts()
    around_it.move_joints({"gripper": 0.0})
    around_it.advance(1.0)
    links = {c.link for c in around_it.contacts() if c.object_id == around_it.held and c.link}
    assert links
    assert links <= {"finger_left", "finger_right", "wrist"}


def test_opening_lets_go_and_it_falls_back(around_it):
    around_it.move_joints({"gripper": 0.0})
    around_it.advance(1.0)
    lift = around_it.joints()["lift"].position
    around_it.move_joints({"lift": lift + 0.12})
    around_it.advance(1.5)
    high = target(around_it).pose.position[2]
    around_it.move_joints({"gripper": 0.08})
    around_it.advance(1.5)
    assert not around_it.object_in_hand
    assert not target(around_it).held
    assert high - target(around_it).pose.position[2] > 0.08


def test_closing_on_nothing_holds_nothing():
    simulation, joints = at_arms_length()
    reach_out(simulation, {**joints, "arm": 0.0})
    simulation.move_joints({"gripper": 0.0})
    simulation.advance(1.0)
    assert not simulation.object_in_hand
    assert simulation.joints()["gripper"].position == pytest.approx(0.0, abs=2e-3)


def test_a_thing_that_only_the_fingertips_touch_is_not_taken():
    simulation, joints = at_arms_length()
    reach_out(simulation, {**joints, "arm": joints["arm"] - 0.075})
    simulation.contacts()
    simulation.move_joints({"gripper": 0.0})
    simulation.advance(1.0)
    assert any(contact.link.startswith("finger") for contact in simulation.contacts())
    assert not simulation.object_in_hand


def test_something_is_lost_when_it_is_torn_out_of_the_gripper(around_it):
    around_it.move_joints({"gripper": 0.0})
    around_it.advance(1.0)
    body = around_it._world.bodies[around_it.held]
    around_it._data.xfrc_applied[body, :3] = (0.0, 0.0, -4000.0)
    around_it.advance(0.5)
    assert not around_it.object_in_hand


def test_holding_the_target_is_what_pick_up_asks_for(around_it):
    around_it.move_joints({"gripper": 0.0})
    around_it.advance(1.0)
    around_it.declare_end()
    outcome, reason = around_it.outcome()
    assert outcome is Outcome.SUCCESS
    assert around_it.held in reason


def test_a_held_thing_comes_along_when_the_arm_draws_back(around_it):
    around_it.move_joints({"gripper": 0.0})
    around_it.advance(1.0)
    around_it.move_joints({"lift": around_it.joints()["lift"].position + 0.1})
    around_it.advance(1.0)
    before = target(around_it).pose.position
    around_it.move_joints({"arm": around_it.joints()["arm"].position - 0.1})
    around_it.advance(1.0)
    assert math.dist(before, target(around_it).pose.position) == pytest.approx(0.1, abs=0.02)
