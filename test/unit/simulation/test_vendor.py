"""The vendor's meshes: they move with the simulated robot, in pictures alone, and what cannot be drawn
is named."""

from __future__ import annotations

import importlib.util
import struct

import mujoco
import numpy as np
import pytest

from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import urdf_path
from safevla_ros.simulation.dressing import dressed_model
from safevla_ros.simulation.model import ROBOT
from safevla_ros.simulation.renderer import Renderer, RendererError
from safevla_ros.simulation.vendor import INSTALLED, PACKAGE, VendorError, VendorRobot, vendor_urdf

MESH = '<visual><geometry><mesh filename="meshes/{}"/></geometry></visual>'
FIXED = '<joint name="{0}" type="fixed"><parent link="{1}"/><child link="{2}"/><origin xyz="{3}"/></joint>'
LIFT = """
<joint name="joint_lift" type="prismatic"><parent link="base_link"/><child link="link_lift"/>
  <origin xyz="-0.1 0 0.2"/><axis xyz="0 0 1"/></joint>
<joint name="joint_arm_l0" type="prismatic"><parent link="link_lift"/><child link="link_arm_l0"/>
  <axis xyz="0 -1 0"/></joint>
"""


def write_stretch(folder, base="part.stl", lift=LIFT):
    """A robot with the joints and links of a Stretch that matter here, each part a tetrahedron."""
    corners = np.array([(0, 0, 0), (0.3, 0, 0), (0, 0.3, 0), (0, 0, 0.3)], np.float32)
    faces = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    (folder / "meshes").mkdir()
    (folder / "meshes" / "part.stl").write_bytes(
        bytes(80)
        + struct.pack("<I", len(faces))
        + b"".join(struct.pack("<12fH", 0, 0, 0, *corners[list(face)].ravel(), 0) for face in faces)
    )
    part = MESH.format("part.stl")
    links = [
        ("base_link", MESH.format(base)),
        ("link_lift", part),
        ("link_arm_l0", part),
        ("camera", MESH.format("camera.dae")),
        ("link_grasp_center", ""),
    ]
    path = folder / "stretch.urdf"
    path.write_text(
        '<robot name="stretch">'
        + "".join(f'<link name="{name}">{looks}</link>' for name, looks in links)
        + lift
        + FIXED.format("camera_mount", "link_lift", "camera", "0 0 1")
        + FIXED.format("grasp", "link_arm_l0", "link_grasp_center", "0 -0.4 -0.1")
        + "</robot>"
    )
    return path


def test_the_meshes_meet_the_simulated_hand_wherever_it_is(simulation, tmp_path):
    vendor = VendorRobot(write_stretch(tmp_path))
    model = dressed_model(simulation.home, simulation.profile, vendor)
    data = mujoco.MjData(model)
    kinematics = Kinematics(urdf_path(simulation.profile))
    names = [simulation.model.joint(number).name for number in range(simulation.model.njnt)]
    for lift, arm in ((0.3, 0.0), (0.8, 0.0)):
        simulation.move_joints({"lift": lift, "arm": arm, "wrist_yaw": 0.0})
        simulation.advance(4.0)
        for name in names:
            data.joint(name).qpos = simulation.data.joint(name).qpos
        vendor.follow(model, data)
        mujoco.mj_kinematics(model, data)
        hand = kinematics.link_pose(
            "grasp_center", simulation.localisation().pose, simulation.joints()
        )
        np.testing.assert_allclose(
            data.body("vendor/link_grasp_center").xpos, hand.position, atol=5e-3
        )
    before = data.body("vendor/link_grasp_center").xpos.copy()
    data.joint("arm").qpos = 0.2
    vendor.follow(model, data)
    mujoco.mj_kinematics(model, data)
    # This one has one stage of four.
    moved = data.body("vendor/link_grasp_center").xpos - before
    assert np.linalg.norm(moved) == pytest.approx(0.05)


def test_they_take_the_place_of_the_primitives_and_touch_nothing(simulation, tmp_path):
    vendor = VendorRobot(write_stretch(tmp_path))
    model = dressed_model(simulation.home, simulation.profile, vendor)
    meshes = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_MESH)
    assert len(meshes) == 3  # what MuJoCo cannot read is left out
    assert not model.geom_contype[meshes].any()
    assert not model.geom_conaffinity[meshes].any()
    assert not (model.geom_group == ROBOT).any()
    assert (dressed_model(simulation.home, simulation.profile).geom_group == ROBOT).any()


def test_pictures_show_them(simulation, tmp_path):
    vendor = VendorRobot(write_stretch(tmp_path))
    pictures = []
    try:
        for looks in (None, vendor):
            with Renderer(simulation, 160, 120, looks) as renderer:
                pictures.append(renderer.overview().astype(int))
    except RendererError as error:
        pytest.skip(str(error))
    assert 0.001 < (np.abs(pictures[0] - pictures[1]) > 20).mean() < 0.2


def test_what_cannot_be_drawn_is_named(tmp_path):
    with pytest.raises(VendorError, match=r"none\.urdf: expected a URDF file, or 'installed'"):
        vendor_urdf(str(tmp_path / "none.urdf"))
    with pytest.raises(
        VendorError, match=r"stretch\.urdf: expected a URDF with meshes: .*gone\.stl"
    ):
        VendorRobot(write_stretch(tmp_path, base="gone.stl"))
    other = tmp_path / "other.urdf"
    other.write_text('<robot name="other"><link name="base_link"/></robot>')
    with pytest.raises(VendorError, match="has no link_grasp_center"):
        VendorRobot(other)


def test_the_vendors_package_is_found_or_what_brings_it_is_said():
    if importlib.util.find_spec(PACKAGE):
        VendorRobot(vendor_urdf(INSTALLED))
        return
    with pytest.raises(VendorError, match="pip install hello-robot-stretch-urdf"):
        vendor_urdf(INSTALLED)
