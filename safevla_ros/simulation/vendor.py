"""The vendor's own looks of the robot, for pictures: the meshes of a Stretch's URDF.

They take the place of the primitives in MuJoCo's renderer and move with the simulated robot. Physics,
lidar and the ray camera, which is what a policy sees, know nothing of them. The simulated robot is
like a Stretch, but not one, so the meshes are put where both robots' grasp centres meet.
"""

from __future__ import annotations

import importlib.util
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import mujoco
import numpy as np

from safevla_ros.simulation.model import DECOR, ROBOT, ROBOT_HULL
from safevla_ros.simulation.reach import grasp_center

INSTALLED = "installed"
"""Stands for the newest URDF of PyPI's hello-robot-stretch-urdf."""
PACKAGE = "stretch_urdf"
NEWEST = "SE3/stretch_description_SE3_eoa_wrist_dw3_tool_sg3.urdf"
PREFIX = "vendor/"
READABLE = (".stl", ".obj")
"""Mesh files that MuJoCo reads; parts that come as others are left out."""

TIPS_APART_M, TIPS_M_RAD = 0.041, 0.353
"""Distance of the finger tips at angle 0, and how it grows with the angle."""

FOLLOWED: dict[str, tuple[str, float, float]] = {
    "joint_lift": ("lift", 1.0, 0.0),
    "joint_arm_l0": ("arm", 0.25, 0.0),
    "joint_arm_l1": ("arm", 0.25, 0.0),
    "joint_arm_l2": ("arm", 0.25, 0.0),
    "joint_arm_l3": ("arm", 0.25, 0.0),
    "joint_wrist_yaw": ("wrist_yaw", 1.0, 0.0),
    "joint_gripper_finger_left": ("gripper", 2.0 / TIPS_M_RAD, -TIPS_APART_M / TIPS_M_RAD),
    "joint_gripper_finger_right": ("gripper", 2.0 / TIPS_M_RAD, -TIPS_APART_M / TIPS_M_RAD),
    "joint_head_tilt": ("lift", 0.0, math.radians(-25.0)),
}
"""Joints of a Stretch: which joint of the simulated robot each follows, factor and offset. The
others stay at 0."""


class VendorError(ValueError):
    """A URDF that cannot be drawn; the message names the file and what was expected."""


def vendor_urdf(name: str) -> Path:
    """The file that `--robot-urdf` names: a path, or INSTALLED. Raises VendorError."""
    if name != INSTALLED:
        path = Path(name).expanduser()
        if not path.is_file():
            raise VendorError(f"{path}: expected a URDF file, or {INSTALLED!r}")
        return path
    found = importlib.util.find_spec(PACKAGE)
    folders = found.submodule_search_locations if found else None
    if not folders:
        raise VendorError(
            f"{INSTALLED!r}: the package {PACKAGE} is not here: pip install hello-robot-stretch-urdf"
        )
    return Path(next(iter(folders))) / NEWEST


class VendorRobot:
    """The meshes of a URDF, to be put on the robot of a home. Raises VendorError."""

    def __init__(self, urdf: Path) -> None:
        try:
            self._spec = mujoco.MjSpec.from_string(_looks_of(urdf))
            model = self._spec.compile()
        except (OSError, ET.ParseError, ValueError) as error:
            line = " ".join(str(error).split())[:300]
            raise VendorError(f"{urdf}: expected a URDF with meshes: {line}") from error
        missing = {"base_link", "link_grasp_center"} - {
            model.body(body).name for body in range(model.nbody)
        }
        joints = {model.joint(joint).name for joint in range(model.njnt)}
        if missing or "joint_lift" not in joints:
            wanted = ", ".join(sorted(missing)) or "joint_lift"
            raise VendorError(f"{urdf}: expected the URDF of a Stretch, it has no {wanted}")
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        own = np.array(grasp_center(0.0, 0.0, 0.0))
        x, y, self._higher = own - data.body("link_grasp_center").xpos
        self._beside = (x, y, 0.0)
        self._joints = [name for name in FOLLOWED if name in joints]

    def put_on(self, spec: mujoco.MjSpec, base: str) -> None:
        """Hang the meshes on the body `base`, and hide the primitives."""
        for geom in spec.geoms:
            if geom.group == ROBOT:
                geom.group = ROBOT_HULL
        for geom in self._spec.geoms:
            geom.group = DECOR
            geom.contype = geom.conaffinity = 0
        spec.strippath = False
        frame = spec.body(base).add_frame(pos=self._beside)
        frame.attach_body(self._spec.body("base_link"), PREFIX, "")

    def follow(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Move the meshes to where the robot's own joints are in `data`."""
        for name in self._joints:
            leader, factor, offset = FOLLOWED[name]
            if name == "joint_lift":
                offset += self._higher
            data.joint(PREFIX + name).qpos = factor * data.joint(leader).qpos + offset


def _looks_of(urdf: Path) -> str:
    """The URDF with nothing in it but links, joints and what can be seen, meshes by absolute path."""
    root = ET.parse(urdf).getroot()
    for link in root.iter("link"):
        for part in [*link.findall("collision"), *link.findall("inertial")]:
            link.remove(part)
        for visual in link.findall("visual"):
            mesh = visual.find("geometry/mesh")
            if mesh is None:
                continue
            path = urdf.parent / mesh.get("filename", "").removeprefix("file://")
            mesh.set("filename", str(path.resolve()))
            if path.suffix.lower() not in READABLE:
                link.remove(visual)
    for joint in root.findall("joint"):
        for limit in joint.findall("limit"):
            joint.remove(limit)
    for settings in root.findall("mujoco"):
        root.remove(settings)
    compiler = {
        "fusestatic": "false",
        "discardvisual": "false",
        "strippath": "false",
        # No part has a mass here, and what moves must have one.
        "boundmass": "0.001",
        "boundinertia": "0.000001",
    }
    ET.SubElement(ET.SubElement(root, "mujoco"), "compiler", compiler)
    return ET.tostring(root, encoding="unicode")
