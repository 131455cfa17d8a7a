"""Plain state types that every other package shares.

SI units. Frames follow REP 103 (x forward, y left, z up). Stamps are integer nanoseconds of ROS
time, so that they compare exactly; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Vector3 = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
"""(x, y, z, w), unit length, as in geometry_msgs."""

IDENTITY: Quaternion = (0.0, 0.0, 0.0, 1.0)

NANOSECONDS = 1_000_000_000
"""Nanoseconds in a second."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Position [m] and orientation of a body in a frame that the holder names."""

    position: Vector3
    orientation: Quaternion = IDENTITY


@dataclass(frozen=True, slots=True)
class BaseVelocity:
    """Velocity of the base in the base frame: x, y [m/s] and yaw [rad/s]."""

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0


@dataclass(frozen=True, slots=True)
class Joint:
    """Reading of one joint: position [rad or m], velocity [1/s of it], effort [N m or N].

    Velocity and effort are NaN where the robot does not report them.
    """

    position: float
    velocity: float = float("nan")
    effort: float = float("nan")


@dataclass(frozen=True, slots=True)
class Odometry:
    """Pose of the base in `frame` and its velocity in the base frame."""

    frame: str
    pose: Pose
    velocity: BaseVelocity


@dataclass(frozen=True, slots=True)
class Localisation:
    """Pose of the base in a fixed `frame` (usually `map`)."""

    frame: str
    pose: Pose


@dataclass(frozen=True, slots=True)
class Capsule:
    """A robot link's hull: all points within `radius` [m] of the segment start-end, world frame."""

    link: str
    start: Vector3
    end: Vector3
    radius: float


@dataclass(frozen=True, slots=True)
class SceneObject:
    """An object or person: box of full extents `size` [m] at `pose`, in the holder's frame."""

    id: str
    class_name: str
    pose: Pose
    size: Vector3
    velocity: Vector3 = (0.0, 0.0, 0.0)
    fixed: bool = False
    held: bool = False
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class SceneObjects:
    """Objects known at one time; `complete` says that nothing else is in the scene."""

    frame: str
    objects: tuple[SceneObject, ...]
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact of robot `link` with `object_id`; or of two objects, when `link` is empty."""

    link: str
    object_id: str
    other_id: str = ""
    position: Vector3 = (0.0, 0.0, 0.0)
    force_n: float = float("nan")


@dataclass(frozen=True, slots=True)
class Command:
    """What a robot is told to do from now on, for `duration_s` seconds; then it stands.

    `joints` maps names to absolute targets [rad or m]; joints that are absent keep their targets.
    """

    velocity: BaseVelocity = BaseVelocity()
    joints: Mapping[str, float] = field(default_factory=dict)
    duration_s: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether anything at all is commanded."""
        v = self.velocity
        return bool(self.joints) or any((v.x, v.y, v.yaw))
