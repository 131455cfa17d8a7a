"""Where a robot's links are: forward kinematics and link hulls from its URDF, on Pinocchio.

Every collision geometry of the URDF becomes one capsule that encloses it: a cylinder the capsule
around the same axis, a sphere itself, a box or a mesh (through its bounding box) the enclosing
capsule of least volume along its longest side. So hulls are never smaller than the robot; round
caps make them longer than a cylinder by its radius at each end.

Joints that mimic others follow them and need no reading of their own.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from safevla_ros.robot.geometry import compose, rotation_matrix, segment_distances
from safevla_ros.robot.state import BaseVelocity, Capsule, Joint, Pose

Array = NDArray[np.float64]

POSES = 200
"""Random poses by which `Kinematics.separable` tells which hulls always meet."""


class KinematicsError(ValueError):
    """A URDF that cannot be used, or a joint reading that lacks a joint."""


@dataclass(frozen=True, slots=True)
class _Mimic:
    joint: str
    multiplier: float
    offset: float


@dataclass(frozen=True, slots=True)
class _Drive:
    """How a reading moves a joint: the joint that is read, and where it goes in Pinocchio's
    vectors of positions and velocities."""

    name: str
    source: str
    multiplier: float
    offset: float
    at: int
    rate_at: int
    is_continuous: bool


class Kinematics:
    """A robot's body from its URDF. Not thread-safe: it keeps the last configuration."""

    joint_names: tuple[str, ...]
    """The joints whose readings are needed."""

    def __init__(self, urdf_path: str | Path) -> None:
        """Read a URDF. Raises KinematicsError, naming the file."""
        path = Path(urdf_path)
        try:
            root = ET.parse(path).getroot()
            self._model = pin.buildModelFromUrdf(str(path))
            hulls = pin.buildGeomFromUrdf(
                self._model, str(path), pin.GeometryType.COLLISION, package_dirs=_package_dirs(path)
            )
        except (OSError, ET.ParseError, ValueError, RuntimeError) as error:
            raise KinematicsError(f"{path}: not a URDF that can be used: {error}") from error
        self._data = self._model.createData()
        self._configuration: list[float] | None = None
        self._fixed: dict[str, Pose] = {}
        self._mimics = _mimics(root)
        self._joints = tuple(self._model.names)[1:]  # the first is Pinocchio's fixed universe
        self.joint_names = tuple(name for name in self._joints if name not in self._mimics)
        for name, mimic in self._mimics.items():
            if mimic.joint not in self.joint_names:
                raise KinematicsError(
                    f"{path}: joint {name!r} mimics {mimic.joint!r}, which is not a moving joint"
                )

        self._drives = tuple(self._drive(index, name) for index, name in enumerate(self._joints))
        links, parents, starts, ends, radii = [], [], [], [], []
        for hull in hulls.geometryObjects:
            half_axis, radius = _enclosing_capsule(hull.geometry)
            centre = hull.placement.translation + hull.placement.rotation @ _centre(hull.geometry)
            axis = hull.placement.rotation @ half_axis
            links.append(self._model.frames[hull.parentFrame].name)
            parents.append(hull.parentJoint)
            starts.append(centre - axis)
            ends.append(centre + axis)
            radii.append(radius)
        self._links = tuple(links)
        self._parents = np.asarray(parents, int)
        self._starts = np.asarray(starts, float).reshape(-1, 3)
        self._ends = np.asarray(ends, float).reshape(-1, 3)
        self._radii = tuple(radii)

    def capsules(self, base: Pose, joints: Mapping[str, Joint]) -> tuple[Capsule, ...]:
        """Hulls of all links, in the frame of `base`'s pose. Raises KinematicsError for joints
        without a reading."""
        self._move(joints)
        placements = np.array([placement.homogeneous for placement in self._data.oMi])
        turns = placements[self._parents, :3, :3]
        origins = placements[self._parents, :3, 3]
        world, at = rotation_matrix(base.orientation), np.asarray(base.position)
        starts = (np.einsum("nij,nj->ni", turns, self._starts) + origins) @ world.T + at
        ends = (np.einsum("nij,nj->ni", turns, self._ends) + origins) @ world.T + at
        return tuple(
            Capsule(link, tuple(start), tuple(end), radius)
            for link, start, end, radius in zip(
                self._links, starts.tolist(), ends.tolist(), self._radii, strict=True
            )
        )

    def link_pose(self, name: str, base: Pose, joints: Mapping[str, Joint]) -> Pose:
        """Pose of one link in the frame of `base`'s pose. Raises KinematicsError for a link that
        the robot does not have, and for joints without a reading."""
        if not self._model.existBodyName(name):
            raise KinematicsError(f"link {name!r}: the robot has no such link")
        self._move(joints)
        pose = self._fixed.get(name)
        if pose is None:
            frame = self._model.getBodyId(name)
            placement = pin.updateFramePlacement(self._model, self._data, frame)
            x, y, z = placement.translation.tolist()
            pose = Pose((x, y, z), tuple(pin.Quaternion(placement.rotation).coeffs().tolist()))
            if self._model.frames[frame].parentJoint == 0:  # no joint moves it on the base
                self._fixed[name] = pose
        return compose(base, pose)

    def capsule_velocities(
        self, base: Pose, velocity: BaseVelocity, joints: Mapping[str, Joint]
    ) -> Array:
        """Velocities (N, 2, 3) [m/s] of both ends of each hull, in the frame of `base`'s pose, while
        the base moves at `velocity`. Joints that report none stand still. Raises KinematicsError for
        joints without a reading."""
        self._move(joints, with_velocities=True)
        placements = np.array([placement.homogeneous for placement in self._data.oMi])
        motions = np.array([motion.vector for motion in self._data.v])
        turns = placements[self._parents, :3, :3]
        origins = placements[self._parents, :3, 3]
        linear, angular = motions[self._parents, :3], motions[self._parents, 3:]
        found = []
        for local in (self._starts, self._ends):
            own = np.einsum("nij,nj->ni", turns, linear + np.cross(angular, local))
            at = np.einsum("nij,nj->ni", turns, local) + origins
            carried = np.zeros_like(own)
            carried[:, 0] = velocity.x - velocity.yaw * at[:, 1]
            carried[:, 1] = velocity.y + velocity.yaw * at[:, 0]
            found.append((own + carried) @ rotation_matrix(base.orientation).T)
        return np.stack(found, axis=1)

    @cached_property
    def separable(self) -> NDArray[np.int64]:
        """Pairs (P, 2) of hulls, by index, that can meet but need not: of links that do not
        belong together and whose hulls meet in less than half of POSES random poses (MoveIt's setup
        assistant disables the others, too)."""
        joints, model = self._data.oMi, self._model
        rng = np.random.default_rng(0)
        low, high = model.lowerPositionLimit, model.upperPositionLimit
        met = np.zeros((len(self._links), len(self._links)), int)
        for _ in range(POSES):
            neutral = pin.neutral(model)
            bounded = np.isfinite(low) & np.isfinite(high) & (high - low < 1e3)
            drawn = np.where(bounded, rng.uniform(0.0, 1.0, low.size) * (high - low) + low, neutral)
            for drive in self._drives:
                if drive.source != drive.name:
                    source = self._drives[self._joints.index(drive.source)]
                    drawn[drive.at] = drive.multiplier * drawn[source.at] + drive.offset
            pin.forwardKinematics(model, self._data, drawn)
            placements = np.array([placement.homogeneous for placement in joints])
            turns, origins = placements[self._parents, :3, :3], placements[self._parents, :3, 3]
            starts = np.einsum("nij,nj->ni", turns, self._starts) + origins
            ends = np.einsum("nij,nj->ni", turns, self._ends) + origins
            met += self._meeting(starts, ends)
        self._configuration = None
        parents = [0, *(int(model.parents[joint]) for joint in range(1, model.njoints))]
        pairs = [
            (first, second)
            for first in range(len(self._links))
            for second in range(first + 1, len(self._links))
            if not self._belong(int(self._parents[first]), int(self._parents[second]), parents)
            and met[first, second] < 0.5 * POSES
        ]
        return np.array(pairs, np.int64).reshape(-1, 2)

    def _belong(self, first: int, second: int, parents: Sequence[int]) -> bool:
        """Whether two joints are one, follow each other, or are driven together (fingers, stages of
        a telescope): their links are built to touch."""
        if first == second or parents[first] == second or parents[second] == first:
            return True
        if 0 in (first, second):
            return False
        return self._drives[first - 1].source == self._drives[second - 1].source

    def _meeting(self, starts: Array, ends: Array) -> NDArray[np.bool_]:
        count = len(starts)
        first, second = np.triu_indices(count, 1)
        apart = segment_distances(starts[first], ends[first], starts[second], ends[second])
        radii = np.asarray(self._radii)
        meeting = np.zeros((count, count), bool)
        meeting[first, second] = apart < radii[first] + radii[second]
        return meeting

    def _drive(self, index: int, name: str) -> _Drive:
        joint = self._model.joints[index + 1]
        mimic = self._mimics.get(name)
        return _Drive(
            name,
            name if mimic is None else mimic.joint,
            1.0 if mimic is None else mimic.multiplier,
            0.0 if mimic is None else mimic.offset,
            joint.idx_q,
            joint.idx_v,
            joint.nq != joint.nv,
        )

    def _move(self, joints: Mapping[str, Joint], with_velocities: bool = False) -> None:
        missing = [name for name in self.joint_names if name not in joints]
        if missing:
            raise KinematicsError(f"joint_states: no reading of {', '.join(missing)}")
        positions = [joints[drive.source].position for drive in self._drives]
        if positions == self._configuration and not with_velocities:
            return
        configuration, rates = pin.neutral(self._model), np.zeros(self._model.nv)
        for drive, at in zip(self._drives, positions, strict=True):
            position = drive.multiplier * at + drive.offset
            if drive.is_continuous:  # kept as cosine and sine
                configuration[drive.at : drive.at + 2] = math.cos(position), math.sin(position)
            else:
                configuration[drive.at] = position
            rate = joints[drive.source].velocity
            rates[drive.rate_at] = 0.0 if math.isnan(rate) else drive.multiplier * rate
        if with_velocities:
            pin.forwardKinematics(self._model, self._data, configuration, rates)
        else:
            pin.forwardKinematics(self._model, self._data, configuration)
        self._configuration = positions


