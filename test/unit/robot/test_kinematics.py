"""Kinematics: hand-computed poses and hulls of a small robot, and of the simulated one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safevla_ros.robot.geometry import planar, rotation_matrix, yaw_of
from safevla_ros.robot.kinematics import Kinematics, KinematicsError
from safevla_ros.robot.profile import load_profile, urdf_path
from safevla_ros.robot.state import Joint, Pose

# A base with a mast, on it a lift, on that an elbow, and a finger that mimics the lift.
SMALL = """
<robot name="small">
  <link name="base_link">
    <collision><origin xyz="0 0 0.1"/><geometry><cylinder radius="0.2" length="0.2"/></geometry></collision>
  </link>
  <link name="carriage">
    <collision><geometry><sphere radius="0.05"/></geometry></collision>
  </link>
  <joint name="lift" type="prismatic">
    <parent link="base_link"/><child link="carriage"/><origin xyz="0.1 0 0.5"/><axis xyz="0 0 1"/>
    <limit lower="0" upper="1" effort="1" velocity="1"/>
  </joint>
  <link name="forearm">
    <collision><origin xyz="0.2 0 0"/><geometry><box size="0.4 0.06 0.08"/></geometry></collision>
  </link>
  <joint name="elbow" type="continuous">
    <parent link="carriage"/><child link="forearm"/><axis xyz="0 0 1"/>
  </joint>
  <link name="tip"/>
  <joint name="tip_mount" type="fixed">
    <parent link="forearm"/><child link="tip"/><origin xyz="0.4 0 0" rpy="0 0 1.5707963267948966"/>
  </joint>
  <link name="finger">
    <collision><geometry><sphere radius="0.01"/></geometry></collision>
  </link>
  <joint name="finger_joint" type="prismatic">
    <parent link="base_link"/><child link="finger"/><axis xyz="1 0 0"/>
    <limit lower="-1" upper="1" effort="1" velocity="1"/><mimic joint="lift" multiplier="-0.5" offset="0.1"/>
  </joint>
</robot>
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.urdf"
    path.write_text(SMALL, encoding="utf-8")
    return Kinematics(path)


def at(lift=0.0, elbow=0.0):
    return {"lift": Joint(lift), "elbow": Joint(elbow), "head_pan": Joint(9.0)}


def hull(kinematics, link, base, joints):
    (capsule,) = [c for c in kinematics.capsules(base, joints) if c.link == link]
    return capsule


def test_joints_that_mimic_need_no_reading(small):
    assert set(small.joint_names) == {"lift", "elbow"}
    finger = hull(small, "finger", planar(0, 0), at(lift=0.4))
    assert finger.start == pytest.approx((-0.1, 0.0, 0.0))


def test_links_follow_base_and_joints(small):
    tip = small.link_pose("tip", planar(0.0, 0.0), at())
    assert tip.position == pytest.approx((0.5, 0.0, 0.5))
    assert yaw_of(tip.orientation) == pytest.approx(math.pi / 2)
    tip = small.link_pose("tip", planar(1.0, 2.0, math.pi / 2), at(lift=0.3, elbow=math.pi / 2))
    assert tip.position == pytest.approx((0.6, 2.1, 0.8))
    assert abs(yaw_of(tip.orientation)) == pytest.approx(math.pi / 2 * 3 % math.pi)


def test_a_cylinder_becomes_the_capsule_around_its_axis(small):
    base = hull(small, "base_link", planar(1.0, 0.0), at())
    assert (base.start, base.end) == (
        pytest.approx((1.0, 0.0, 0.0)),
        pytest.approx((1.0, 0.0, 0.2)),
    )
    assert base.radius == 0.2


def test_a_sphere_stays_one(small):
    sphere = hull(small, "carriage", planar(0.0, 0.0), at(lift=0.25))
    assert sphere.start == sphere.end == pytest.approx((0.1, 0.0, 0.75))
    assert sphere.radius == 0.05


@pytest.mark.parametrize("elbow", [0.0, 0.7, -2.5])
def test_a_box_is_enclosed_with_all_its_corners(small, elbow):
    forearm = hull(small, "forearm", planar(0.0, 0.0), at(elbow=elbow))
    pose = small.link_pose("forearm", planar(0.0, 0.0), at(elbow=elbow))
    corners = np.array(
        [[x, y, z] for x in (0.0, 0.4) for y in (-0.03, 0.03) for z in (-0.04, 0.04)]
    )
    corners = corners @ rotation_matrix(pose.orientation).T + pose.position
    start, axis = np.array(forearm.start), np.subtract(forearm.end, forearm.start)
    share = np.clip((corners - start) @ axis / (axis @ axis), 0.0, 1.0)
    distances = np.linalg.norm(corners - start - share[:, None] * axis, axis=1)
    assert distances.max() <= forearm.radius + 1e-9
    assert forearm.radius <= 0.075  # and no fatter than it must be


def test_a_reading_without_a_joint_is_refused_by_name(small):
    with pytest.raises(KinematicsError, match="no reading of elbow"):
        small.capsules(planar(0, 0), {"lift": Joint(0.0)})


def test_an_unknown_link_is_refused_by_name(small):
    with pytest.raises(KinematicsError, match="'laser'"):
        small.link_pose("laser", planar(0, 0), at())


@pytest.mark.parametrize(
    "text", ["", "<robot>", "not a urdf", "<sdf/>", SMALL.replace('joint="lift"', 'joint="lid"')]
)
def test_a_file_that_is_no_urdf_is_refused_by_name(tmp_path, text):
    path = tmp_path / "broken.urdf"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(KinematicsError, match=r"broken\.urdf"):
        Kinematics(path)
    with pytest.raises(KinematicsError, match=r"absent\.urdf"):
        Kinematics(tmp_path / "absent.urdf")


def test_the_simulated_robot_reaches_where_its_urdf_says():
    profile = load_profile("sim")
    kinematics = Kinematics(urdf_path(profile))
    assert set(kinematics.joint_names) <= set(profile.limits.joints)
    joints = {name: Joint(0.0) for name in kinematics.joint_names}
    folded = kinematics.link_pose("grasp_center", Pose((0.0, 0.0, 0.0)), joints)
    joints.update(lift=Joint(0.4), arm=Joint(0.3))
    reached = kinematics.link_pose("grasp_center", Pose((0.0, 0.0, 0.0)), joints)
    moved = np.subtract(reached.position, folded.position)
    assert moved == pytest.approx([0.0, -0.3, 0.4], abs=1e-6)
