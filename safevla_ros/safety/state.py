"""The world as cost terms and the gate see it: plain data, whoever filled it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from safevla_ros.robot.geometry import Boxes, rotation_matrices
from safevla_ros.robot.profile import Limits
from safevla_ros.robot.state import BaseVelocity, Capsule, Contact, Joint, Pose, SceneObject

Array = NDArray[np.float64]

PERSON = "person"
"""Class of people among the objects (see SceneObject.msg)."""


class KinematicModel(Protocol):
    """What this package needs to know of a robot's body (`robot.kinematics.Kinematics` fits)."""

    def capsules(self, base: Pose, joints: Mapping[str, Joint]) -> tuple[Capsule, ...]:
        """Hulls of all links, in the frame of `base`'s pose."""

    def link_pose(self, name: str, base: Pose, joints: Mapping[str, Joint]) -> Pose:
        """Pose of one link in the frame of `base`'s pose."""

    def capsule_velocities(
        self, base: Pose, velocity: BaseVelocity, joints: Mapping[str, Joint]
    ) -> Array:
        """Velocities (N, 2, 3) [m/s] of both ends of each hull, in the frame of `base`'s pose."""

    @property
    def separable(self) -> NDArray[np.int64]:
        """Pairs (P, 2) of hulls, by index, that must not meet (see `Kinematics.separable`)."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the running episode asks for. Empty: unknown, or no episode."""

    target_ids: tuple[str, ...] = ()
    target_class: str = ""
    task: str = ""


NO_TASK = Task()


@dataclass(frozen=True, slots=True)
class CameraView:
    """What a camera looks at: the pose of its optical frame (z forwards, y down) in the world, and
    half its field of view [rad], taken to be the same to all sides."""

    name: str
    pose: Pose
    half_angle_rad: float


@dataclass(frozen=True, eq=False)
class Scene:
    """Objects as arrays of N rows: positions (N, 3) [m], orientations (N, 4), sizes (N, 3) [m],
    held and fixed (N,)."""

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    positions: Array
    orientations: Array
    sizes: Array
    held: NDArray[np.bool_]
    fixed: NDArray[np.bool_]

    @classmethod
    def of(cls, objects: Mapping[str, SceneObject]) -> Scene:
        """The objects as arrays, in their order."""
        entries = tuple(objects.values())
        return cls(
            ids=tuple(entry.id for entry in entries),
            classes=tuple(entry.class_name for entry in entries),
            positions=np.array([entry.pose.position for entry in entries]).reshape(-1, 3),
            orientations=np.array([entry.pose.orientation for entry in entries]).reshape(-1, 4),
            sizes=np.array([entry.size for entry in entries]).reshape(-1, 3),
            held=np.array([entry.held for entry in entries], bool),
            fixed=np.array([entry.fixed for entry in entries], bool),
        )

    def boxes(self, rows: Sequence[int] | NDArray[np.int64]) -> Boxes:
        """The boxes of the objects of these rows."""
        at = np.asarray(rows, np.int64)
        return Boxes(self.positions[at], 0.5 * self.sizes[at], self._turns[at])

    @cached_property
    def _turns(self) -> Array:
        return rotation_matrices(self.orientations)

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Row of each object by its id."""
        return {key: row for row, key in enumerate(self.ids)}


class KnownObjects(dict[str, SceneObject]):
    """Objects by id that several world states share: their arrays are made once. Not to be changed."""

    @cached_property
    def scene(self) -> Scene:
        """These as arrays."""
        return Scene.of(self)


@dataclass(frozen=True, eq=False)
class Hulls:
    """Link capsules as arrays: axis ends (N, 3), (N, 3) and radii (N,) [m], in the world."""

    starts: Array
    ends: Array
    radii: Array


@dataclass(frozen=True, eq=False)
class WorldState:
    """Robot and surroundings at one time, in `frame`. None: not known, see `missing` for why.

    `velocity` is the base's, in the base frame. `obstacles` (N, 3) [m] are points of what stands in
    the base's way: of the scan and of the occupancy grid; `cloud` (M, 3) [m] those of the point
    cloud. `link_velocities` (L, 2, 3) [m/s] are those of the ends of each of `links`, known while
    somebody is near whom it matters to. `link_pairs` (P, 2) are the pairs of `links`, by index,
    that must not meet. `cameras` are where the robot's cameras look. `limits` are the robot's own.
    `release_commanded`: the gripper was last told to open. `sources` are the stamps of the messages
    this was made from, by signal; `missing` says for each field that is None what is wrong.
    """

    stamp_ns: int
    frame: str
    base: Pose | None = None
    velocity: BaseVelocity | None = None
    joints: Mapping[str, Joint] | None = None
    links: tuple[Capsule, ...] | None = None
    objects: Mapping[str, SceneObject] | None = None
    contacts: tuple[Contact, ...] | None = None
    obstacles: Array | None = None
    task: Task = NO_TASK
    release_commanded: bool = False
    sources: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    cloud: Array | None = None
    cameras: tuple[CameraView, ...] | None = None
    limits: Limits | None = None
    link_velocities: Array | None = None
    link_pairs: NDArray[np.int64] | None = None

    @cached_property
    def scene(self) -> Scene:
        """`objects` as arrays; nothing where they are not known."""
        objects = self.objects
        return objects.scene if isinstance(objects, KnownObjects) else Scene.of(objects or {})

    @cached_property
    def hulls(self) -> Hulls:
        """`links` as arrays; nothing where they are not known."""
        links = self.links or ()
        return Hulls(
            np.array([link.start for link in links]).reshape(-1, 3),
            np.array([link.end for link in links]).reshape(-1, 3),
            np.array([link.radius for link in links]),
        )

    @property
    def carrying(self) -> bool | None:
        """Whether the gripper holds something. None: objects are not known."""
        return None if self.objects is None else any(o.held for o in self.objects.values())