def _package_dirs(path: Path) -> list[str]:
    """Where `package://` meshes of a URDF may lie: the folders above it."""
    return [str(folder) for folder in path.absolute().parents][:4]


def _mimics(root: ET.Element) -> dict[str, _Mimic]:
    mimics = {}
    for joint in root.iterfind("joint"):
        mimic = joint.find("mimic")
        if mimic is not None:
            mimics[joint.get("name", "")] = _Mimic(
                mimic.get("joint", ""),
                float(mimic.get("multiplier", 1.0)),
                float(mimic.get("offset", 0.0)),
            )
    return mimics


def _centre(shape: object) -> Array:
    """Centre of the shape in its own frame: a mesh need not lie around its origin."""
    shape.computeLocalAABB()  # type: ignore[attr-defined]
    return np.asarray(shape.aabb_center)  # type: ignore[attr-defined]


def _enclosing_capsule(shape: object) -> tuple[Array, float]:
    """Half axis (3,) and radius of a capsule around the shape's centre that encloses it."""
    kind = type(shape).__name__
    if kind in ("Cylinder", "Capsule"):
        return np.array([0.0, 0.0, shape.halfLength]), float(shape.radius)  # type: ignore[attr-defined]
    if kind == "Sphere":
        return np.zeros(3), float(shape.radius)  # type: ignore[attr-defined]
    if kind == "Box":
        return _around_box(np.asarray(shape.halfSide))  # type: ignore[attr-defined]
    shape.computeLocalAABB()  # type: ignore[attr-defined]
    box = shape.aabb_local  # type: ignore[attr-defined]
    return _around_box(0.5 * (np.asarray(box.max_) - np.asarray(box.min_)))


def _around_box(half: Array) -> tuple[Array, float]:
    """The capsule of least volume along the longest side of a box with half extents (3,)."""
    longest = int(np.argmax(half))
    corner = float(np.hypot.reduce(np.delete(half, longest)))
    lengths = np.linspace(0.0, half[longest], 64)
    radii = np.hypot(half[longest] - lengths, corner)
    volumes = radii**2 * (2.0 * lengths + 4.0 / 3.0 * radii)
    best = int(np.argmin(volumes))
    axis = np.zeros(3)
    axis[longest] = lengths[best]
    return axis, float(radii[best])
