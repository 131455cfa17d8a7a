"""One URDF is the truth: physics, kinematics and the expert's figures agree about the robot."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from safevla_ros.paths import share_directory
from safevla_ros.robot.geometry import planar, rotation_matrix
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import Joint
from safevla_ros.simulation import reach
from safevla_ros.simulation.home import EYE

URDF = share_directory() / load_profile("sim").urdf
LINKS = (
    "mast",
    "lift",
    "arm",
    "wrist",
    "finger_right",
    "grasp_center",
    "camera_navigation_optical",
)


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics(URDF)


def readings(**positions: float) -> dict[str, Joint]:
    full = {"lift": 0.0, "arm": 0.0, "wrist_yaw": 0.0, "gripper": 0.0, **positions}
    return {name: Joint(position) for name, position in full.items()}


@pytest.mark.parametrize("seed", range(4))
def test_links_are_where_the_kinematics_says_in_the_physics_too(simulation, kinematics, seed):
    rng = np.random.default_rng(seed)
    limits = simulation.profile.limits.joints
    targets = {name: float(rng.uniform(j.lower, j.upper)) for name, j in limits.items()}
    targets["lift"] = max(targets["lift"], 0.4)
    simulation.move_joints(targets)
    simulation.advance(5.0)
    base = simulation.localisation().pose
    joints = simulation.joints()
    data, model = simulation._data, simulation._model
    for link in LINKS:
        pose = kinematics.link_pose(link, base, joints)
        body = model.body(link).id
        np.testing.assert_allclose(data.xpos[body], pose.position, atol=2e-3)
        turn = rotation_matrix(pose.orientation)
        np.testing.assert_allclose(data.xmat[body].reshape(3, 3), turn, atol=1e-2)


@pytest.mark.parametrize(("arm", "wrist", "lift"), [(0, 0, 0), (0.3, 0.4, 0.7), (0.5, -0.3, 1.1)])
def test_the_grasp_centre_is_where_the_expert_thinks(kinematics, arm, wrist, lift):
    pose = kinematics.link_pose(
        "grasp_center", planar(0.0, 0.0), readings(arm=arm, wrist_yaw=wrist, lift=lift)
    )
    assert pose.position == pytest.approx(reach.grasp_center(arm, wrist, lift), abs=1e-6)


def test_the_camera_is_where_the_home_thinks(kinematics):
    pose = kinematics.link_pose("camera_navigation_optical", planar(0.0, 0.0), readings())
    assert pose.position == pytest.approx(EYE, abs=1e-6)


def test_the_folded_robot_fits_the_circle_that_the_planner_takes_it_for(kinematics):
    folded = readings(wrist_yaw=reach.FOLDED_WRIST, gripper=0.08, lift=0.6)
    capsules = kinematics.capsules(planar(0.0, 0.0), folded)
    outermost = max(
        np.hypot(*end[:2]) + capsule.radius
        for capsule in capsules
        for end in (capsule.start, capsule.end)
    )
    assert outermost < reach.BASE_RADIUS


def test_the_profile_has_the_limits_of_the_urdf():
    model = mujoco.MjSpec.from_file(str(URDF)).compile()
    for name, limits in load_profile("sim").limits.joints.items():
        assert model.joint(name).range == pytest.approx((limits.lower, limits.upper))
